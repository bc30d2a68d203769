"""psycopg 3: pipeline mode, binary, COPY, server cursors, notifications, types, errors, cancel."""

import datetime
import decimal
import json
import threading
import time
import uuid

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

TYPED = ("k int PRIMARY KEY, b bool, i8 bigint, f float8, n numeric, t text, by bytea, d date, ts timestamptz, iv interval, "
         "u uuid, j jsonb, ta text[], na numeric[], i4s int[]")


def typed_row(key: int) -> dict:
    return {
        "k": key, "b": True, "i8": 2**62, "f": 0.1, "n": decimal.Decimal("12345678901234567890.123456789"),
        "t": "ünï\n'\"\\ 数据", "by": bytes(range(256)), "d": datetime.date(2026, 11, 20),
        "ts": datetime.datetime(2026, 11, 20, 1, 2, 3, 4, tzinfo=datetime.timezone.utc),
        "iv": datetime.timedelta(days=3, seconds=5, microseconds=7), "u": uuid.UUID(int=2**100 + key),
        "j": {"a": [1, None, "x"]}, "ta": ["a", None, 'quote"', ""], "na": [decimal.Decimal("1.50")], "i4s": [1, 2, 3]}


@pytest.mark.parametrize("binary", [False, True])
def test_types_round_trip(connection, make_table, binary):
    table = make_table(TYPED)
    marker = "%b" if binary else "%t"
    for key in (1, 2, 3):
        row = typed_row(key)
        values = [Jsonb(v) if name == "j" else v for name, v in row.items()]
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join([marker] * len(values))})", values)
    with connection.cursor(row_factory=dict_row, binary=binary) as cursor:
        assert cursor.execute(f"SELECT * FROM {table} WHERE k = %s", [2]).fetchone() == typed_row(2)
        assert cursor.execute(f"SELECT * FROM {table} ORDER BY k").fetchall() == [typed_row(k) for k in (1, 2, 3)]


@pytest.mark.parametrize("binary", [False, True])
def test_null_in_every_type(connection, make_table, binary):
    table = make_table(TYPED)
    connection.execute(f"INSERT INTO {table} (k, t, n, ta) VALUES (%s, %s, %s, %s)", (1, None, None, None))
    row = connection.execute(f"SELECT * FROM {table} WHERE k = %s", (1,), binary=binary).fetchone()
    assert row == (1,) + (None,) * 14


def test_key_as_array_parameter(connection, numbers):
    rows = connection.execute(f"SELECT k FROM {numbers} WHERE k = ANY(%s) ORDER BY k", ([3, 77, 150, 999],)).fetchall()
    assert rows == [(3,), (77,), (150,)]


def test_prepared_after_five_runs_stays_right(connection, numbers):
    for key in list(range(1, 40)) * 3:
        row = connection.execute(f"SELECT v FROM {numbers} WHERE k = %s", (key,)).fetchone()
        assert row == (f"row {key}",)


def test_prepared_explicitly_on_two_connections(cluster, connection, numbers):
    with psycopg.connect(cluster.dsn(), autocommit=True) as other:
        for key in range(1, 30):
            for each in (connection, other):
                assert each.execute(f"SELECT v FROM {numbers} WHERE k = %s", (key,), prepare=True).fetchone() \
                    == (f"row {key}",)


def test_prepared_statement_survives_ddl(connection, numbers):
    query = f"SELECT v FROM {numbers} WHERE k = %s"
    assert connection.execute(query, (5,), prepare=True).fetchone() == ("row 5",)
    connection.execute(f"ALTER TABLE {numbers} ADD COLUMN w int")
    assert connection.execute(query, (6,), prepare=True).fetchone() == ("row 6",)


def test_pipeline_gives_every_reply_to_its_statement(connection, numbers):
    with connection.pipeline():
        cursors = [connection.execute(f"SELECT k, v FROM {numbers} WHERE k = %s", (k,)) for k in range(1, 150)]
        scatter = connection.execute(f"SELECT count(*) FROM {numbers}")
        after = connection.execute("SELECT 'after'")
    assert [c.fetchone() for c in cursors] == [(k, f"row {k}") for k in range(1, 150)]
    assert scatter.fetchone() == (200,) and after.fetchone() == ("after",)


