"""REGISTER, ALTER and UNREGISTER STORAGE UNIT, with real servers that were there before."""

import itertools
import threading
import time

import psycopg
import pytest
from support import cluster as clusters

pytestmark = pytest.mark.decan_only
NUMBERS = itertools.count(2)


@pytest.fixture
def home():
    """A cluster of the test's own: its units come and go."""
    with clusters.start_cluster(units=2) as started:
        yield started


@pytest.fixture
def server():
    """A server that is no unit yet."""
    with clusters.PlainServer(database="other") as started:
        yield started


@pytest.fixture
def sql(home):
    with psycopg.connect(home.dsn(), autocommit=True) as connection:
        yield connection


def register(sql, server, name: str | None = None, **overrides) -> str:
    name = name or f"late_{next(NUMBERS)}"
    values = {"HOST": server.host, "PORT": server.port, "DB": "decan", "USER": "postgres",
              "PASSWORD": server.superuser_password, **overrides}
    text = ", ".join(f"{key}={value}" if isinstance(value, int) else f"{key}='{value}'"
                     for key, value in values.items())
    sql.execute(f"REGISTER STORAGE UNIT {name} ({text})")
    return name


def direct(server, database: str = "decan"):
    return psycopg.connect(server.superuser_dsn(database), autocommit=True)


def units(sql) -> list[str]:
    return [row[0] for row in sql.execute("SHOW STORAGE UNITS").fetchall()]


@pytest.fixture
def schema(sql):
    """Something of every kind, some of it on the home unit only."""
    for statement in """
        CREATE ROLE late_group; CREATE ROLE late_member LOGIN PASSWORD 'secret'; GRANT late_group TO late_member;
        ALTER ROLE late_member SET work_mem = '5MB';
        CREATE SCHEMA sales; COMMENT ON SCHEMA sales IS 'where money is';
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE TYPE sales.mood AS ENUM ('sad', 'happy'); CREATE DOMAIN sales.positive AS int CHECK (VALUE > 0);
        CREATE TYPE sales.pair AS (a int, b text);
        CREATE FUNCTION sales.twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
        COMMENT ON FUNCTION sales.twice(int) IS 'two times';
        CREATE FUNCTION sales.same(sales.pair, sales.pair) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1.a = $2.a';
        CREATE OPERATOR sales.=== (LEFTARG = sales.pair, RIGHTARG = sales.pair, FUNCTION = sales.same);
        CREATE FUNCTION sales.pair_of(int) RETURNS sales.pair IMMUTABLE LANGUAGE sql AS 'SELECT ROW($1, NULL)::sales.pair';
        CREATE CAST (int AS sales.pair) WITH FUNCTION sales.pair_of(int);
        CREATE TABLE sales.country (code text PRIMARY KEY, name text NOT NULL, mood sales.mood, UNIQUE (name));
        COMMENT ON TABLE sales.country IS 'all of them';
        INSERT INTO sales.country SELECT 'c' || n, 'name ' || n, 'happy' FROM generate_series(1, 50) n;
        SELECT create_reference_table('sales.country');
        CREATE TABLE sales.customer (id bigserial, region int NOT NULL, country text REFERENCES sales.country,
            size sales.positive, PRIMARY KEY (region, id), CHECK (region > 0));
        CREATE INDEX customer_country ON sales.customer (country);
        SELECT create_distributed_table('sales.customer', 'region');
        CREATE TABLE sales.invoice (region int NOT NULL, id bigint NOT NULL, amount numeric, PRIMARY KEY (region, id),
            FOREIGN KEY (region, id) REFERENCES sales.customer);
        SELECT create_distributed_table('sales.invoice', 'region', colocate_with => 'sales.customer');
        CREATE VIEW sales.happy AS SELECT code, name FROM sales.country WHERE mood = 'happy';
        CREATE TABLE sales.alone (k int PRIMARY KEY, v text); COMMENT ON TABLE sales.alone IS 'only here';
        CREATE VIEW sales.lonely AS SELECT v FROM sales.alone;
        CREATE FUNCTION sales.of_alone(sales.alone) RETURNS text LANGUAGE sql AS 'SELECT $1.v';
        COMMENT ON FUNCTION sales.of_alone(sales.alone) IS 'of one'; REVOKE ALL ON FUNCTION sales.of_alone FROM PUBLIC;
        GRANT USAGE ON SCHEMA sales TO late_group; GRANT SELECT ON sales.country, sales.customer TO late_group;
        ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT SELECT ON TABLES TO late_group;
        """.split(";\n"):
        for part in statement.split("; "):
            if part.strip(" \n;"):
                sql.execute(part)
    for n in range(1, 101):
        sql.execute("INSERT INTO sales.customer (region, country, size) VALUES (%s, %s, %s)",
                    (1 + n % 20, f"c{1 + n % 50}", n))


