"""Extended batches: what a simple query, a second unit or an error in the middle makes of them."""

from support import wire


def errors(messages: list[tuple[str, bytes]]) -> list[str]:
    return [wire.decode_fields(body)["C"] for kind, body in messages if kind == "E"]


def test_simple_query_shares_the_transaction_of_an_unsynced_batch(raw, numbers):
    connection = raw()
    for k in range(1, 6):
        connection.send(wire.extended(f"DELETE FROM {numbers} WHERE k = {k}"), wire.query("SELECT 1 / 0"))
        assert errors(connection.until_ready()) == ["22012"] and connection.status == "I"
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "200"
    connection.send(wire.extended(f"DELETE FROM {numbers} WHERE k = 1"), wire.query(f"DELETE FROM {numbers} WHERE k = 2"))
    assert errors(connection.until_ready()) == []
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "198"


def test_batch_of_one_and_of_many_units_fails_as_a_whole(raw, numbers):
    connection = raw()
    for k in range(1, 6):
        connection.send(wire.extended(f"DELETE FROM {numbers} WHERE k = {k}"), wire.extended(f"UPDATE {numbers} SET v = 'x'"),
                        wire.extended("SET application_name = 'q'"), wire.extended("SELECT 1 / 0"), wire.SYNC)
        assert errors(connection.until_ready()) == ["22012"]
    assert connection.value(f"SELECT count(*) FROM {numbers} WHERE v <> 'x'") == "200"


def test_a_batch_over_two_units_is_whole_also_with_a_describe_in_between(raw, numbers):
    """Describe has all that was sent answered; what comes behind it belongs to the same transaction."""
    connection = raw()
    for k in range(1, 9):
        connection.send(wire.extended(f"DELETE FROM {numbers} WHERE k = {k}"),
                        wire.parse("", f"INSERT INTO {numbers} VALUES ({k + 100}, 'twice') RETURNING v"), wire.describe(b"S"),
                        wire.bind("", ""), wire.execute(), wire.SYNC)
        assert errors(connection.until_ready()) == ["23505"]
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "200"


def test_a_statement_exists_when_parse_complete_was_told(raw, numbers):
    connection = raw()
    skipped = wire.parse("two", "SELECT 2") + wire.bind("", "two") + wire.execute()
    connection.send(wire.parse("one", f"INSERT INTO {numbers} VALUES (1, 'twice')"), wire.bind("", "one"), wire.execute(), skipped,
                    wire.SYNC)
    assert errors(connection.until_ready()) == ["23505"]
    connection.send(wire.bind("", "one"), wire.execute(), wire.SYNC)
    assert errors(connection.until_ready()) == ["23505"]
    connection.send(skipped, wire.SYNC)
    assert errors(connection.until_ready()) == []


def test_disconnect_after_an_error_without_sync(raw, numbers):
    connection = raw()
    connection.send(wire.extended("BEGIN"), wire.extended(f"DELETE FROM {numbers} WHERE k = 1"), wire.extended("SELECT 1 / 0"),
                    wire.FLUSH)
    while connection.next()[0] != "E":
        pass
    connection.close()
    check = raw()
    check.run("SET lock_timeout = '5s'")
    check.run(f"DELETE FROM {numbers} WHERE k = 1")
    assert check.value(f"SELECT count(*) FROM {numbers}") == "199"
