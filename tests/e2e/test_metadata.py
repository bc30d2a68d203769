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


def test_binary_copy_holds_the_home_units_types(connection, make_table):
    connection.execute("DROP TYPE IF EXISTS meta_kind CASCADE")
    connection.execute("CREATE TYPE meta_kind AS ENUM ('x', 'y')")
    table = make_table("k int PRIMARY KEY, kinds meta_kind[]", key="k", prefix="meta")
    for key in range(20):
        connection.execute(f"INSERT INTO {table} VALUES ({key}, '{{x,y}}')")
    element = connection.execute("SELECT 'meta_kind'::regtype::oid::int").fetchone()[0].to_bytes(4, "big")
    query = f"(SELECT kinds, k FROM {table} WHERE k = 7)"
    for source, rows in ((table, 20), (query, 1)):
        with connection.cursor().copy(f"COPY {source} TO STDOUT (FORMAT binary)") as copy:
            data = b"".join(copy)
        head = (1).to_bytes(4, "big") + (0).to_bytes(4, "big")
        assert data.count(head + element + (2).to_bytes(4, "big")) == rows
        if source == table:
            whole = data
    before = connection.execute(f"SELECT * FROM {table} ORDER BY k").fetchall()
    connection.execute(f"DELETE FROM {table}")
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        for at in range(0, len(whole), 7):
            copy.write(whole[at:at + 7])
    assert connection.execute(f"SELECT * FROM {table} ORDER BY k").fetchall() == before


def failed_copy(connection, table: str, options: str, data: str) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught:
        with connection.cursor().copy(f"COPY {table} FROM STDIN {options}") as copy:
            copy.write(data)
    return caught.value


def test_copy_errors_tell_the_clients_line(connection, make_table):
    table = make_table("k int PRIMARY KEY, v int CHECK (v < 1000)", key="k", prefix="meta")
    for bad in (1, 2, 3, 137, 138, 200):
        lines = [f"{k}\t{k}\n" for k in range(1, 201)]
        lines[bad - 1] = f"{bad}\tx\n"
        error = failed_copy(connection, table, "", "".join(lines))
        assert error.diag.context == f'COPY {table}, line {bad}, column v: "x"'
        assert error.diag.message_detail is None
        lines[bad - 1] = f"{bad}\t5000\n"
        assert failed_copy(connection, table, "", "".join(lines)).diag.context == f'COPY {table}, line {bad}: "{bad}\t5000"'
    error = failed_copy(connection, table, "", "1\t1\nx\t2\n")
    assert (error.diag.message_detail, error.diag.context) == (None, f'COPY {table}, line 2, column k: "x"')
    error = failed_copy(connection, table, "(FORMAT csv, HEADER)", "k,v\n" + "".join(f'"{k}","\n{k}"\n' for k in range(1, 9)) + "9,y\n")
    assert error.diag.context == f'COPY {table}, line 18, column v: "y"'


@pytest.fixture(autouse=True)
def _types(connection):
    yield
    connection.execute("DROP TYPE IF EXISTS meta_kind CASCADE")
