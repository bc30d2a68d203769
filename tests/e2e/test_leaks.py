"""What client A leaves must never be seen by client B (reliability §2.4), however the pool reuses connections."""

import random
import struct
import threading

import pytest

from support import wire

LOOK = """
SELECT current_setting('work_mem'), current_setting('TimeZone'), current_setting('DateStyle'), current_setting('search_path'),
  current_setting('role'), current_user, session_user, current_setting('default_transaction_read_only'),
  current_setting('transaction_isolation'), current_setting('statement_timeout'), current_setting('lock_timeout'),
  current_setting('application_name'), current_setting('bytea_output'), current_setting('app.tenant', true),
  current_setting('client_encoding'), current_setting('standard_conforming_strings'), current_setting('session_replication_role'),
  (SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'decan%'), (SELECT count(*) FROM pg_cursors),
  (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
  pg_my_temp_schema() = 0 OR NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema())
"""

# What A does. {t} is a sharded table with keys 1 … 200. A statement that fails is meant to, or is refused by Decan.
LEAVES = {
    "set": ["SET work_mem = '77MB'", "SET TimeZone = 'Asia/Tokyo'"],
    "set on every unit": ["SET work_mem = '77MB'", "SELECT count(*) FROM {t}"],
    "set_config": ["SELECT set_config('work_mem', '77MB', false)"],
    "set_config not constant": ["SELECT set_config('work_mem', k::text || '7MB', false) FROM {t} WHERE k = 7"],
    "set_config in do": ["DO $$ BEGIN PERFORM set_config('work_mem', '77MB', false); END $$"],
    "set in function": ["CREATE OR REPLACE FUNCTION leak_set() RETURNS void LANGUAGE plpgsql AS "
                        "$$ BEGIN SET work_mem = '77MB'; END $$", "SELECT leak_set()"],
    "custom setting": ["SET app.tenant = 'a'"],
    "custom setting, local": ["BEGIN", "SET LOCAL app.tenant = 'a'", "COMMIT"],
    "custom setting, rolled back": ["BEGIN", "SET app.tenant = 'a'", "ROLLBACK"],
    "custom setting, reset": ["SET app.tenant = 'a'", "RESET app.tenant"],
    "custom setting, discarded": ["SET app.tenant = 'a'", "DISCARD ALL"],
    "custom setting in function": ["CREATE OR REPLACE FUNCTION leak_set() RETURNS void LANGUAGE sql AS "
                                   "$$ SELECT set_config('app.tenant', 'a', false) $$", "SELECT leak_set()"],
    "custom setting in do": ["DO $$ BEGIN EXECUTE format('SET %s = 1', 'app.tenant'); END $$"],
    "set by a trigger": ["INSERT INTO leak_single VALUES (1)"],
    "set in do, local before": ["BEGIN", "SET LOCAL work_mem = '77MB'", "DO $$ BEGIN NULL; END $$", "COMMIT"],
    "set local, rolled back": ["BEGIN", "SET LOCAL work_mem = '77MB'", "ROLLBACK"],
    "set, rolled back": ["BEGIN", "SET work_mem = '77MB'", "SELECT 1 / 0", "ROLLBACK"],
    "set local, committed": ["BEGIN", "SET LOCAL work_mem = '77MB'", "SELECT v FROM {t} WHERE k = 1", "COMMIT"],
    "set local, left open": ["BEGIN", "SET LOCAL TimeZone = 'Asia/Tokyo'", "SELECT count(*) FROM {t}"],
    "set in savepoint": ["BEGIN", "SAVEPOINT s", "SET work_mem = '77MB'", "ROLLBACK TO s", "COMMIT"],
    "search_path": ["CREATE SCHEMA IF NOT EXISTS leak_evil", "SET search_path = leak_evil, public"],
    "search_path of pg_dump": ["SELECT pg_catalog.set_config('search_path', '', false)"],
    "role": ["SET ROLE pg_monitor", "SET ROLE leak_role"],
    "session authorization": ["SET SESSION AUTHORIZATION DEFAULT"],
    "default read only": ["SET default_transaction_read_only = on"],
    "characteristics": ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"],
    "timeouts": ["SET statement_timeout = '1ms'", "SET lock_timeout = '1ms'"],
    "idle timeout": ["SET idle_in_transaction_session_timeout = '1ms'"],
    "application name": ["SET application_name = 'client A'"],
    "encodings": ["SET client_encoding = 'SQL_ASCII'", "SET standard_conforming_strings = off", "SET bytea_output = 'escape'"],
    "datestyle": ["SET DateStyle = 'German'"],
    "prepared": ["PREPARE leak AS SELECT 'from A'", "EXECUTE leak"],
    "prepared on a unit": ["PREPARE leak (int) AS SELECT v FROM {t} WHERE k = $1", "EXECUTE leak (5)"],
    "prepared in aborted transaction": ["BEGIN", "PREPARE leak AS SELECT 1", "SELECT 1 / 0", "ROLLBACK"],
    "prepared, transaction left open": ["BEGIN", "PREPARE leak AS SELECT 1", "SELECT 1 / 0"],
    "temporary table": ["CREATE TEMP TABLE leak_temp (x int)", "INSERT INTO leak_temp VALUES (1)"],
    "temporary table that hides": ["CREATE TEMP TABLE {t} (x text)"],
    "temporary function": ["CREATE FUNCTION pg_temp.leak() RETURNS int LANGUAGE sql AS 'SELECT 666'"],
    "held cursor": ["BEGIN", "DECLARE leak CURSOR WITH HOLD FOR SELECT 'from A'", "COMMIT"],
    "held cursor over several units": ["DECLARE leak CURSOR WITH HOLD FOR SELECT k FROM {t} ORDER BY k", "FETCH leak"],
    "open cursor": ["BEGIN", "DECLARE leak CURSOR FOR SELECT k FROM {t} ORDER BY k", "FETCH leak"],
    "listen": ["LISTEN leak"],
    "listen, rolled back": ["BEGIN", "LISTEN leak", "ROLLBACK"],
    "advisory lock": ["SELECT pg_advisory_lock(4711)"],
    "advisory lock, transaction": ["BEGIN", "SELECT pg_advisory_xact_lock(4712)", "SELECT 1 / 0"],
    "advisory lock in do": ["DO $$ BEGIN PERFORM pg_advisory_lock(4711); END $$"],
    "advisory lock of a failed statement": ["SELECT pg_advisory_lock(4711), 1 / (random() * 0)::int"],
    "advisory lock in a row": ["SELECT pg_advisory_lock(k) FROM {t} WHERE k = 3"],
    "row locks": ["BEGIN", "SELECT v FROM {t} WHERE k = 1 FOR UPDATE", "UPDATE {t} SET v = 'A' WHERE k = 2"],
    "sequence": ["SELECT nextval('leak_sequence')"],
    "sequence of a default": ["INSERT INTO leak_single VALUES (1)", "SELECT lastval()"],
    "sequence in function": ["CREATE OR REPLACE FUNCTION leak_set() RETURNS int LANGUAGE sql AS "
                             "$$ SELECT nextval('leak_sequence')::int $$", "SELECT leak_set()"],
    "failed transaction": ["BEGIN", "SELECT 1 / 0"],
    "serializable": ["BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT v FROM {t} WHERE k = 1"],
    "replication role": ["SET session_replication_role = replica"],
    "discarded": ["SET work_mem = '77MB'", "DISCARD ALL", "SET work_mem = '78MB'"],
    "reset": ["SET work_mem = '77MB'", "RESET ALL"],
    "exported snapshot": ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT pg_export_snapshot()"],
    "random seed": ["SELECT setseed(0.5)"],
}


