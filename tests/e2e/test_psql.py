"""psql: scripts, the backslash commands, \\copy, cancel with Ctrl-C."""

import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest


@pytest.fixture(scope="module")
def schema(cluster):
    """Tables, an index, a view, a function: what the backslash commands list."""
    psql(cluster, r"""
        CREATE TABLE shop_orders (customer int, id int, note text, PRIMARY KEY (customer, id));
        SELECT create_distributed_table('shop_orders', 'customer');
        CREATE TABLE shop_colours (id int PRIMARY KEY, name text UNIQUE);
        SELECT create_reference_table('shop_colours');
        CREATE TABLE shop_plain (id serial PRIMARY KEY, colour int REFERENCES shop_colours);
        CREATE INDEX shop_note ON shop_orders (note);
        CREATE VIEW shop_names AS SELECT name FROM shop_colours;
        CREATE FUNCTION shop_add(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
        COMMENT ON TABLE shop_orders IS 'what was ordered';
        INSERT INTO shop_orders VALUES (1, 1, 'a'), (1, 2, 'b'), (1, 3, 'c'), (1, 4, 'd'), (1, 5, 'e');
        INSERT INTO shop_orders VALUES (2, 1, 'two'), (3, 1, 'three'), (4, 1, NULL);
    """)
    yield
    psql(cluster, """
        DROP VIEW shop_names; DROP TABLE shop_plain, shop_colours, shop_orders;
        DROP FUNCTION shop_add(int, int);
    """)


def psql(cluster, script: str, *arguments: str, check: bool = True, **environment: str) -> str:
    done = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", "-q", *arguments], input=script, text=True,
                          capture_output=True, timeout=60, env=cluster.environment(**environment), check=False)
    if check:
        assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def assert_logical(output: str) -> None:
    """Nothing of Decan's own shows."""
    assert "decan_shard" not in output
    assert not re.search(r"\bshop_orders_\d+", output), output
    assert "pg_toast" not in output


def test_d_lists_logical_relations_only(cluster, schema):
    output = psql(cluster, r"\d")
    for name in ("shop_orders", "shop_colours", "shop_plain", "shop_plain_id_seq", "shop_names"):
        assert name in output
    assert_logical(output)


def test_dt_plus_shows_tables_with_description(cluster, schema):
    output = psql(cluster, r"\dt+")
    assert "what was ordered" in output
    assert output.count("shop_orders") == 1
    assert_logical(output)


@pytest.mark.parametrize("command", [r"\dn", r"\di+", r"\dv", r"\ds", r"\dT", r"\dp", r"\dm", r"\dE", r"\ddp", r"\dx",
                                     r"\dP", r"\d+ shop_colours", r"\d shop_plain", r"\dt *.shop*"])
def test_listing_commands_work_and_show_logical_names(cluster, schema, command):
    assert_logical(psql(cluster, command))


def test_d_table_shows_columns_indexes_and_keys(cluster, schema):
    output = psql(cluster, r"\d shop_orders")
    for text in ("customer", "integer", "not null", "shop_orders_pkey", "PRIMARY KEY", "shop_note"):
        assert text in output
    assert_logical(output)


def test_d_plus_table_works(cluster, schema):
    assert "what was ordered" in psql(cluster, r"\dt+ shop_orders")
    assert "customer" in psql(cluster, r"\d+ shop_orders")


def test_l_lists_databases(cluster, schema):
    output = psql(cluster, r"\l")
    assert re.search(rf"^ {cluster.database} +\| {cluster.user} ", output, re.M)
    assert psql(cluster, r"\l+")


def test_du_lists_roles(cluster, schema):
    assert re.search(rf"^ {cluster.user} ", psql(cluster, r"\du"), re.M)


def test_df_and_sf_show_functions(cluster, schema):
    output = psql(cluster, r"\df")
    assert "shop_add" in output
    assert "create_distributed_table" not in output or "decan" not in output
    assert "SELECT a + b" in psql(cluster, r"\sf shop_add")
    assert "SELECT name" in psql(cluster, r"\sv shop_names").replace("\n", " ").replace("  ", " ") \
        or "shop_colours" in psql(cluster, r"\sv shop_names")


def test_conninfo_and_encoding(cluster, schema):
    assert cluster.database in psql(cluster, r"\conninfo")
    assert "UTF8" in psql(cluster, r"\encoding")


def test_tls_is_used_when_required(cluster, schema):
    output = psql(cluster, r"\conninfo", PGSSLMODE="require")
    assert "SSL connection (protocol: TLSv1." in output


def test_channel_binding_is_offered_over_tls(cluster, schema):
    assert "1" in psql(cluster, "SELECT 1;", "-At", PGSSLMODE="require", PGCHANNELBINDING="require")