def catalog_of(connection) -> dict:
    """What pg_catalog says of the user's schema, in terms that are the same on every unit."""
    queries = {
        "relations": """SELECT c.relname, c.relkind, obj_description(c.oid, 'pg_class'), c.relacl::text,
                               pg_get_userbyid(c.relowner)
                        FROM pg_class c WHERE relnamespace = 'sales'::regnamespace""",
        "columns": """SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                             pg_get_expr(d.adbin, d.adrelid)
                      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
                      WHERE c.relnamespace = 'sales'::regnamespace AND a.attnum > 0""",
        "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
                          WHERE connamespace = 'sales'::regnamespace AND conparentid = 0""",
        "indexes": """SELECT pg_get_indexdef(i.indexrelid), i.indisvalid FROM pg_index i JOIN pg_class c
                      ON c.oid = i.indrelid WHERE c.relnamespace = 'sales'::regnamespace""",
        "functions": """SELECT proname, pg_get_function_identity_arguments(oid), prosrc, obj_description(oid, 'pg_proc')
                        FROM pg_proc WHERE pronamespace = 'sales'::regnamespace""",
        "types": "SELECT typname, typtype FROM pg_type WHERE typnamespace = 'sales'::regnamespace",
        "operators": "SELECT oprname FROM pg_operator WHERE oprnamespace = 'sales'::regnamespace",
        "casts": "SELECT castsource::regtype::text, casttarget::regtype::text FROM pg_cast WHERE oid >= 16384",
        "extensions": "SELECT extname, extnamespace::regnamespace::text FROM pg_extension",
        "defaults": "SELECT defaclobjtype, defaclacl::text FROM pg_default_acl",
        "schema": "SELECT nspacl::text, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'sales'",
        "placement": "SELECT relid::regclass::text, id, placement, group_id, leaf_prefix FROM decan.relation",
        "buckets": "SELECT b::text FROM decan.bucket b",
        "epoch": "SELECT epoch FROM decan.map",
    }
    return {name: sorted(map(str, connection.execute(query).fetchall())) for name, query in queries.items()}


def unit_dsn(home, ordinal: int) -> str:
    import json
    import sqlite3
    path = next(home.directory.rglob("meta*.db"), None) or next(home.directory.rglob("*.sqlite"))
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
        for (value,) in store.execute("SELECT value FROM entry WHERE key LIKE 'units/%'"):
            unit = json.loads(value)
            if unit["ordinal"] == ordinal:
                return (f"host={unit['host']} port={unit['port']} user={unit['service_user']} "
                        f"password={unit['service_password']} dbname=decan")
    raise LookupError(ordinal)


def test_a_late_unit_has_what_the_others_have(home, server, sql, schema):
    name = register(sql, server)
    assert name in units(sql)
    with direct(server) as late, psycopg.connect(unit_dsn(home, 1), autocommit=True) as early:
        assert catalog_of(late) == catalog_of(early)
        assert late.execute("SELECT count(*) FROM sales.country").fetchone() == (50,)
        assert late.execute("SELECT count(*) FROM sales.customer").fetchone() == (0,)
        role = late.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'late_member'").fetchone()
        assert role == early.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'late_member'").fetchone()
        assert late.execute("SELECT pg_has_role('late_member', 'late_group', 'USAGE')").fetchone() == (True,)

    # DDL and writes reach it, as they do the others.
    sql.execute("ALTER TABLE sales.country ADD COLUMN extra int")
    sql.execute("CREATE TYPE sales.size AS ENUM ('s', 'm')")
    sql.execute("INSERT INTO sales.country (code, name) VALUES ('new', 'new one')")
    sql.execute("UPDATE sales.country SET extra = 7 WHERE code = 'new'")
    with direct(server) as late, psycopg.connect(unit_dsn(home, 1), autocommit=True) as early:
        assert late.execute("SELECT extra FROM sales.country WHERE code = 'new'").fetchone() == (7,)
        assert catalog_of(late) == catalog_of(early)

    # Buckets may be placed there, and joins are exact.
    sql.execute(f"CREATE SHARDING TABLE RULE t_late (STORAGE_UNITS(ds_0, ds_1, {name}), SHARDING_COLUMN=k, "
                "TYPE(NAME='hash_mod', PROPERTIES('sharding-count'='12')))")
    sql.execute("CREATE TABLE t_late (k int PRIMARY KEY, country text REFERENCES sales.country, n serial8)")
    rows = [(n, f"c{1 + n % 50}") for n in range(600)]
    with sql.cursor() as cursor:
        cursor.executemany("INSERT INTO t_late (k, country) VALUES (%s, %s)", rows)
    with direct(server) as late:
        there = late.execute("SELECT count(*), min(n) FROM t_late").fetchone()
        assert 0 < there[0] < 600 and there[1] > 2 ** 48
    names = {f"c{n}": f"name {n}" for n in range(1, 51)}
    got = sql.execute("SELECT t.k, c.name FROM t_late t JOIN sales.country c ON c.code = t.country ORDER BY 1").fetchall()
    assert got == [(k, names[country]) for k, country in rows]
    assert len(set(sql.execute("SELECT n FROM t_late").fetchall())) == 600
    counts = sql.execute("SELECT c.code, count(*) FROM t_late t JOIN sales.country c ON c.code = t.country "
                         "GROUP BY 1 ORDER BY 1").fetchall()
    assert counts == sorted((code, 12) for code in names)

    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="can not be unregistered") as refused:
        sql.execute(f"UNREGISTER STORAGE UNIT {name}")
    assert "t_late" in refused.value.diag.message_detail
    sql.execute("DROP TABLE t_late")
    sql.execute("DROP SHARDING TABLE RULE IF EXISTS t_late")
    sql.execute(f"UNREGISTER STORAGE UNIT {name}")
    assert name not in units(sql)
    sql.execute("UPDATE sales.country SET extra = 8 WHERE code = 'new'")   # on all that are left
    with direct(server) as late:
        assert late.execute("SELECT count(*) FROM pg_namespace WHERE nspname IN ('decan', 'decan_shard', 'sales')"
                            ).fetchone() == (0,)
        late.execute("CREATE TABLE usable (k int)")
        late.execute("INSERT INTO usable VALUES (1)")
        late.execute("DROP TABLE usable")
    again = register(sql, server)
    with direct(server) as late:
        assert late.execute("SELECT extra FROM sales.country WHERE code = 'new'").fetchone() == (8,)
    sql.execute(f"UNREGISTER STORAGE UNIT {again}")


def test_registering_refuses_what_can_not_be_a_unit(home, server, sql):
    before = units(sql)
    with pytest.raises(psycopg.errors.InvalidPassword):
        register(sql, server, PASSWORD="wrong")
    with pytest.raises(psycopg.OperationalError, match="bad") as unreachable:
        register(sql, server, "bad", PORT=clusters.free_port())
    assert unreachable.value.sqlstate == "08006"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="other"):
        register(sql, server, DB="other")
    with pytest.raises(psycopg.errors.ActiveSqlTransaction), sql.transaction():
        register(sql, server)
    name = register(sql, server)
    with pytest.raises(psycopg.errors.DuplicateObject, match="already") as twice:
        register(sql, server)
    assert name in str(twice.value)
    with clusters.start_cluster(units=1) as stranger, psycopg.connect(stranger.dsn(), autocommit=True) as other, \
            pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="another Decan cluster"):
        register(other, server)
    sql.execute(f"UNREGISTER STORAGE UNIT {name}")
    assert units(sql) == before


def test_a_clash_of_names_is_refused_whole(server, sql):
    sql.execute("CREATE TABLE clash_1 (k int)")
    sql.execute("CREATE FUNCTION clash_2(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    with direct(server, "postgres") as late:
        late.execute("CREATE DATABASE decan")
    with direct(server) as late:
        late.execute("CREATE VIEW clash_1 AS SELECT 1 AS k")
        late.execute("CREATE FUNCTION clash_2(int) RETURNS int LANGUAGE sql AS 'SELECT 2'")
    with pytest.raises(psycopg.errors.DuplicateObject) as refused:
        register(sql, server)
    assert "clash_1" in refused.value.diag.message_detail and "clash_2" in refused.value.diag.message_detail
    assert refused.value.diag.message_hint
    with direct(server) as late:
        assert late.execute("SELECT clash_2(1), k FROM clash_1").fetchone() == (2, 1)
        assert late.execute("SELECT to_regnamespace('decan')").fetchone() == (None,)


def test_a_failing_definition_is_named_and_nothing_stays(server, sql):
    """An object that the server can not have: here its name is taken in a catalog that the check does not know."""
    sql.execute("CREATE TABLE named (k int PRIMARY KEY)")
    sql.execute("SELECT create_reference_table('named')")
    with direct(server, "postgres") as late:
        late.execute("CREATE DATABASE decan")
    with direct(server) as late:
        late.execute("CREATE TABLE innocent (k int)")
        late.execute("CREATE INDEX named_pkey ON innocent (k)")
    with pytest.raises(psycopg.errors.DuplicateTable, match="named_pkey") as refused:
        register(sql, server)
    assert "ADD CONSTRAINT named_pkey" in refused.value.diag.message_detail
    with direct(server) as late:
        assert late.execute("SELECT to_regclass('named'), to_regnamespace('decan')").fetchone() == (None, None)
        late.execute("DROP TABLE innocent")
    assert register(sql, server) in units(sql)


def test_leftovers_of_a_killed_try_are_cleared(home, server, sql, schema):
    """As if the compute node had died between the new unit's commit and the metadata store."""
    name = register(sql, server)
    home_store = next(home.directory.rglob("meta*.db"), None) or next(home.directory.rglob("*.sqlite"))
    import sqlite3
    with sqlite3.connect(home_store) as store:
        store.execute("DELETE FROM entry WHERE key = ?", (f"units/{name}",))
    clusters.kill(home.compute_pid())
    time.sleep(1)
    home.wait_ready()
    with psycopg.connect(home.dsn(), autocommit=True) as again:
        assert name not in units(again)
        again.execute("UPDATE sales.country SET name = 'changed meanwhile' WHERE code = 'c1'")
        assert register(again, server, name) == name
        with direct(server) as late:
            assert late.execute("SELECT name FROM sales.country WHERE code = 'c1'").fetchone() == ("changed meanwhile",)


def test_altering_checks_that_it_is_the_same_server(server, sql):
    name = register(sql, server)
    with clusters.PlainServer() as other:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="is not the one of storage unit") as refused:
            sql.execute(f"ALTER STORAGE UNIT {name} (HOST='{other.host}', PORT={other.port}, DB='decan', "
                        f"USER='postgres', PASSWORD='{other.superuser_password}')")
        assert "system identifier" in refused.value.diag.message_detail and refused.value.diag.message_hint
    sql.execute(f"ALTER STORAGE UNIT {name} (HOST='localhost', PORT={server.port}, DB='decan', USER='postgres', "
                f"PASSWORD='{server.superuser_password}')")
    row = next(row for row in sql.execute("SHOW STORAGE UNITS").fetchall() if row[0] == name)
    assert row[2] == "localhost"
    sql.execute("CREATE TABLE moved (k int PRIMARY KEY)")
    sql.execute("SELECT create_reference_table('moved')")
    sql.execute("INSERT INTO moved VALUES (1)")
    with direct(server) as late:
        assert late.execute("SELECT k FROM moved").fetchone() == (1,)