@pytest.fixture(scope="module")
def table(cluster):
    with wire.connect(cluster) as connection:
        connection.run("CREATE TABLE leak_table (k int PRIMARY KEY, v text)")
        connection.run("SELECT create_distributed_table('leak_table', 'k')")
        connection.run("INSERT INTO leak_table VALUES " + ", ".join(f"({k}, 'row {k}')" for k in range(1, 201)))
        connection.run("CREATE SEQUENCE leak_sequence")
        connection.run("CREATE TABLE leak_single (v int, id serial)")
        connection.run("CREATE FUNCTION leak_trigger() RETURNS trigger LANGUAGE plpgsql AS "
                       "$$ BEGIN PERFORM set_config('work_mem', '77MB', false); RETURN NEW; END $$")
        connection.run("CREATE TRIGGER leak BEFORE INSERT ON leak_single FOR EACH ROW EXECUTE FUNCTION leak_trigger()")
        connection.run("CREATE ROLE leak_role")
        connection.run(f"GRANT leak_role TO {cluster.user}")
    yield "leak_table"
    with wire.connect(cluster) as connection:
        connection.run("SET lock_timeout = '10s'")
        for sql in ("DROP TABLE leak_table", "DROP TABLE leak_single", "DROP FUNCTION leak_trigger()", "DROP SEQUENCE leak_sequence", "DROP ROLE leak_role",
                    "DROP FUNCTION IF EXISTS leak_set()", "DROP SCHEMA IF EXISTS leak_evil"):
            connection.run(sql)


