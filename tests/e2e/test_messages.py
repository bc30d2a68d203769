"""Messages after the login: pipelines, errors, portals, COPY, lengths (reliability §2.3, protocol lines)."""

import struct
import threading

import pytest

from support import wire


def kinds(messages: list[tuple[str, bytes]]) -> str:
    return "".join(kind for kind, _ in messages)


def errors(messages: list[tuple[str, bytes]]) -> list[str]:
    return [wire.decode_fields(body)["C"] for kind, body in messages if kind == "E"]


def assert_usable(connection: wire.Wire) -> None:
    assert connection.value("SELECT 'usable'") == "usable"
    assert connection.status == "I"


def test_simple_query_messages_in_order(raw, numbers):
    connection = raw()
    connection.send(wire.query(f"SELECT v FROM {numbers} WHERE k = 1; ; SELECT 2"))
    assert kinds(connection.until_ready()) == "TDCTDC"
    connection.send(wire.query(""))
    assert kinds(connection.until_ready()) == "I"
    connection.send(wire.query(f"SELECT k FROM {numbers} WHERE k <= 3 ORDER BY k"))
    assert kinds(connection.until_ready()) == "TDDDC"


def test_extended_query_messages_in_order(raw, numbers):
    connection = raw()
    sql = f"SELECT v FROM {numbers} WHERE k = $1"
    connection.send(wire.parse("s", sql), wire.describe(b"S", "s"), wire.bind("p", "s", ("7",)), wire.describe(b"P", "p"),
                    wire.execute("p"), wire.close(b"P", "p"), wire.close(b"S", "s"), wire.SYNC)
    messages = connection.until_ready()
    assert kinds(messages) == "1tT2TDC33"
    assert wire.decode_row(messages[5][1]) == (b"row 7",)


def test_describe_before_any_key_is_known(raw, numbers):
    connection = raw()
    connection.send(wire.parse("d", f"SELECT k, v FROM {numbers} WHERE k = $1"), wire.describe(b"S", "d"), wire.SYNC)
    messages = connection.until_ready()
    assert struct.unpack("!HI", messages[1][1]) == (1, 23)
    assert [(c.name, c.type) for c in wire.decode_columns(messages[2][1])] == [("k", 23), ("v", 25)]
    connection.send(wire.parse("u", f"UPDATE {numbers} SET v = $1 WHERE k = $2"), wire.describe(b"S", "u"), wire.SYNC)
    assert kinds(connection.until_ready()) == "1tn"


def test_no_answer_before_flush_or_sync_is_needed(raw, numbers):
    connection = raw()
    connection.send(wire.parse("", f"SELECT v FROM {numbers} WHERE k = 5"), wire.FLUSH)
    assert connection.next()[0] == "1"
    connection.send(wire.bind(), wire.FLUSH)
    assert connection.next()[0] == "2"
    connection.send(wire.execute(), wire.FLUSH)
    assert [connection.next()[0] for _ in range(2)] == ["D", "C"]
    connection.send(wire.SYNC)
    assert connection.until_ready() == []


def test_flush_storm(raw):
    connection = raw()
    connection.send(wire.FLUSH * 50000, wire.SYNC * 100, wire.FLUSH * 50000)
    for _ in range(100):
        assert connection.until_ready() == []
    assert_usable(connection)


def test_100000_messages_without_sync(raw, numbers):
    """Bounded queues and back-pressure: all answers arrive, in order, and the server lives."""
    connection = raw(timeout=90)
    count = 25000
    parts = [wire.parse("", f"SELECT v FROM {numbers} WHERE k = $1")]
    parts += [wire.bind("", "", (str(n % 200 + 1),)) + wire.execute() + wire.close(b"P") + wire.FLUSH for n in range(count)]
    sender = threading.Thread(target=connection.send, args=(*parts, wire.SYNC))
    sender.start()
    messages = connection.until_ready()
    sender.join()
    rows = [wire.decode_row(body)[0] for kind, body in messages if kind == "D"]
    assert rows == [f"row {n % 200 + 1}".encode() for n in range(count)]
    assert_usable(connection)