def test_pipeline_error_aborts_the_rest_only_to_the_sync(connection, numbers):
    with pytest.raises(psycopg.errors.DivisionByZero):
        with connection.pipeline() as pipeline:
            connection.execute(f"SELECT k FROM {numbers} WHERE k = %s", (1,))
            connection.execute("SELECT 1 / %s", (0,))
            connection.execute(f"INSERT INTO {numbers} VALUES (%s, 'x')", (1000,))
            pipeline.sync()
    assert connection.execute(f"SELECT count(*) FROM {numbers} WHERE k = 1000").fetchone() == (0,)


def test_pipelined_inserts_in_one_transaction(cluster, numbers):
    with psycopg.connect(cluster.dsn()) as connection:
        with connection.pipeline(), connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {numbers} VALUES (%s, %s)", [(k, "new") for k in range(1000, 1100)])
        connection.rollback()
        assert connection.execute(f"SELECT count(*) FROM {numbers}").fetchone() == (200,)
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {numbers} VALUES (%s, %s) RETURNING k",
                               [(k, "new") for k in range(1000, 1100)], returning=True)
            keys = []
            while True:
                keys.append(cursor.fetchone()[0])
                if not cursor.nextset():
                    break
        assert keys == list(range(1000, 1100))
        connection.commit()
        assert connection.execute(f"SELECT count(*) FROM {numbers}").fetchone() == (300,)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_server_cursor(cluster, numbers, size):
    with psycopg.connect(cluster.dsn()) as connection, connection.cursor("c") as cursor:
        cursor.itersize = size
        cursor.execute(f"SELECT k FROM {numbers} ORDER BY k")
        assert [row[0] for row in cursor] == list(range(1, 201))
    with psycopg.connect(cluster.dsn()) as connection, connection.cursor("c2") as cursor:
        cursor.execute(f"SELECT v FROM {numbers} WHERE k = %s", (9,))
        assert cursor.fetchmany(5) == [("row 9",)]


def test_held_cursor(cluster, numbers):
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        with connection.cursor(name="held", withhold=True) as cursor:
            cursor.itersize = 7
            cursor.execute(f"SELECT k FROM {numbers} WHERE k > %s ORDER BY k", [190])
            assert cursor.fetchmany(2) == [(191,), (192,)]
            connection.execute(f"DELETE FROM {numbers} WHERE k = 195")
            assert [row[0] for row in cursor] == list(range(193, 201))
        assert connection.execute("SELECT count(*) FROM pg_cursors WHERE name = 'held'").fetchone() == (0,)


@pytest.mark.decan_only
def test_held_cursor_of_a_transaction_that_writes(connection, numbers):
    connection.execute("BEGIN")
    connection.execute(f"DECLARE held CURSOR WITH HOLD FOR SELECT k FROM {numbers} ORDER BY k")
    connection.execute(f"UPDATE {numbers} SET v = 'new' WHERE k = 1")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="can not write"):
        connection.execute("COMMIT")
    assert connection.execute(f"SELECT v FROM {numbers} WHERE k = 1").fetchone() == ("row 1",)
    with pytest.raises(psycopg.errors.InvalidCursorName):
        connection.execute("FETCH held")


def test_copy_text_and_binary(connection, make_table):
    table = make_table("k int PRIMARY KEY, t text, n numeric, d date")
    rows = [(k, f"text\t{k}\n\\", decimal.Decimal(k) / 8, datetime.date(2026, 1, 1) + datetime.timedelta(days=k))
            for k in range(2000)]
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows[:1000]:
                copy.write_row(row)
        with cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "numeric", "date"])
            for row in rows[1000:]:
                copy.write_row(row)
        assert cursor.execute(f"SELECT count(*) FROM {table}").fetchone() == (2000,)
        for options in ("", "(FORMAT binary)"):
            with cursor.copy(f"COPY {table} TO STDOUT {options}") as copy:
                copy.set_types(["int4", "text", "numeric", "date"])
                assert sorted(copy.rows()) == rows