def look(connection: wire.Wire, table: str) -> list:
    """What B can see of its session, wherever its statements run."""
    connection.send(wire.query(LOOK))
    result = connection.results()[-1]
    assert not result.error, result.error
    seen = list(result.rows[0])
    keys = (1, 2, 3, 50, 77, 150, 199)
    for key in keys:
        connection.send(wire.query(f"SELECT current_setting('work_mem'), current_setting('TimeZone'), current_user, "
                                   f"current_setting('search_path'), v FROM {table} WHERE k = {key}"))
        seen.append(connection.results()[-1].rows)
    connection.send(wire.query(f"SELECT current_setting('work_mem'), count(*) FROM {table} GROUP BY 1"))
    seen.append(connection.results()[-1].rows)
    return seen


def leave(connection: wire.Wire, statements: list[str], table: str) -> None:
    for sql in statements:
        connection.send(wire.query(sql.format(t=table)))
        connection.results()


def probe(connection: wire.Wire, table: str) -> None:
    """Names of A must not exist for B, and nothing may block B."""
    connection.run("SET lock_timeout = '5s'")
    for sql, code in (("EXECUTE leak", "26000"), ("FETCH leak", "34000"), ("SELECT * FROM leak_temp", "42P01"),
                      ("SELECT pg_temp.leak()", ("42883", "3F000")), ("SELECT currval('leak_sequence')", "55000"),
                      ("SELECT lastval()", "55000")):
        connection.send(wire.query(sql))
        error = connection.results()[-1].error
        assert error and error["C"] in code, f"{sql}: {error}"
    assert connection.value("SELECT pg_try_advisory_lock(4711)") == "t"
    connection.run("SELECT pg_advisory_unlock(4711)")
    assert connection.value("SELECT pg_try_advisory_xact_lock(4712)") == "t"
    connection.run(f"UPDATE {table} SET v = v WHERE k IN (1, 2, 3)")
    assert connection.value(f"SELECT v FROM {table} WHERE k = 2") == "row 2"
    connection.run("RESET lock_timeout")


@pytest.mark.parametrize("how", ["terminated", "cut", "open"])
@pytest.mark.parametrize("name", LEAVES)
def test_nothing_of_a_is_seen_by_b(cluster, raw, table, name, how):
    fresh = raw()
    expected = look(fresh, table)
    fresh.close()
    a, b_before = raw(), raw()
    leave(a, LEAVES[name], table)
    if how == "terminated":
        a.send(wire.TERMINATE)
        assert a.closed_within(5)
    elif how == "cut":
        a.close()
    elif a.status != "I" or "advisory" in name:
        # A still holds its transaction or its lock: B may only not see its settings.
        assert look(b_before, table)[:17] == expected[:17]
        return
    for b in (b_before, raw()):
        assert look(b, table) == expected or "advisory" in name and how == "cut"
        probe(b, table)


def test_what_a_session_sets_follows_it_to_every_unit(raw, table):
    """Also where code sets it, and whichever connections the session gets."""
    a = raw()
    a.run("DO $$ BEGIN PERFORM set_config('work_mem', '77MB', false); PERFORM set_config('app.tenant', 'a', false); END $$")
    a.run("BEGIN")
    a.run("SET LOCAL app.other = 'b'")
    a.run("COMMIT")
    for key in range(1, 30):
        raw().value(f"SELECT v FROM {table} WHERE k = {key}")
        row = a.run("SELECT current_setting('work_mem'), current_setting('app.tenant'), current_setting('app.other') "
                    f"FROM {table} WHERE k = {key}").rows
        assert row == [(b"77MB", b"a", b"")]


def test_values_of_sequences_are_the_sessions_own_or_refused(raw, table):
    sessions = [raw() for _ in range(4)]
    known = 0
    for turn in range(20):
        for n, session in enumerate(sessions):
            session.run("BEGIN")
            value = session.value("SELECT nextval('leak_sequence')")
            assert session.value("SELECT currval('leak_sequence')") == value
            assert session.value("SELECT lastval()") == value
            session.run("COMMIT")
            other = sessions[(n + turn) % 4]
            if turn % 2:
                other.run("INSERT INTO leak_single VALUES (1)")
            session.send(wire.query("SELECT currval('leak_sequence')"))
            result = session.results()[-1]
            if result.error:
                assert result.error["C"] == "0A000"
            else:
                assert result.rows == [(value.encode(),)]
                known += 1
    assert known > 0


def test_half_done_copy_is_not_continued_by_b(cluster, raw, table):
    for _ in range(5):
        a = raw()
        a.send(wire.query(f"COPY {table} (k) FROM STDIN"))
        a.next()
        a.send(wire.copy_data(b"10000\n10001\n10002\n10003\n"))
        a.close()
        b = raw()
        assert b.value(f"SELECT count(*) FROM {table}") == "200"