def test_writes_and_ddl_go_on_while_a_unit_is_registered(home, server, sql):
    """None is lost on the new unit, and none fails."""
    sql.execute("CREATE TABLE busy (k int PRIMARY KEY, v text)")
    sql.execute("SELECT create_reference_table('busy')")
    stop, failures, written = threading.Event(), [], []

    def work(start: int) -> None:
        with psycopg.connect(home.dsn(), autocommit=True) as connection:
            for k in itertools.count(start, 4):
                if stop.is_set():
                    return
                try:
                    connection.execute("INSERT INTO busy VALUES (%s, %s)", (k, "x"))
                    written.append(k)
                    if k % 40 == start:
                        connection.execute(f"CREATE TYPE busy_{k} AS (a int)")
                except psycopg.Error as error:
                    failures.append(error)
                    return

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    time.sleep(0.5)
    name = register(sql, server)
    time.sleep(0.5)
    stop.set()
    for worker in workers:
        worker.join()
    assert not failures
    with direct(server) as late:
        assert [row[0] for row in late.execute("SELECT k FROM busy ORDER BY 1")] == sorted(written)
        there = [row[0] for row in late.execute("SELECT typname FROM pg_type WHERE typname ~ '^busy_' ORDER BY 1")]
    types = [row[0] for row in sql.execute("SELECT typname FROM pg_type WHERE typname ~ '^busy_' ORDER BY 1")]
    assert there == types and types


