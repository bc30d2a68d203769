"""What results say about themselves: object ids are the home unit's, whichever unit has answered."""

import psycopg
import pytest


def described(connection, sql: str) -> list[tuple[int, int, int]]:
    result = connection.pgconn.exec_(sql.encode())
    assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message
    return [(result.ftable(i), result.ftablecol(i), result.ftype(i)) for i in range(result.nfields)]


def expected(connection, table: str, columns: list[str]) -> list[tuple[int, int, int]]:
    rows = connection.execute("SELECT attname, attrelid::int, attnum::int, atttypid::int FROM pg_attribute "
                              f"WHERE attrelid = '{table}'::regclass").fetchall()
    found = {name: (relation, number, kind) for name, relation, number, kind in rows}
    return [found[name] for name in columns]


def test_catalog_and_results_agree_for_every_bucket(connection, make_table):
    table = make_table("k int PRIMARY KEY, gone int, v text, w int", key="k", prefix="meta")
    connection.execute(f"ALTER TABLE {table} DROP COLUMN gone")
    want = expected(connection, table, ["v", "k", "w"])
    for key in range(40):
        assert described(connection, f"SELECT v, k, w FROM {table} WHERE k = {key}") == want
    assert described(connection, f"SELECT v, k, w FROM {table} ORDER BY k") == want
    assert described(connection, f"INSERT INTO {table} VALUES (1), (2), (3), (4) RETURNING v, k, w") == want


def test_ids_of_an_open_transaction(cluster, make_table):
    table = make_table("k int PRIMARY KEY", key="k", prefix="meta")
    with psycopg.connect(cluster.dsn()) as connection:
        connection.execute("CREATE TYPE meta_fresh AS ENUM ('a', 'b')")
        connection.execute(f"ALTER TABLE {table} ADD COLUMN f meta_fresh[] DEFAULT '{{a}}'")
        connection.execute(f"INSERT INTO {table} (k) SELECT 1")
        want = expected(connection, table, ["f"])
        array, element = connection.execute("SELECT typarray, oid FROM pg_type WHERE oid = 'meta_fresh'::regtype").fetchone()
        assert want[0][2] == array
        for key in range(10):
            if key != 1:
                connection.execute(f"INSERT INTO {table} (k) VALUES ({key})")
            assert described(connection, f"SELECT f FROM {table} WHERE k = {key}") == want
            value = connection.pgconn.exec_params(f"SELECT f FROM {table} WHERE k = {key}".encode(), None, result_format=1)
            assert value.get_value(0, 0)[8:12] == element.to_bytes(4, "big")
        connection.rollback()
    with psycopg.connect(cluster.dsn()) as connection:
        assert described(connection, f"SELECT k FROM {table} WHERE k = 3") == expected(connection, table, ["k"])


def test_a_portal_fetched_in_pieces_without_describe(connection, make_table):
    """Drivers that know a statement bind and execute it without asking for its columns again."""
    connection.execute("DROP TYPE IF EXISTS meta_kind CASCADE")
    connection.execute("CREATE TYPE meta_kind AS ENUM ('x', 'y')")
    table = make_table("k int, n int, kinds meta_kind[]", key="k", prefix="meta")
    connection.execute(f"INSERT INTO {table} SELECT 2, 1, '{{x}}'")
    connection.execute(f"INSERT INTO {table} VALUES (2, 2, '{{y,x}}'), (3, 1, '{{x}}')")
    element = connection.execute("SELECT 'meta_kind'::regtype::oid::int").fetchone()[0].to_bytes(4, "big")
    for key in (1, 2, 3, 4):
        for _ in range(7):  # psycopg prepares after five
            cursor = connection.cursor(binary=True)
            raw = cursor.execute(f"SELECT kinds FROM {table} WHERE k = %s", (key,)).pgresult
            for row in range(raw.ntuples):
                assert raw.get_value(row, 0)[8:12] == element


@pytest.fixture(autouse=True)
def _types(connection):
    yield
    connection.execute("DROP TYPE IF EXISTS meta_kind CASCADE")