def test_half_read_rows_are_not_given_to_b(cluster, raw, table):
    for _ in range(10):
        a = raw()
        a.send(wire.extended("BEGIN") + wire.parse("", f"SELECT 'of A', k FROM {table} ORDER BY k") + wire.bind("p")
               + wire.execute("p", 3) + wire.FLUSH)
        for _ in range(6):
            a.next()
        a.close()
        b = raw()
        b.send(wire.extended("SELECT 'of B'"), wire.SYNC)
        assert b.results()[-1].rows == [(b"of B",)]


def test_same_statement_name_with_other_text(raw, table):
    sessions = [raw() for _ in range(8)]
    for n, session in enumerate(sessions):
        session.send(wire.parse("s", f"SELECT {n}, v FROM {table} WHERE k = $1"), wire.SYNC)
        session.until_ready()
    for _ in range(20):
        for n, session in enumerate(sessions):
            session.send(wire.bind("", "s", (str(n + 1),)), wire.execute(), wire.SYNC)
            assert session.results()[-1].rows == [(str(n).encode(), f"row {n + 1}".encode())]


def test_same_statement_text_with_other_settings(raw, table):
    """One text, two meanings: search_path, time zone and role belong to the session, not to a shared plan."""
    a, b = raw(), raw()
    for session, zone in ((a, "Asia/Tokyo"), (b, "UTC")):
        session.run(f"SET TimeZone = '{zone}'")
        session.send(wire.parse("s", f"SELECT timestamptz '2026-01-01 00:00:00+00'::text, v FROM {table} WHERE k = $1"), wire.SYNC)
        session.until_ready()
    for _ in range(10):
        for session, text in ((a, b"2026-01-01 09:00:00+09"), (b, b"2026-01-01 00:00:00+00")):
            session.send(wire.bind("", "s", ("1",)), wire.execute(), wire.SYNC)
            assert session.results()[-1].rows[0][0] == text


def test_hand_over_between_64_clients_gives_everybody_his_own_replies(cluster, table):
    """Random statements, errors, aborts and settings of 64 clients; each reply carries its client's own token."""
    faults: list[str] = []
    done = [0] * 64

    def client(number: int) -> None:
        numbers = random.Random(number)
        try:
            with wire.connect(cluster, timeout=60) as session:
                session.run(f"SET app.tenant = 'tenant {number}'")
                for turn in range(60):
                    check_turn(session, numbers, table, number, f"{number}/{turn}")
                    done[number] += 1
        except Exception as error:  # noqa: BLE001: every failure of a thread is reported
            faults.append(f"client {number}: {type(error).__name__} {error}")

    threads = [threading.Thread(target=client, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert done == [60] * 64


def check_turn(session: wire.Wire, numbers: random.Random, table: str, number: int, token: str) -> None:
    key = numbers.randrange(1, 201)
    kind = numbers.randrange(6)
    row = (token.encode(), f"row {key}".encode(), f"tenant {number}".encode())
    select = f"SELECT $1::text, v, current_setting('app.tenant') FROM {table} WHERE k = $2"
    if kind == 0:
        session.send(wire.query(select.replace("$1::text", f"'{token}'").replace("$2", str(key))))
        assert session.results()[-1].rows == [row]
    elif kind == 1:
        session.send(wire.extended(select, (token, str(key))) * 3, wire.SYNC)
        assert [r.rows for r in session.results()] == [[row]] * 3
    elif kind == 2:
        session.send(wire.extended("SELECT 1 / 0"), wire.extended(select, (token, str(key))), wire.SYNC)
        assert session.results()[-1].error["C"] == "22012"
    elif kind == 3:
        session.run("BEGIN")
        session.run(f"UPDATE {table} SET v = v WHERE k = {key}")
        assert session.value(f"SELECT '{token}' FROM {table} WHERE k = {key}") == token
        session.run(numbers.choice(("COMMIT", "ROLLBACK")))
    elif kind == 4:
        assert session.run(f"SELECT '{token}', count(*) FROM {table} GROUP BY 1").rows == [(token.encode(), b"200")]
    else:
        session.send(wire.parse("n", select, (25, 23)), wire.SYNC) if not hasattr(session, "named") else None
        if not hasattr(session, "named"):
            session.until_ready()
            session.named = True
        session.send(wire.bind("", "n", (token, struct.pack("!i", key)), (0, 1)), wire.execute(), wire.SYNC)
        assert session.results()[-1].rows == [row]