def test_the_second_unit_of_a_cluster_of_one(server):
    with clusters.start_cluster(units=1) as small, psycopg.connect(small.dsn(), autocommit=True) as sql:
        sql.execute("CREATE TABLE t (k int PRIMARY KEY, n bigserial)")
        sql.execute("SELECT create_distributed_table('t', 'k')")
        sql.execute("INSERT INTO t (k) VALUES (1), (2)")
        name = register(sql, server)
        sql.execute("INSERT INTO t (k) VALUES (3)")
        assert sql.execute("SELECT n FROM t ORDER BY k").fetchall() == [(1,), (2,), (3,)]
        sql.execute("CREATE TABLE u (k int PRIMARY KEY, n bigserial)")
        sql.execute("SELECT create_distributed_table('u', 'k', colocate_with => 'none')")
        with sql.cursor() as cursor:
            cursor.executemany("INSERT INTO u (k) VALUES (%s)", [(k,) for k in range(100)])
        assert len(set(sql.execute("SELECT n FROM u").fetchall())) == 100
        with direct(server) as late:
            assert late.execute("SELECT count(*) FROM u").fetchone()[0] > 0
        assert name in units(sql)


@pytest.fixture
def old_server(server):
    """A server with a life of its own: two tables that refer to each other's keys, and what they need."""
    with direct(server, "postgres") as late:
        late.execute("CREATE ROLE old_owner LOGIN PASSWORD 'old secret'")
        late.execute("CREATE DATABASE decan")
    with direct(server) as late:
        late.execute("""
            CREATE SCHEMA old; GRANT USAGE ON SCHEMA old TO PUBLIC;
            CREATE TYPE old.state AS ENUM ('open', 'done');
            CREATE TABLE old.task (id serial PRIMARY KEY, title text NOT NULL, state old.state DEFAULT 'open');
            CREATE TABLE old.note (id int GENERATED ALWAYS AS IDENTITY, task int NOT NULL REFERENCES old.task ON DELETE CASCADE,
                text text);
            CREATE INDEX note_task ON old.note (task);
            CREATE VIEW old.todo AS SELECT id, title FROM old.task WHERE state = 'open';
            CREATE FUNCTION old.shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.title := upper(NEW.title); RETURN NEW; END';
            CREATE TRIGGER shout BEFORE INSERT ON old.task FOR EACH ROW EXECUTE FUNCTION old.shout();
            CREATE FUNCTION old.count_tasks() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM old.task';
            CREATE TABLE old.owned (k int PRIMARY KEY); ALTER TABLE old.owned OWNER TO old_owner;
            COMMENT ON TABLE old.task IS 'to do';
            INSERT INTO old.task (title, state) VALUES ('a', 'open'), ('b', 'done'), ('c', 'open');
            INSERT INTO old.note (task, text) VALUES (1, 'one'), (3, 'three'), (3, 'more');
            INSERT INTO old.owned VALUES (1)""")
    return server