def test_error_in_pipeline_skips_to_sync(raw, numbers):
    connection = raw()
    good, bad = wire.extended(f"SELECT v FROM {numbers} WHERE k = 1"), wire.extended("SELECT 1 / 0")
    write = wire.extended(f"DELETE FROM {numbers} WHERE k = 2")
    connection.send(good, bad, write, good, wire.SYNC, good, wire.SYNC)
    messages = connection.until_ready()
    assert kinds(messages)[:5] == "12TDC" and errors(messages) == ["22012"] and kinds(messages)[-1] == "E"
    assert kinds(connection.until_ready()) == "12TDC"
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "200"


def test_pipeline_without_begin_is_one_transaction_per_sync(raw, numbers):
    connection = raw()
    connection.send(wire.extended(f"DELETE FROM {numbers} WHERE k = 1"), wire.extended(f"DELETE FROM {numbers} WHERE k = 2"),
                    wire.extended("SELECT 1 / 0"), wire.SYNC)
    assert errors(connection.until_ready()) == ["22012"]
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "200"
    connection.send(wire.extended(f"DELETE FROM {numbers} WHERE k = 1"), wire.extended(f"DELETE FROM {numbers} WHERE k = 2"),
                    wire.SYNC)
    assert errors(connection.until_ready()) == []
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "198"


def test_pipeline_with_begin_and_error_stays_failed(raw, numbers):
    connection = raw()
    connection.send(wire.extended("BEGIN"), wire.extended(f"DELETE FROM {numbers}"), wire.extended("SELECT 1 / 0"), wire.SYNC)
    connection.until_ready()
    assert connection.status == "E"
    connection.send(wire.extended("SELECT 1"), wire.SYNC)
    assert errors(connection.until_ready()) == ["25P02"]
    connection.send(wire.extended("COMMIT"), wire.SYNC)
    messages = connection.until_ready()
    assert messages[-1] == ("C", b"ROLLBACK\0") and connection.status == "I"
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "200"


def test_pipelined_transactions_of_many_syncs(raw, numbers):
    connection = raw()
    for n in range(100):
        connection.send(wire.extended("BEGIN"), wire.SYNC,
                        wire.extended(f"UPDATE {numbers} SET v = $1 WHERE k = $2", (f"n{n}", str(n + 1))), wire.SYNC,
                        wire.extended("COMMIT"), wire.SYNC)
    for _ in range(300):
        assert errors(connection.until_ready()) == []
    assert connection.value(f"SELECT count(*) FROM {numbers} WHERE v LIKE 'n%'") == "100"


def test_close_of_unknown_is_fine_and_use_of_unknown_is_not(raw):
    connection = raw()
    connection.send(wire.close(b"S", "nothing"), wire.close(b"P", "nothing"), wire.SYNC)
    assert kinds(connection.until_ready()) == "33"
    for part, code in ((wire.bind("", "nothing"), "26000"), (wire.describe(b"S", "nothing"), "26000"),
                       (wire.describe(b"P", "nothing"), "34000"), (wire.execute("nothing"), "34000")):
        connection.send(part, wire.SYNC)
        assert errors(connection.until_ready()) == [code]
    assert_usable(connection)


def test_duplicate_statement_and_portal_names(raw):
    connection = raw()
    connection.send(wire.parse("twice", "SELECT 1"), wire.SYNC, wire.parse("twice", "SELECT 2"), wire.SYNC)
    connection.until_ready()
    assert errors(connection.until_ready()) == ["42P05"]
    connection.send(wire.bind("p", "twice"), wire.bind("p", "twice"), wire.SYNC)
    assert errors(connection.until_ready()) == ["42P03"]
    connection.send(wire.parse("", "SELECT 1"), wire.parse("", "SELECT 2"), wire.bind(), wire.execute(), wire.SYNC)
    assert connection.results()[-1].rows == [(b"2",)]