def test_copy_aborted_by_the_client_leaves_nothing(connection, numbers):
    with pytest.raises(psycopg.errors.QueryCanceled, match="COPY from stdin failed"):
        with connection.cursor() as cursor, cursor.copy(f"COPY {numbers} FROM STDIN") as copy:
            for k in range(5000, 6000):
                copy.write_row((k, "x"))
            1 // 0
    assert connection.execute(f"SELECT count(*) FROM {numbers}").fetchone() == (200,)


def test_notifications_reach_idle_and_busy_listeners(cluster, connection):
    with psycopg.connect(cluster.dsn(), autocommit=True) as listener:
        listener.execute("LISTEN news")
        connection.execute("NOTIFY news, 'first'")
        connection.execute("SELECT pg_notify('news', 'second')")
        connection.execute("NOTIFY other, 'not for us'")
        with connection.transaction():
            connection.execute("NOTIFY news, 'in transaction'")
        received, deadline = [], time.monotonic() + 10
        generator = listener.notifies()
        timer = threading.Timer(10, listener.close)
        timer.start()
        while len(received) < 3 and time.monotonic() < deadline:
            received.append(next(generator))
        timer.cancel()
        generator.close()
        assert [(n.channel, n.payload) for n in received] == [
            ("news", "first"), ("news", "second"), ("news", "in transaction")]
        listener.execute("UNLISTEN news")


def test_transaction_context_commits_and_rolls_back(connection, numbers):
    with pytest.raises(ZeroDivisionError), connection.transaction():
        connection.execute(f"UPDATE {numbers} SET v = 'gone'")
        1 // 0
    with connection.transaction():
        connection.execute(f"UPDATE {numbers} SET v = 'kept' WHERE k <= 10")
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            connection.execute(f"INSERT INTO {numbers} VALUES (1, 'dup')")
    assert connection.execute(f"SELECT count(*) FROM {numbers} WHERE v = 'kept'").fetchone() == (10,)
    assert connection.execute(f"SELECT count(*) FROM {numbers} WHERE v = 'gone'").fetchone() == (0,)


def test_error_fields(connection, numbers):
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        connection.execute(f"INSERT INTO {numbers} VALUES (%s, 'x')", (7,))
    diagnostic = caught.value.diag
    assert (diagnostic.table_name, diagnostic.constraint_name, diagnostic.schema_name) == \
        (numbers, f"{numbers}_pkey", "public")
    assert diagnostic.message_detail == "Key (k)=(7) already exists."


def test_cancel_safe_within_a_second(connection, numbers):
    for statement in ("SELECT pg_sleep(30)", f"SELECT count(*) FROM {numbers} WHERE pg_sleep(1) IS NOT NULL"):
        timer = threading.Timer(0.5, connection.cancel)
        timer.start()
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(statement)
        assert time.monotonic() - started < 1.5
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("binary", [False, True])
def test_value_of_64_megabytes(connection, make_table, binary):
    table = make_table("k int PRIMARY KEY, v bytea")
    value = bytes(range(256)) * (64 * 1024 * 4)
    connection.execute(f"INSERT INTO {table} VALUES (%s, %s)", (1, value))
    row = connection.execute(f"SELECT v FROM {table} WHERE k = %s", (1,), binary=binary).fetchone()
    assert row[0] == value
    row = connection.execute(f"SELECT k, v FROM {table} ORDER BY k", binary=binary).fetchone()
    assert row == (1, value)


