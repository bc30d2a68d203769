"""asyncpg: always binary, always prepared, introspects types by itself."""

import asyncio
import datetime
import decimal
import io
import json
import ssl
import uuid

import asyncpg
import pytest


def run(cluster, body, **arguments):
    """Runs an async test body on one connection."""
    async def session():
        connection = await asyncpg.connect(host=cluster.host, port=cluster.port, user=cluster.user,
                                           password=cluster.password, database=cluster.database, timeout=20, **arguments)
        try:
            return await asyncio.wait_for(body(connection), 60)
        finally:
            await connection.close(timeout=10)

    return asyncio.run(session())


def test_fetch_forms(cluster, numbers):
    async def body(connection):
        assert await connection.fetchval(f"SELECT v FROM {numbers} WHERE k = $1", 7) == "row 7"
        assert await connection.fetchrow(f"SELECT k, v FROM {numbers} WHERE k = $1", 999) is None
        rows = await connection.fetch(f"SELECT k FROM {numbers} WHERE k = ANY($1::int[]) ORDER BY k", [5, 100, 7])
        assert [row["k"] for row in rows] == [5, 7, 100]
        assert await connection.fetchval(f"SELECT count(*) FROM {numbers}") == 200
        assert await connection.execute(f"UPDATE {numbers} SET v = $1 WHERE k > 100", "x") == "UPDATE 100"
    run(cluster, body)


def test_types_round_trip(cluster, make_table):
    table = make_table("k bigint PRIMARY KEY, b bool, n numeric, t text, by bytea, d date, ts timestamptz, iv interval, "
                       "u uuid, j json, ta text[], na numeric[], r int4range, tm time, pt point")
    row = (2**60, False, decimal.Decimal("-0.00000123"), "ünï", b"\0\1", datetime.date.max,
           datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), datetime.timedelta(days=1, seconds=1),
           uuid.UUID(int=5), json.dumps({"a": 1}), ["a", None], [decimal.Decimal("NaN"), decimal.Decimal(1)],
           asyncpg.Range(1, 5), datetime.time(1, 2, 3, 4), asyncpg.Point(1, 2))

    async def body(connection):
        marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await connection.execute(f"INSERT INTO {table} VALUES ({marks})", *row)
        for query in (f"SELECT * FROM {table} WHERE k = {2**60}", f"SELECT * FROM {table} ORDER BY k"):
            found = tuple(await connection.fetchrow(query))
            assert [str(v) for v in found] == [str(v) for v in row]
    run(cluster, body)


def test_user_types_are_introspected(cluster, connection, make_table):
    connection.execute("CREATE TYPE e2e_mood AS ENUM ('sad', 'happy')")
    connection.execute("CREATE TYPE e2e_pair AS (a int, b text)")
    table = make_table("k int PRIMARY KEY, m e2e_mood, p e2e_pair, ms e2e_mood[]")
    try:
        async def body(session):
            await session.executemany(f"INSERT INTO {table} VALUES ($1, $2, $3, $4)",
                                      [(k, "happy", (k, "b"), ["sad", "happy"]) for k in range(20)])
            rows = await session.fetch(f"SELECT * FROM {table} ORDER BY k")
            assert [tuple(row) for row in rows] == [(k, "happy", (k, "b"), ["sad", "happy"]) for k in range(20)]
            for k in range(20):
                row = await session.fetchrow(f"SELECT m, p, ms FROM {table} WHERE k = $1", k)
                assert tuple(row) == ("happy", (k, "b"), ["sad", "happy"])
        run(cluster, body)
    finally:
        connection.execute(f"DROP TABLE {table}")
        connection.execute("DROP TYPE e2e_mood, e2e_pair")


def test_prepared_statement_object(cluster, numbers):
    async def body(connection):
        statement = await connection.prepare(f"SELECT v, $2::text AS extra FROM {numbers} WHERE k = $1")
        assert [p.name for p in statement.get_parameters()] == ["int4", "text"]
        assert [(a.name, a.type.name) for a in statement.get_attributes()] == [("v", "text"), ("extra", "text")]
        for k in range(1, 60):
            assert tuple(await statement.fetchrow(k, str(k))) == (f"row {k}", str(k))
    run(cluster, body)


def test_executemany_and_transaction(cluster, numbers):
    async def body(connection):
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.executemany(f"INSERT INTO {numbers} VALUES ($1, $2)",
                                         [(k, "x") for k in range(250, 190, -1)])
        assert await connection.fetchval(f"SELECT count(*) FROM {numbers}") == 200
        async with connection.transaction():
            await connection.executemany(f"INSERT INTO {numbers} VALUES ($1, $2)", [(k, "x") for k in range(201, 301)])
            try:
                async with connection.transaction():
                    await connection.execute(f"DELETE FROM {numbers}")
                    raise ZeroDivisionError
            except ZeroDivisionError:
                pass
        assert await connection.fetchval(f"SELECT count(*) FROM {numbers}") == 300
    run(cluster, body)