def test_statement_survives_error_and_transaction_portal_does_not(raw):
    connection = raw()
    connection.send(wire.parse("stays", "SELECT 'stays'"), wire.bind("portal", "stays"), wire.SYNC)
    connection.until_ready()
    connection.send(wire.execute("portal"), wire.SYNC)
    assert errors(connection.until_ready()) == ["34000"]
    connection.send(wire.bind("", "stays"), wire.execute(), wire.SYNC)
    assert connection.results()[-1].rows == [(b"stays",)]


@pytest.mark.parametrize("where", ["WHERE k <= 100 ORDER BY k", "ORDER BY k"])
def test_row_limit_suspends_and_continues(raw, numbers, where):
    connection = raw()
    connection.send(wire.extended("BEGIN"), wire.parse("", f"SELECT k FROM {numbers} {where}"), wire.bind("p"), wire.SYNC)
    connection.until_ready()
    seen = []
    while True:
        connection.send(wire.execute("p", 30), wire.FLUSH)
        while True:
            kind, body = connection.next()
            if kind != "D":
                break
            seen.append(int(wire.decode_row(body)[0]))
        if kind == "C":
            break
        assert kind == "s"
    assert seen == list(range(1, 101 if "100" in where else 201))
    connection.send(wire.extended("COMMIT"), wire.SYNC)
    connection.until_ready()
    assert_usable(connection)


def test_two_portals_interleaved(raw, numbers):
    connection = raw()
    connection.send(wire.extended("BEGIN"), wire.parse("", f"SELECT k FROM {numbers} ORDER BY k"), wire.bind("one"),
                    wire.parse("", f"SELECT -k FROM {numbers} ORDER BY k"), wire.bind("two"), wire.SYNC)
    connection.until_ready()
    rows = {"one": [], "two": []}
    for _ in range(5):
        for portal in rows:
            connection.send(wire.execute(portal, 10), wire.SYNC)
            rows[portal] += [int(wire.decode_row(body)[0]) for kind, body in connection.until_ready() if kind == "D"]
    assert rows == {"one": list(range(1, 51)), "two": [-n for n in range(1, 51)]}


def test_row_limit_then_disconnect(raw, cluster, numbers):
    for _ in range(30):
        with wire.connect(cluster) as connection:
            connection.send(wire.extended("BEGIN"), wire.parse("", f"SELECT k FROM {numbers}, generate_series(1, 1000)"),
                            wire.bind("p"), wire.execute("p", 5), wire.FLUSH)
            connection.next()
    check = raw()
    assert check.value(f"SELECT count(*) FROM {numbers}") == "200"
    assert_usable(check)


def test_disconnect_in_the_middle_of_rows(raw, cluster, numbers):
    for _ in range(20):
        with wire.connect(cluster) as connection:
            connection.send(wire.query(f"SELECT k, repeat('x', 10000) FROM {numbers}"))
            connection.next()
    assert_usable(raw())


def test_terminate_in_transaction_rolls_back(raw, numbers):
    connection = raw()
    connection.run("BEGIN")
    connection.run(f"DELETE FROM {numbers}")
    connection.send(wire.TERMINATE)
    assert connection.closed_within(5)
    check = raw()
    check.run("SET lock_timeout = '5s'")
    check.run(f"UPDATE {numbers} SET v = v")
    assert check.value(f"SELECT count(*) FROM {numbers}") == "200"