def test_autocommit_off_opens_transactions_lazily(cluster, numbers):
    with psycopg.connect(cluster.dsn()) as one, psycopg.connect(cluster.dsn(), autocommit=True) as two:
        one.execute(f"UPDATE {numbers} SET v = 'changed'")
        assert one.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        assert two.execute(f"SELECT count(*) FROM {numbers} WHERE v = 'changed'").fetchone() == (0,)
        one.commit()
        assert two.execute(f"SELECT count(*) FROM {numbers} WHERE v = 'changed'").fetchone() == (200,)


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize("local", [False, True])
def test_set_config_with_parameters_holds_on_every_unit(connection, numbers, prepare, local):
    """How applications tell row security who asks."""
    with connection.transaction():
        row = connection.execute("SELECT set_config(%s, %s, %s), set_config('app.b', %s, %s) AS other",
                                 ("App.Tenant", "ten'ant", local, "b", local), prepare=prepare).fetchone()
        assert row == ("ten'ant", "b")
        for key in range(1, 20):
            assert connection.execute(f"SELECT current_setting('app.tenant'), current_setting('app.b') FROM {numbers} WHERE k = %s",
                                      (key,)).fetchone() == ("ten'ant", "b")
    for key in range(1, 20):
        assert connection.execute(f"SELECT current_setting('app.tenant') FROM {numbers} WHERE k = %s",
                                  (key,)).fetchone() == ("" if local else "ten'ant",)


@pytest.mark.decan_only
def test_distsql_through_prepared_statements(connection, numbers):
    """Database tools send everything by the extended protocol."""
    for _ in range(3):
        cursor = connection.execute("SHOW STORAGE UNITS", prepare=True)
        assert [row[0] for row in cursor.fetchall()] == ["ds_0", "ds_1"]
        assert cursor.description[0].name == "name"
    assert "ds_" in str(connection.execute(f"PREVIEW SELECT count(*) FROM {numbers}", prepare=True).fetchall())
    with pytest.raises(psycopg.errors.SyntaxError):
        connection.execute("SHOW STORAGE UNITS FOM x", prepare=True)


def test_two_phase_commit_by_client(cluster, connection, numbers):
    """Refused so far: another session's COMMIT PREPARED would have to find the units that hold the transaction."""
    if not cluster.plain:
        with psycopg.connect(cluster.dsn()) as one:
            one.execute(f"UPDATE {numbers} SET v = 'two-phase' WHERE k = 1")
            with pytest.raises(psycopg.errors.FeatureNotSupported, match="prepared transactions of clients"):
                one.execute("PREPARE TRANSACTION 'e2e'")
            one.rollback()
        assert connection.execute(f"SELECT v FROM {numbers} WHERE k = 1").fetchone() == ("row 1",)
        return
    with psycopg.connect(cluster.dsn()) as one:
        xid = one.xid(42, f"e2e-{uuid.uuid4()}", "branch")
        one.tpc_begin(xid)
        one.execute(f"UPDATE {numbers} SET v = 'two-phase' WHERE k = 1")
        one.tpc_prepare()
        one.tpc_commit()
    assert connection.execute(f"SELECT v FROM {numbers} WHERE k = 1").fetchone() == ("two-phase",)


def test_client_composes_identifiers(connection, make_table):
    table = make_table('"Odd ""Key" int PRIMARY KEY', key='Odd "Key')
    connection.execute(sql.SQL("INSERT INTO {} ({}) VALUES (%s)").format(sql.Identifier(table), sql.Identifier('Odd "Key')),
                       (5,))
    assert connection.execute(sql.SQL("SELECT {} FROM {}").format(sql.Identifier('Odd "Key'), sql.Identifier(table))) \
        .fetchall() == [(5,)]


def test_json_document_of_many_levels(connection, make_table):
    table = make_table("k int PRIMARY KEY, j jsonb")
    document = {"level": 0}
    for level in range(1, 200):
        document = {"level": level, "child": document}
    connection.execute(f"INSERT INTO {table} VALUES (1, %s)", (json.dumps(document),))
    assert connection.execute(f"SELECT j FROM {table} WHERE k = 1").fetchone() == (document,)


def test_connection_string_forms(cluster):
    for form in (cluster.url(), cluster.url(sslmode="require"), cluster.dsn(sslmode="prefer", connect_timeout=5),
                 cluster.dsn(application_name="it's a test"), cluster.dsn(options="-c work_mem=5MB -c TimeZone=UTC")):
        with psycopg.connect(form) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    with psycopg.connect(cluster.dsn(options="-c work_mem=5MB")) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
