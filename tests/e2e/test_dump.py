"""pg_dump: the schema comes out with logical tables and goes into another server."""

import re
import subprocess

import psycopg
import pytest

from support import cluster as clusters

SCRIPT = """
CREATE TYPE dump_mood AS ENUM ('sad', 'happy');
CREATE SEQUENCE dump_numbers START 100;
CREATE TABLE dump_customers (id int PRIMARY KEY, name text NOT NULL, mood dump_mood DEFAULT 'happy',
    n bigint DEFAULT nextval('dump_numbers'), CONSTRAINT dump_name CHECK (name <> ''));
CREATE TABLE dump_orders (customer int, id int, PRIMARY KEY (customer, id));
CREATE TABLE dump_colours (id serial PRIMARY KEY, name text UNIQUE);
CREATE INDEX dump_index ON dump_customers (lower(name));
CREATE FUNCTION dump_add(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
COMMENT ON TABLE dump_customers IS 'customers';
GRANT SELECT ON dump_customers TO PUBLIC;
"""
CLEAN = """
DROP VIEW dump_view; DROP TABLE dump_orders, dump_customers, dump_colours; DROP SEQUENCE dump_numbers; DROP TYPE dump_mood;
DROP FUNCTION dump_add(int, int);
"""


@pytest.fixture(scope="module")
def schema(cluster):
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        for statement in SCRIPT.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("SELECT create_distributed_table('dump_customers', 'id')")
        connection.execute("SELECT create_distributed_table('dump_orders', 'customer', colocate_with => 'dump_customers')")
        connection.execute("ALTER TABLE dump_orders ADD FOREIGN KEY (customer) REFERENCES dump_customers ON DELETE CASCADE")
        connection.execute("SELECT create_reference_table('dump_colours')")
        connection.execute("CREATE VIEW dump_view AS SELECT name FROM dump_colours WHERE id > 0")
        connection.execute("INSERT INTO dump_colours VALUES (1, 'red'), (2, 'blue')")
        connection.execute("INSERT INTO dump_customers (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    yield
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        for statement in CLEAN.split(";"):
            if statement.strip():
                connection.execute(statement)


def dump(cluster, *arguments: str) -> str:
    done = subprocess.run([str(clusters.PG_BIN / "pg_dump"), *arguments], env=cluster.environment(), capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_schema_has_logical_objects_only(cluster, schema):
    text = dump(cluster, "-s")
    for name in ("dump_customers", "dump_orders", "dump_colours"):
        assert len(re.findall(rf"CREATE TABLE public\.{name} ", text)) == 1
    assert "decan_shard" not in text
    assert not re.search(r"CREATE TABLE \S*dump_customers_\d", text)
    assert "CREATE SCHEMA decan" not in text


def test_schema_restores_into_a_plain_server(cluster, plain, schema):
    text = dump(cluster, "-s", "--no-owner", "-t", "public.dump_*", "-t", "public.dump_numbers")
    prepare = "CREATE TYPE dump_mood AS ENUM ('sad', 'happy');\n"
    with psycopg.connect(plain.dsn(), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"], input=prepare + text, env=plain.environment(),
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    with psycopg.connect(plain.dsn(), autocommit=True) as connection:
        connection.execute("INSERT INTO dump_customers (id, name) VALUES (1, 'a')")
        connection.execute("INSERT INTO dump_orders VALUES (1, 1)")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("INSERT INTO dump_orders VALUES (9, 1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO dump_customers (id, name) VALUES (1, 'a')")


def test_custom_format_schema_dump(cluster, schema, tmp_path):
    dump(cluster, "-s", "-Fc", "-f", str(tmp_path / "schema.dump"))
    listed = subprocess.run([str(clusters.PG_BIN / "pg_restore"), "-l", str(tmp_path / "schema.dump")], check=True,
                            capture_output=True, text=True).stdout
    assert "TABLE public dump_customers" in listed