def test_copy_fail_and_copy_data_out_of_place(raw, numbers):
    connection = raw()
    connection.send(wire.query(f"COPY {numbers} FROM STDIN"))
    assert connection.next()[0] == "G"
    connection.send(wire.copy_data(b"5000\tx\n5001\ty\n"), wire.copy_fail("changed my mind"))
    messages = connection.until_ready()
    assert errors(messages) == ["57014"]
    assert "changed my mind" in wire.decode_fields(messages[-1][1])["M"]
    # Late data of an aborted COPY are dropped.
    connection.send(wire.copy_data(b"x"), wire.COPY_DONE, wire.copy_fail("late"), wire.query("SELECT 1"))
    assert connection.results()[-1].rows == [(b"1",)]
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "200"


def test_copy_split_anywhere(raw, make_table):
    table = make_table("k int PRIMARY KEY, v text")
    data = b"".join(b"%d\tv\xc3\xa4lue\\n%d\n" % (n, n) for n in range(300))
    connection = raw()
    connection.send(wire.query(f"COPY {table} FROM STDIN"))
    connection.next()
    connection.send(*[wire.copy_data(data[n:n + 3]) for n in range(0, len(data), 3)], wire.copy_data(b""), wire.COPY_DONE)
    assert connection.until_ready()[-1] == ("C", b"COPY 300\0")
    assert connection.value(f"SELECT count(*) FROM {table} WHERE v = E'välue\\n' || k") == "300"


def test_copy_with_flush_and_sync_inside(raw, numbers):
    connection = raw()
    connection.send(wire.parse("", f"COPY {numbers} (k) FROM STDIN"), wire.bind(), wire.execute(), wire.SYNC)
    assert [connection.next()[0] for _ in range(3)] == ["1", "2", "G"]
    connection.send(wire.copy_data(b"1000\n"), wire.FLUSH, wire.SYNC, wire.copy_data(b"1001\n"), wire.COPY_DONE, wire.SYNC)
    assert connection.until_ready()[-1] == ("C", b"COPY 2\0")
    assert_usable(connection)


def test_other_message_in_copy_aborts_it(raw, numbers):
    connection = raw()
    connection.send(wire.query(f"COPY {numbers} (k) FROM STDIN"))
    connection.next()
    connection.send(wire.copy_data(b"1000\n"), wire.query("SELECT 1"))
    connection.socket.settimeout(10)
    try:
        assert errors(connection.until_ready()) == ["08P01"]
    except wire.Closed:
        pass
    assert raw().value(f"SELECT count(*) FROM {numbers}") == "200"


def test_copy_disconnect_leaves_nothing(raw, cluster, numbers):
    with wire.connect(cluster) as connection:
        connection.send(wire.query(f"COPY {numbers} (k) FROM STDIN"))
        connection.next()
        connection.send(*[wire.copy_data(b"%d\n" % n) for n in range(1000, 3000)])
    check = raw()
    check.run("SET lock_timeout = '5s'")
    check.run(f"UPDATE {numbers} SET v = v")
    assert check.value(f"SELECT count(*) FROM {numbers}") == "200"


def test_copy_error_in_the_middle_of_a_large_stream(raw, numbers):
    """The client keeps sending while the server has failed already."""
    connection = raw()
    connection.send(wire.query(f"COPY {numbers} (k) FROM STDIN"))
    connection.next()
    line = b"".join(b"%d\n" % n for n in range(1000, 2000))
    connection.send(wire.copy_data(line), wire.copy_data(b"not a number\n"), *[wire.copy_data(line)] * 2000, wire.COPY_DONE)
    assert errors(connection.until_ready()) == ["22P02"]
    assert_usable(connection)


def test_simple_query_inside_extended_batch(raw, numbers):
    """Hung pgpool: a Query without a Sync before it."""
    connection = raw()
    connection.send(wire.extended(f"SELECT v FROM {numbers} WHERE k = 1"), wire.query(f"SELECT v FROM {numbers} WHERE k = 2"))
    messages = connection.until_ready()
    assert [wire.decode_row(b)[0] for k, b in messages if k == "D"] == [b"row 1", b"row 2"]
    connection.send(wire.extended("SELECT 1 / 0"), wire.query("SELECT 'skipped'"), wire.SYNC)
    messages = connection.until_ready()
    assert errors(messages) == ["22012"] and not [m for m in messages if m[0] == "D" and b"skipped" in m[1]]
    assert_usable(connection)