def test_tables_that_a_server_came_with_are_single_tables(home, old_server, sql):
    sql.execute("CREATE TABLE here (k int PRIMARY KEY)")
    sql.execute("CREATE TABLE spread (k int PRIMARY KEY)")
    sql.execute("SELECT create_distributed_table('spread', 'k')")
    notices = []
    sql.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    name = register(sql, old_server)
    assert any(text.startswith("3 tables of storage unit") for text in notices)
    singles = dict(sql.execute("SHOW SINGLE TABLES").fetchall())
    assert singles["old.task"] == singles["old.note"] == name and singles["here"] == "ds_0"
    assert {"task", "note", "todo"} <= {row[0] for row in sql.execute("SHOW LOGICAL TABLES").fetchall()}

    # Read and written there, in transactions, by COPY and by sequences.
    assert sql.execute("SELECT id, title, state FROM old.task ORDER BY id").fetchall() == [
        (1, "A", "open"), (2, "B", "done"), (3, "C", "open")]
    assert sql.execute("SELECT t.title, n.text FROM old.task t JOIN old.note n ON n.task = t.id ORDER BY n.id").fetchall() == [
        ("A", "one"), ("C", "three"), ("C", "more")]
    assert sql.execute("SELECT title FROM old.todo ORDER BY 1").fetchall() == [("A",), ("C",)]
    assert sql.execute("INSERT INTO old.task (title) VALUES ('d') RETURNING id, title").fetchone() == (4, "D")
    assert sql.execute("SELECT nextval('old.task_id_seq')").fetchone() == (5,)
    assert sql.execute("INSERT INTO old.task (title) VALUES (%s) RETURNING id", ("f",)).fetchone() == (6,)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        sql.execute("INSERT INTO old.note (task, text) VALUES (99, 'none')")
    with sql.cursor().copy("COPY old.note (task, text) FROM STDIN") as copy:
        copy.write_row((6, "copied"))
    with sql.cursor().copy("COPY (SELECT text FROM old.note WHERE task = 6) TO STDOUT") as copy:
        assert list(copy.rows()) == [("copied",)]
    with pytest.raises(ZeroDivisionError), sql.transaction():
        sql.execute("DELETE FROM old.task")
        sql.execute("INSERT INTO here VALUES (1)")
        raise ZeroDivisionError
    with sql.transaction():   # over two units
        sql.execute("UPDATE old.task SET state = 'done' WHERE id = 1")
        sql.execute("INSERT INTO here VALUES (1)")
    assert sql.execute("SELECT count(*) FROM old.task WHERE state = 'done'").fetchone() == (2,)
    for join in ("SELECT count(*) FROM old.task, here", "SELECT count(*) FROM old.task t JOIN spread s ON s.k = t.id",
                 "SELECT old.count_tasks()", "DO $$ BEGIN DELETE FROM old.task; END $$",
                 "DO $$ BEGIN EXECUTE 'DELETE FROM old.' || 'task'; END $$"):
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            sql.execute(join)
    with psycopg.connect(home.dsn(user="old_owner", password="old secret"), autocommit=True) as owner:
        assert owner.execute("SELECT k FROM old.owned").fetchall() == [(1,)]

    # DDL keeps both sides alike; home has no rows.
    for statement in ("ALTER TABLE old.task ADD COLUMN due date NOT NULL DEFAULT '2026-01-01'",
                      "ALTER TABLE old.task ADD COLUMN rank bigserial", "CREATE UNIQUE INDEX task_title ON old.task (title)",
                      "COMMENT ON COLUMN old.task.due IS 'when'", "GRANT SELECT ON old.task TO PUBLIC",
                      "ALTER TABLE old.note RENAME TO remark", "CREATE VIEW old.short AS SELECT title FROM old.task",
                      "CREATE INDEX CONCURRENTLY task_due ON old.task (due)", "ALTER TYPE old.state ADD VALUE 'late'",
                      "TRUNCATE old.remark", "ALTER TABLE old.remark SET SCHEMA public"):
        sql.execute(statement)
    assert sql.execute("SELECT count(*) FROM old.short").fetchone() == (5,)
    assert sql.execute("SELECT max(rank) FROM old.task").fetchone() == (5,)
    assert sql.execute("INSERT INTO old.task (title) VALUES ('g') RETURNING rank").fetchone() == (6,)
    assert sql.execute("SELECT count(*) FROM remark").fetchone() == (0,)
    with pytest.raises(psycopg.errors.NotNullViolation):
        sql.execute("ALTER TABLE old.task ALTER COLUMN state SET NOT NULL, ADD COLUMN nothing int NOT NULL")
    with direct(old_server) as late, psycopg.connect(unit_dsn(home, 0), autocommit=True) as first:
        query = """SELECT c.relname, c.relkind, c.relacl::text, pg_get_userbyid(c.relowner), obj_description(c.oid, 'pg_class'),
                          (SELECT string_agg(concat(attname, format_type(atttypid, atttypmod), attnotnull, col_description(c.oid, attnum)),
                                             ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)
                   FROM pg_class c WHERE relnamespace = 'old'::regnamespace ORDER BY 1"""
        assert late.execute(query).fetchall() == first.execute(query).fetchall()
        assert first.execute("SELECT count(*) FROM old.task").fetchone() == (0,)
        assert late.execute("SELECT count(*) FROM old.task").fetchone() == (6,)
    for call in ("create_reference_table('old.task')", "create_distributed_table('old.task', 'id')",
                 "undistribute_table('old.task')"):
        with pytest.raises(psycopg.errors.FeatureNotSupported):   # a view reads it, and a foreign key
            sql.execute(f"SELECT {call}")
    sql.execute("DROP INDEX old.task_title")
    sql.execute("DROP TABLE remark")

    # What is made there directly is loaded when it is asked for.
    with direct(old_server) as late:
        late.execute("CREATE TABLE old.fresh (k int PRIMARY KEY, task int REFERENCES old.task)")
        late.execute("INSERT INTO old.fresh VALUES (1, 1)")
    with pytest.raises(psycopg.errors.UndefinedTable):
        sql.execute("SELECT * FROM old.fresh")
    sql.execute(f"LOAD SINGLE TABLE {name}.*")
    assert sql.execute("SELECT * FROM old.fresh").fetchall() == [(1, 1)]

    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as refused:
        sql.execute(f"UNREGISTER STORAGE UNIT {name}")
    assert "single table" in refused.value.diag.message_detail
    sql.execute(f"UNREGISTER STORAGE UNIT {name} IGNORE SINGLE TABLES")
    with pytest.raises(psycopg.errors.UndefinedTable):
        sql.execute("SELECT * FROM old.task")
    with direct(old_server) as late:
        assert late.execute("SELECT count(*) FROM old.task").fetchone() == (6,)
        assert late.execute("SELECT to_regnamespace('decan')").fetchone() == (None,)
        assert late.execute("INSERT INTO old.task (title) VALUES ('plain') RETURNING title").fetchone() == ("PLAIN",)


