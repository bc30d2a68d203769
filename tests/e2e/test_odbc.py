"""psqlODBC through unixODBC and pyodbc."""

import contextlib
import datetime
import decimal

import pyodbc
import pytest

DRIVER = "PostgreSQL Unicode"


@contextlib.contextmanager
def connect(cluster, **options):
    """pyodbc's own `with` commits but leaves the connection open."""
    values = {"Driver": "{" + DRIVER + "}", "Server": cluster.host, "Port": cluster.port, "Database": cluster.database,
              "Uid": cluster.user, "Pwd": cluster.password, **options}
    connection = pyodbc.connect(";".join(f"{name}={value}" for name, value in values.items()), timeout=15)
    try:
        yield connection
    finally:
        connection.rollback()
        connection.close()


@pytest.fixture
def odbc(cluster, make_table):
    """Closed before the test's tables are dropped."""
    with connect(cluster) as connection:
        yield connection


@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_connects_and_selects(cluster, numbers, sslmode):
    with connect(cluster, sslmode=sslmode) as connection:
        assert connection.execute(f"SELECT v FROM {numbers} WHERE k = ?", 12).fetchone()[0] == "row 12"


@pytest.mark.parametrize("server_side", [0, 1])
@pytest.mark.parametrize("declare_fetch", [0, 1])
def test_prepare_and_fetch_modes(cluster, numbers, server_side, declare_fetch):
    with connect(cluster, UseServerSidePrepare=server_side, UseDeclareFetch=declare_fetch, Fetch=13) as connection:
        rows = connection.execute(f"SELECT k, v FROM {numbers} WHERE k <= ? ORDER BY k", 100).fetchall()
        assert [tuple(row) for row in rows] == [(k, f"row {k}") for k in range(1, 101)]
        assert connection.execute(f"SELECT count(*) FROM {numbers}").fetchval() == 200


def test_types(odbc, make_table):
    table = make_table("k int PRIMARY KEY, b bool, l bigint, f float8, n numeric(20,4), t varchar(50), y bytea, d date, ts timestamp")
    row = (1, True, 2**60, 0.5, decimal.Decimal("12345.6789"), "ünï 数据", b"\0\xff", datetime.date(2026, 11, 20),
           datetime.datetime(2026, 11, 20, 1, 2, 3))
    odbc.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *row)
    odbc.execute(f"INSERT INTO {table} (k) VALUES (2)")
    odbc.commit()
    found = tuple(odbc.execute(f"SELECT * FROM {table} WHERE k = 1").fetchone())
    assert (bool(int(found[1])),) + found[2:] == row[1:]
    assert tuple(odbc.execute(f"SELECT * FROM {table} WHERE k = 2").fetchone())[1:] == (None,) * 8


def test_batch_and_rollback(odbc, numbers):
    cursor = odbc.cursor()
    cursor.executemany(f"INSERT INTO {numbers} VALUES (?, ?)", [(k, "new") for k in range(300, 400)])
    assert odbc.execute(f"SELECT count(*) FROM {numbers}").fetchval() == 300
    odbc.rollback()
    assert odbc.execute(f"SELECT count(*) FROM {numbers}").fetchval() == 200


def test_error_inside_transaction(odbc, numbers):
    odbc.execute(f"UPDATE {numbers} SET v = 'kept' WHERE k = 1")
    with pytest.raises(pyodbc.IntegrityError, match="23505"):
        odbc.execute(f"INSERT INTO {numbers} VALUES (1, 'dup')")
    odbc.rollback()
    assert odbc.execute(f"SELECT v FROM {numbers} WHERE k = 1").fetchval() == "row 1"


def test_catalog_functions_show_logical_tables(odbc, numbers):
    cursor = odbc.cursor()
    tables = [(row.table_schem, row.table_name) for row in cursor.tables(tableType="TABLE") if row.table_schem == "public"]
    assert ("public", numbers) in tables
    assert not [name for _, name in tables if name.startswith(numbers + "_")]
    assert [row.column_name for row in cursor.columns(table=numbers)] == ["k", "v"]
    assert [row.column_name for row in cursor.primaryKeys(table=numbers)] == ["k"]
    cursor.statistics(numbers).fetchall()


def test_large_value(odbc, make_table):
    table = make_table("k int PRIMARY KEY, v text")
    text = "x" * (8 * 1024 * 1024)
    odbc.execute(f"INSERT INTO {table} VALUES (1, ?)", text)
    assert odbc.execute(f"SELECT length(v) FROM {table} WHERE k = 1").fetchval() == len(text)