def test_script_with_variables_and_conditions(cluster, schema):
    output = psql(cluster, r"""
        SELECT max(id) AS top FROM shop_orders WHERE customer = 1 \gset
        SELECT :top = 5 AS five \gset
        \if :five
        \echo top is :top
        \endif
        SELECT format('SELECT %s AS n', g) FROM generate_series(1, 2) g ORDER BY g \gexec
        \pset format unaligned
        SELECT customer, count(*) FROM shop_orders GROUP BY customer ORDER BY customer;
        SELECT 1 AS a \gdesc
    """, "-t")
    assert "top is 5" in output
    assert "1|5\n2|1\n3|1\n4|1" in output
    assert "integer" in output


def test_fetch_count_reads_through_a_cursor(cluster, schema):
    output = psql(cluster, "\\set FETCH_COUNT 2\nSELECT customer, id FROM shop_orders ORDER BY 1, 2;", "-At")
    assert output.split() == ["1|1", "1|2", "1|3", "1|4", "1|5", "2|1", "3|1", "4|1"]


def test_autocommit_off_and_on_error_rollback(cluster, schema):
    output = psql(cluster, r"""
        \set AUTOCOMMIT off
        \set ON_ERROR_ROLLBACK on
        \set ON_ERROR_STOP off
        INSERT INTO shop_orders VALUES (50, 1, 'x');
        INSERT INTO shop_orders VALUES (50, 1, 'again');
        INSERT INTO shop_orders VALUES (51, 1, 'y');
        SELECT count(*) FROM shop_orders WHERE customer IN (50, 51);
        ROLLBACK;
        SELECT count(*) FROM shop_orders WHERE customer IN (50, 51);
    """, "-At")
    assert output.count("duplicate key value violates unique constraint \"shop_orders_pkey\"") == 1
    assert output.startswith("2\n0\n")


def test_errors_set_exit_code_and_position(cluster, schema):
    done = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", "SELECT nope FROM shop_orders"],
                          capture_output=True, text=True, env=cluster.environment(), check=False, timeout=30)
    assert done.returncode == 1
    assert 'column "nope" does not exist' in done.stderr
    assert re.search(r"^LINE 1: SELECT nope FROM shop_orders\n {15}\^$", done.stderr, re.M)


def test_copy_in_and_out_by_client(cluster, schema, tmp_path):
    rows = "".join(f"{100 + n}\t{n}\tline {n}\n" for n in range(500))
    (tmp_path / "in.tsv").write_text(rows)
    psql(cluster, f"\\copy shop_orders FROM '{tmp_path}/in.tsv'")
    psql(cluster, f"\\copy (SELECT * FROM shop_orders WHERE customer >= 100 ORDER BY customer) TO '{tmp_path}/out.tsv'")
    assert (tmp_path / "out.tsv").read_text() == rows
    psql(cluster, f"\\copy shop_orders TO '{tmp_path}/all.csv' CSV HEADER")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0] == "customer,id,note" and len(lines) == 509
    psql(cluster, "DELETE FROM shop_orders WHERE customer >= 100;")


def test_wrong_password_and_unknown_database(cluster, victim):
    done = subprocess.run(["psql", "-X", "-c", "SELECT 1"], capture_output=True, text=True, check=False, timeout=30,
                          env=cluster.environment(PGUSER=victim.user, PGPASSWORD="wrong"))
    assert done.returncode == 2 and f'password authentication failed for user "{victim.user}"' in done.stderr
    done = subprocess.run(["psql", "-X", "-d", "no_such_database", "-c", "SELECT 1"], capture_output=True, text=True,
                          check=False, timeout=30, env=cluster.environment())
    assert done.returncode == 2 and 'database "no_such_database" does not exist' in done.stderr


@pytest.mark.parametrize("statement", ["SELECT pg_sleep(30)", "SELECT count(*) FROM shop_orders WHERE pg_sleep(20) IS NULL",
                                       "UPDATE shop_orders SET note = note WHERE pg_sleep(20) IS NULL"])
def test_interrupt_cancels_within_a_second(cluster, schema, statement):
    child = subprocess.Popen(["psql", "-X", "-c", statement], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, env=cluster.environment())
    time.sleep(0.7)
    started = time.monotonic()
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=10)
    assert time.monotonic() - started < 1.0
    assert "canceling statement due to user request" in output


def read_terminal(descriptor: int, wanted: str, seconds: float = 10) -> str:
    output, deadline = "", time.monotonic() + seconds
    while wanted not in output and time.monotonic() < deadline:
        ready, _, _ = select.select([descriptor], [], [], 0.2)
        if ready:
            output += os.read(descriptor, 65536).decode(errors="replace")
    return output


def test_tab_completion_offers_logical_tables(cluster, schema):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("psql", ["psql", "-X"], {**cluster.environment(), "TERM": "dumb", "INPUTRC": "/dev/null"})
    try:
        read_terminal(terminal, "=> ")
        os.write(terminal, b"SELECT * FROM shop_ord\t")
        output = read_terminal(terminal, "shop_orders")
        assert "shop_orders" in output
        os.write(terminal, b"\x15\\d shop_\t\t")
        output = read_terminal(terminal, "shop_plain")
        assert "shop_colours" in output and not re.search(r"shop_orders_\d", output)
    finally:
        os.write(terminal, b"\x15\\q\r")
        os.close(terminal)
        os.waitpid(pid, 0)