def test_cursor_in_transaction(cluster, numbers):
    async def body(connection):
        async with connection.transaction():
            keys = [row["k"] async for row in connection.cursor(f"SELECT k FROM {numbers} ORDER BY k", prefetch=9)]
            assert keys == list(range(1, 201))
            cursor = await connection.cursor(f"SELECT k FROM {numbers} WHERE k IN (3, 4) ORDER BY k")
            assert (await cursor.fetchrow())["k"] == 3
            await cursor.forward(1)
            assert await cursor.fetchrow() is None
    run(cluster, body)


def test_copy_records_and_query(cluster, make_table):
    table = make_table("k int PRIMARY KEY, v text, n numeric")
    records = [(k, f"v{k}" if k % 7 else None, decimal.Decimal(k) / 4) for k in range(5000)]

    async def body(connection):
        assert await connection.copy_records_to_table(table, records=records) == "COPY 5000"
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 5000
        out = io.BytesIO()
        assert await connection.copy_from_table(table, output=out, format="csv") == "COPY 5000"
        assert len(out.getvalue().splitlines()) == 5000
        out = io.BytesIO()
        await connection.copy_from_query(f"SELECT v FROM {table} WHERE k = $1", 8, output=out)
        assert out.getvalue() == b"v8\n"
    run(cluster, body)


def test_listener(cluster):
    async def body(connection):
        received = asyncio.Queue()
        await connection.add_listener("async_news", lambda *message: received.put_nowait(message[2:]))
        await connection.execute("SELECT pg_notify('async_news', 'hello')")
        assert await asyncio.wait_for(received.get(), 5) == ("async_news", "hello")
        await connection.remove_listener("async_news", lambda *message: None)
    run(cluster, body)


def test_timeout_cancels_the_statement(cluster, numbers):
    async def body(connection):
        for statement in ("SELECT pg_sleep(10)", f"SELECT count(*) FROM {numbers} WHERE pg_sleep(1) IS NOT NULL"):
            started = asyncio.get_running_loop().time()
            with pytest.raises(asyncio.TimeoutError):
                await connection.fetch(statement, timeout=0.4)
            assert asyncio.get_running_loop().time() - started < 1.4
            assert await connection.fetchval("SELECT 1") == 1
    run(cluster, body)


def test_pool_resets_sessions(cluster, numbers):
    async def session():
        pool = await asyncpg.create_pool(host=cluster.host, port=cluster.port, user=cluster.user,
                                         password=cluster.password, database=cluster.database, min_size=4, max_size=8)

        async def work(n):
            async with pool.acquire() as connection:
                await connection.execute(f"SET application_name = 'worker {n}'")
                return await connection.fetchval(f"SELECT v FROM {numbers} WHERE k = $1", n % 200 + 1)
        values = await asyncio.gather(*(work(n) for n in range(300)))
        assert values == [f"row {n % 200 + 1}" for n in range(300)]
        async with pool.acquire() as connection:
            assert await connection.fetchval("SHOW application_name") == ""
        await pool.close()
    asyncio.run(session())


def test_over_tls(cluster):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    async def body(connection):
        assert await connection.fetchval("SELECT 1") == 1
    run(cluster, body, ssl=context)


def test_settings_at_start(cluster):
    async def body(connection):
        assert await connection.fetchval("SHOW TimeZone") == "Asia/Tokyo"
        assert await connection.fetchval("SHOW application_name") == "async"
    run(cluster, body, server_settings={"timezone": "Asia/Tokyo", "application_name": "async"})


def test_set_config_by_parameter(cluster, numbers):
    async def body(connection):
        async with connection.transaction():
            await connection.execute("SELECT set_config('app.tenant', $1, true)", "four")
            for key in range(1, 9):
                assert await connection.fetchval(f"SELECT current_setting('app.tenant') FROM {numbers} WHERE k = $1",
                                                 key) == "four"
        assert await connection.fetchval("SELECT set_config('work_mem', '7MB', false)") == "7MB"
        assert await connection.fetchval("SHOW work_mem") == "7MB"
    run(cluster, body)


def test_server_error_has_fields(cluster, numbers):
    async def body(connection):
        with pytest.raises(asyncpg.UniqueViolationError) as caught:
            await connection.execute(f"INSERT INTO {numbers} VALUES ($1, 'x')", 1)
        assert caught.value.constraint_name == f"{numbers}_pkey" and caught.value.table_name == numbers
    run(cluster, body)


def test_value_of_64_megabytes(cluster, make_table):
    table = make_table("k int PRIMARY KEY, v bytea")
    value = b"\xab" * (64 * 1024 * 1024)

    async def body(connection):
        await connection.execute(f"INSERT INTO {table} VALUES ($1, $2)", 1, value)
        assert await connection.fetchval(f"SELECT v FROM {table} WHERE k = $1", 1) == value
    run(cluster, body)