@pytest.mark.parametrize("kind", [b"Q", b"P", b"B", b"d", b"p", b"?", b"\0", b"\xff"])
@pytest.mark.parametrize("length", [0, 3, 2**31 - 1, 2**31, 2**32 - 1])
def test_declared_length_out_of_bounds_closes(raw, kind, length):
    connection = raw()
    connection.send(kind + struct.pack("!I", length))
    connection.socket.settimeout(5)
    if length == 2**31 - 1:
        # More than any allowed message: refused before memory is taken, or waited for without taking memory.
        connection.send(b"x" * 1000)
        connection.close()
    else:
        assert connection.closed_within(5)
    assert_usable(raw())


@pytest.mark.parametrize("bad", [
    wire.message(b"Q", b"SELECT 1"), wire.message(b"Q", b"SELECT 1\0SELECT 2\0"), wire.message(b"P", b"x\0SELECT 1\0"),
    wire.message(b"P", b"x\0SELECT 1\0\xff\xff"), wire.message(b"P", b"no terminator"), wire.message(b"B", b"\0\0"),
    wire.message(b"B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"), wire.message(b"B", b"\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"),
    wire.message(b"B", b"\0\0\0\0\0\0\0\0trailing"), wire.message(b"D", b"X\0"), wire.message(b"D", b""),
    wire.message(b"E", b"\0"), wire.message(b"E", b"\0\0\0"), wire.message(b"C", b"Z\0"), wire.message(b"C", b"S"),
    wire.message(b"S", b"extra"), wire.message(b"F", b"\0\0\0\0")])
def test_malformed_message_is_an_error_and_harms_nobody(raw, bad):
    connection, other = raw(), raw()
    connection.send(bad, wire.SYNC)
    connection.socket.settimeout(5)
    try:
        messages = connection.until_ready()
        assert errors(messages) and errors(messages)[0] in ("08P01", "34000", "26000", "22021", "0A000", "42883"), messages
    except wire.Closed:
        pass
    assert_usable(other)
    assert_usable(raw())


def test_messages_byte_by_byte(raw, numbers):
    connection = raw()
    for byte in wire.extended(f"SELECT v FROM {numbers} WHERE k = $1", ("3",)) + wire.SYNC + wire.query("SELECT 2"):
        connection.send(bytes([byte]))
    assert connection.results()[-1].rows == [(b"row 3",)]
    assert connection.results()[-1].rows == [(b"2",)]


def test_65535_parameters_and_not_one_more(raw):
    connection = raw(timeout=60)
    names = "+".join(f"${n}" for n in range(1, 1000))
    values = ("1",) * 999
    connection.send(wire.extended(f"SELECT {names}", values, types=(23,) * 999), wire.SYNC)
    assert connection.results()[-1].rows == [(b"999",)]
    array = ",".join(f"${n}" for n in range(1, 65536))
    connection.send(wire.extended(f"SELECT cardinality(ARRAY[{array}])", ("1",) * 65535, types=(23,) * 65535), wire.SYNC)
    assert connection.results()[-1].rows == [(b"65535",)]
    connection.send(wire.parse("", f"SELECT cardinality(ARRAY[{array},$65536])"), wire.SYNC)
    connection.until_ready()
    assert_usable(connection)