def test_a_promoted_standby_takes_over(server, sql):
    name = register(sql, server)
    sql.execute("CREATE TABLE kept (k int PRIMARY KEY, v text)")
    sql.execute("SELECT create_distributed_table('kept', 'k')")
    sql.execute("INSERT INTO kept VALUES " + ", ".join(f"({k}, 'row {k}')" for k in range(100)))
    standby = clusters.PlainServer.standby_of(server)
    with standby:
        address = f"HOST='{standby.host}', PORT={standby.port}, DB='decan', USER='postgres', PASSWORD='{standby.superuser_password}'"
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            sql.execute(f"ALTER STORAGE UNIT {name} ({address})")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:   # all that the primary has
            with direct(server) as primary, direct(standby) as follower:
                end = primary.execute("SELECT pg_current_wal_lsn()").fetchone()[0]
                if follower.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [end]).fetchone()[0]:
                    break
            time.sleep(0.1)
        server.stop()
        with pytest.raises(psycopg.Error):
            sql.execute("SELECT count(*) FROM kept")
        standby.promote()
        sql.execute(f"ALTER STORAGE UNIT {name} ({address})")
        assert sql.execute("SELECT count(*) FROM kept").fetchone() == (100,)
        sql.execute("UPDATE kept SET v = 'new'")
        assert sql.execute("SELECT count(*) FROM kept WHERE v = 'new'").fetchone() == (100,)


