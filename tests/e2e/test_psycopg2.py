"""psycopg2: what most existing Python programs use."""

import select
import threading
import time
from io import StringIO

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest


@pytest.fixture
def old(cluster, make_table):
    """Closed before the test's tables are dropped."""
    connection = psycopg2.connect(cluster.dsn())
    yield connection
    connection.close()


def test_rows_and_types(old, numbers):
    with old, old.cursor() as cursor:
        cursor.execute(f"SELECT k, v FROM {numbers} WHERE k = %s", (5,))
        assert cursor.fetchall() == [(5, "row 5")]
        cursor.execute(f"SELECT count(*), max(v) FROM {numbers}")
        assert cursor.fetchone() == (200, "row 99")
        cursor.execute("SELECT %s::numeric, %s, %s, %s", (1.5, None, [1, 2], psycopg2.Binary(b"\0\xff")))
        row = cursor.fetchone()
        assert (str(row[0]), row[1], row[2], bytes(row[3])) == ("1.5", None, [1, 2], b"\0\xff")


def test_execute_values_and_batch(old, numbers):
    with old, old.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, f"INSERT INTO {numbers} VALUES %s", [(k, "new") for k in range(1000, 2000)])
        psycopg2.extras.execute_batch(cursor, f"UPDATE {numbers} SET v = %s WHERE k = %s",
                                      [(f"b{k}", k) for k in range(1000, 1100)])
        cursor.execute(f"SELECT count(*) FROM {numbers} WHERE v LIKE 'b%%'")
        assert cursor.fetchone() == (100,)
        cursor.execute(f"SELECT count(*) FROM {numbers}")
        assert cursor.fetchone() == (1200,)


def test_named_cursor(old, numbers):
    with old, old.cursor("named") as cursor:
        cursor.itersize = 33
        cursor.execute(f"SELECT k FROM {numbers} ORDER BY k")
        assert [row[0] for row in cursor] == list(range(1, 201))


def test_named_cursor_with_hold(old, numbers):
    cursor = old.cursor("held", withhold=True)
    cursor.execute(f"SELECT v FROM {numbers} WHERE k = 3")
    old.commit()
    assert cursor.fetchall() == [("row 3",)]
    cursor.close()


def test_copy_expert_both_ways(old, numbers):
    with old, old.cursor() as cursor:
        cursor.copy_expert(f"COPY {numbers} FROM STDIN WITH CSV", StringIO("".join(f"{k},x\n" for k in range(300, 400))))
        out = StringIO()
        cursor.copy_expert(f"COPY {numbers} TO STDOUT", out)
        assert len(out.getvalue().splitlines()) == 300
        cursor.copy_to(out, numbers)
        cursor.copy_from(StringIO("500\ta\n501\tb\n"), numbers)
        assert cursor.rowcount == 2


def test_error_then_rollback(old, numbers):
    with pytest.raises(psycopg2.errors.UniqueViolation) as caught, old, old.cursor() as cursor:
        cursor.execute(f"INSERT INTO {numbers} VALUES (1, 'dup')")
    assert caught.value.pgcode == "23505" and caught.value.diag.table_name == numbers
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction), old.cursor() as cursor:
        with pytest.raises(psycopg2.errors.UndefinedTable):
            cursor.execute("SELECT * FROM no_such_table")
        cursor.execute("SELECT 1")
    old.rollback()
    with old.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_isolation_levels_and_read_only(old, numbers):
    old.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with old, old.cursor() as cursor:
        cursor.execute(f"SELECT v FROM {numbers} WHERE k = 1")
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("repeatable read",)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction), old, old.cursor() as cursor:
        cursor.execute(f"UPDATE {numbers} SET v = 'x' WHERE k = 1")


def test_notices_are_delivered(old):
    with old.cursor() as cursor:
        cursor.execute("DO $$ BEGIN RAISE NOTICE 'hello %', 1; END $$")
    assert any("hello 1" in notice for notice in old.notices)


def test_notify_through_poll(cluster, old):
    old.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
    with old.cursor() as cursor:
        cursor.execute("LISTEN old_news")
    with psycopg2.connect(cluster.dsn()) as sender, sender.cursor() as cursor:
        cursor.execute("NOTIFY old_news, 'payload'")
    deadline = time.monotonic() + 5
    while not old.notifies and time.monotonic() < deadline:
        select.select([old], [], [], 0.5)
        old.poll()
    assert [(n.channel, n.payload) for n in old.notifies] == [("old_news", "payload")]


def test_cancel(old):
    timer = threading.Timer(0.4, old.cancel)
    timer.start()
    started = time.monotonic()
    with pytest.raises(psycopg2.errors.QueryCanceled), old.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(20)")
    assert time.monotonic() - started < 1.4
    old.rollback()


def test_large_value(old, make_table):
    table = make_table("k int PRIMARY KEY, v text")
    text = "0123456789abcdef" * (4 * 1024 * 1024)
    with old, old.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (1, %s)", (text,))
        cursor.execute(f"SELECT v FROM {table} WHERE k = 1")
        assert cursor.fetchone()[0] == text
    old.rollback()


def test_tls_is_reported(cluster):
    with psycopg2.connect(cluster.dsn(sslmode="require")) as connection:
        assert connection.info.ssl_in_use and connection.info.ssl_attribute("protocol").startswith("TLSv1.")