def test_wrong_parameter_counts_and_formats(raw, numbers):
    connection = raw()
    sql = f"SELECT v FROM {numbers} WHERE k = $1"
    for values, formats, results in (((), (), ()), (("1", "2"), (), ()), (("1",), (0, 0), ()), (("1",), (2,), ()),
                                     (("1",), (), (0, 0)), (("1",), (), (5,)), ((b"\0\0\1",), (1,), ()),
                                     ((b"\0\0\0\0\1",), (1,), ()), (("x",), (), ()), ((b"\xff",), (), ())):
        connection.send(wire.extended(sql, values, formats=formats, results=results), wire.SYNC)
        codes = errors(connection.until_ready())
        assert codes and codes[0] in ("08P01", "22P02", "22P03", "22023", "22021", "0A000"), (values, formats, results, codes)
    assert_usable(connection)


def test_invalid_utf8_and_nul_are_refused(raw, numbers):
    connection = raw()
    for text in (b"SELECT '\xff'", b"SELECT '\xc3", b"SELECT '\xed\xa0\x80'", b"SELECT '\xf4\x90\x80\x80'", b"SELECT '\xc0\xaf'"):
        connection.send(wire.message(b"Q", text + b"\0"))
        assert errors(connection.until_ready()) == ["22021"]
    connection.send(wire.extended(f"UPDATE {numbers} SET v = $1 WHERE k = 1", (b"a\0b",)), wire.SYNC)
    assert errors(connection.until_ready()) == ["22021"]
    assert_usable(connection)


def test_statement_of_ten_megabytes(raw):
    connection = raw(timeout=60)
    text = "x" * (10 * 1024 * 1024)
    assert connection.value(f"SELECT length('{text}')") == str(len(text))
    connection.send(wire.query(f"SELECT 1 /* {text} */"))
    assert connection.results()[-1].rows == [(b"1",)]


def test_function_call_message(raw):
    """The fast path: answered or refused, never a hang."""
    connection = raw()
    pi_function, no_formats, no_arguments, text_result = 1610, 0, 0, 0
    connection.send(wire.message(b"F", struct.pack("!IHHH", pi_function, no_formats, no_arguments, text_result)))
    connection.socket.settimeout(10)
    try:
        connection.until_ready()
        assert_usable(connection)
    except wire.Closed:
        pass


def test_unnamed_statement_is_replaced_by_simple_query(raw, numbers):
    connection = raw()
    connection.send(wire.parse("", f"SELECT v FROM {numbers} WHERE k = 1"), wire.SYNC)
    connection.until_ready()
    connection.send(wire.query("SELECT 1"))
    connection.until_ready()
    connection.send(wire.bind(), wire.execute(), wire.SYNC)
    assert errors(connection.until_ready()) == ["26000"]


def test_parameter_status_follows_set(raw):
    connection = raw()
    connection.run("SET application_name = 'one'")
    assert connection.parameters["application_name"] == "one"
    connection.run("BEGIN")
    connection.run("SET TimeZone = 'Asia/Tokyo'")
    assert connection.parameters["TimeZone"] == "Asia/Tokyo"
    connection.run("ROLLBACK")
    assert connection.parameters["TimeZone"] != "Asia/Tokyo"
    connection.run("SET DateStyle = 'German'")
    assert connection.parameters["DateStyle"] == "German, DMY"


@pytest.mark.parametrize("value", ["7", "8", "19"])
def test_short_parameter_of_a_statement_on_several_units(cluster, value):
    """The value outlives the Bind message that brought it."""
    with wire.connect(cluster) as session:
        session.run("CREATE TABLE short_parameters (k int PRIMARY KEY, n int)")
        try:
            session.run("SELECT create_reference_table('short_parameters')")
            session.run("INSERT INTO short_parameters VALUES (7, 0), (8, 0), (19, 0)")
            for turn in range(20):
                session.send(wire.parse("", "UPDATE short_parameters SET n = n + 1 WHERE k = $1"),
                             wire.bind("", "", (value,)), wire.FLUSH)
                session.send(wire.execute(), wire.SYNC)
                assert session.results()[-1].tag == "UPDATE 1", turn
        finally:
            session.run("DROP TABLE short_parameters")