def test_tables_that_came_with_a_server_are_placed(home, server, sql):
    with direct(server, "postgres") as late:
        late.execute("CREATE DATABASE decan")
    with direct(server) as late:
        for statement in """
            CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := upper(NEW.name); RETURN NEW; END';
            CREATE TABLE kind (code text PRIMARY KEY, label text NOT NULL);
            INSERT INTO kind SELECT 'k' || n, 'label ' || n FROM generate_series(1, 20) n;
            CREATE TABLE client (id bigserial PRIMARY KEY, kind text NOT NULL REFERENCES kind, name text NOT NULL,
                size int GENERATED ALWAYS AS (length(name)) STORED);
            INSERT INTO client (kind, name) SELECT 'k' || 1 + n % 20, 'Client ' || n FROM generate_series(1, 1000) n;
            CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON client FOR EACH ROW EXECUTE FUNCTION shout();
            CREATE INDEX client_name ON client (name); COMMENT ON TABLE client IS 'all of them'; GRANT SELECT ON client TO PUBLIC;
            CREATE TABLE secret (id bigint GENERATED ALWAYS AS IDENTITY, k int, v text);
            INSERT INTO secret (k, v) SELECT n, 'v' || n FROM generate_series(1, 100) n;
            ALTER TABLE secret ENABLE ROW LEVEL SECURITY; ALTER TABLE secret FORCE ROW LEVEL SECURITY;
            CREATE POLICY odd ON secret USING (k % 2 = 1);
            CREATE SEQUENCE shared; CREATE TABLE numbered (k int PRIMARY KEY, n bigint DEFAULT nextval('shared'));
            CREATE TABLE seen AS SELECT 1 AS k; CREATE VIEW v_seen AS SELECT * FROM seen
        """.split(";\n"):
            late.execute(statement)
    name = register(sql, server)

    for call, reason in (("create_distributed_table('client', 'id')", "is not on every unit"),
                         ("undistribute_table('client')", "its other table stays"),
                         ("create_reference_table('kind')", "its other table stays"),
                         ("create_distributed_table('numbered', 'k')", "takes values from sequence public.shared"),
                         ("create_distributed_table('seen', 'k')", "view public.v_seen depends on table public.seen")):
        with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
            sql.execute(f"SELECT {call}")
        assert reason in str(refused.value), call
    sql.execute("ALTER TABLE client DROP CONSTRAINT client_kind_fkey")
    sql.execute("ALTER SEQUENCE shared OWNED BY numbered.n")

    with pytest.raises(ZeroDivisionError), sql.transaction():
        sql.execute("SELECT create_distributed_table('client', 'id')")
        assert sql.execute("SELECT count(*) FROM client").fetchone() == (1000,)
        raise ZeroDivisionError
    with direct(server) as late:
        assert late.execute("SELECT count(*) FROM client").fetchone() == (1000,)

    sql.execute("SELECT create_reference_table('kind')")
    sql.execute("CREATE SHARDING TABLE RULE client (STORAGE_UNITS(ds_0, ds_1), SHARDING_COLUMN=id, TYPE(NAME='hash_mod', "
                "PROPERTIES('sharding-count'='8')))")
    sql.execute("ALTER TABLE client ADD CONSTRAINT client_kind_fkey FOREIGN KEY (kind) REFERENCES kind")
    sql.execute("SELECT create_distributed_table('secret', 'k')")
    sql.execute("SELECT undistribute_table('numbered')")   # to the home unit

    assert sql.execute("SELECT count(*), sum(size) FROM client").fetchone() == (1000, 9893)
    assert sql.execute("SELECT name FROM client WHERE id = 7").fetchone() == ("Client 7",)   # no trigger has run
    assert sql.execute("SELECT nextval('client_id_seq')").fetchone() == (1001,)
    assert sql.execute("INSERT INTO client (id, kind, name) VALUES (1001, 'k1', 'new') RETURNING name, size").fetchone() == ("NEW", 3)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        sql.execute("INSERT INTO client (id, kind, name) VALUES (1002, 'none', 'new')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql.execute("INSERT INTO client (id, kind, name) VALUES (7, 'k1', 'again')")
    assert sql.execute("SELECT obj_description('client'::regclass), has_table_privilege('public', 'client', 'SELECT')").fetchone() == (
        "all of them", True)
    assert sql.execute("SELECT count(*) FROM kind JOIN client ON code = kind").fetchone() == (1001,)
    assert sql.execute("SELECT count(*) FROM secret").fetchone() == (50,)    # the policy
    sql.execute("ALTER TABLE secret NO FORCE ROW LEVEL SECURITY")
    assert sql.execute("SELECT count(*), max(id) FROM secret").fetchone() == (100, 100)
    assert sql.execute("INSERT INTO secret (k) VALUES (101) RETURNING id").fetchone()[0] > 100
    assert sql.execute("INSERT INTO numbered VALUES (1) RETURNING n").fetchone() == (1,)
    with direct(server) as late, psycopg.connect(unit_dsn(home, 0), autocommit=True) as first:
        assert late.execute("SELECT count(*) FROM kind").fetchone() == first.execute("SELECT count(*) FROM kind").fetchone() == (20,)
        assert late.execute("SELECT count(*) FROM client").fetchone() == (0,)
        assert 300 < first.execute("SELECT count(*) FROM client").fetchone()[0] < 700
        assert 10 < late.execute("SELECT count(*) FROM secret").fetchone()[0] < 60
        assert late.execute("SELECT to_regclass('numbered'), to_regclass('shared')").fetchone() == (None, None)
        assert first.execute("SELECT count(*) FROM numbered").fetchone() == (1,)
        assert first.execute("SELECT count(*) FROM decan.attached").fetchone() == (1,)   # seen
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        sql.execute(f"UNREGISTER STORAGE UNIT {name}")


def test_tables_that_can_not_be_taken_over_leave_no_unit(server, sql):
    with direct(server, "postgres") as late:
        late.execute("CREATE DATABASE decan")
    with direct(server) as late:
        late.execute("CREATE TABLE fine (k int)")
        late.execute("CREATE TABLE bad (k int, CONSTRAINT wrong CHECK (k > 0))")
        late.execute("CREATE INDEX taken ON fine (k)")
    sql.execute("CREATE TABLE ours (k int)")
    sql.execute("CREATE INDEX taken ON ours (k)")
    before = units(sql)
    with pytest.raises(psycopg.errors.DuplicateTable, match="taken"):
        register(sql, server)
    assert units(sql) == before
    assert sql.execute("SELECT to_regclass('fine'), to_regclass('bad')").fetchone() == (None, None)
    with direct(server) as late:
        assert late.execute("SELECT to_regnamespace('decan'), to_regclass('fine') IS NOT NULL").fetchone() == (None, True)
