"""pgbench with its TPC-B-like tables distributed, in the three modes."""

import re
import subprocess

import psycopg
import pytest


@pytest.fixture(scope="module")
def accounts(cluster):
    environment = cluster.environment()
    subprocess.run(["pgbench", "-i", "-I", "dt", "-q"], env=environment, check=True, capture_output=True, timeout=60)
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        for table, key in (("pgbench_branches", "bid"), ("pgbench_tellers", "tid"), ("pgbench_accounts", "aid"),
                           ("pgbench_history", "aid")):
            connection.execute(f"SELECT create_distributed_table('{table}', '{key}')")
    subprocess.run(["pgbench", "-i", "-I", "gvp", "-q", "-s", "2"], env=environment, check=True, capture_output=True,
                   timeout=120)
    yield
    subprocess.run(["pgbench", "-i", "-I", "d"], env=environment, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("steps", ["dtgvp", "dtgvpf", "dtGvp", "dtgvp --partitions=4"])
def test_initialization_as_plain_tables(cluster, steps):
    """What pgbench -i does by itself; runs before the distributed tables are made, since it drops them."""
    environment = cluster.environment()
    letters, *more = steps.split()
    subprocess.run(["pgbench", "-i", "-q", "-I", letters, *more], env=environment, check=True, capture_output=True, timeout=60)
    assert run(cluster, "-T", "1", "-c", "2") > 5
    subprocess.run(["pgbench", "-i", "-I", "d"], env=environment, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("keys", [False, True])
def test_initialized_tables_are_distributed_with_their_rows(cluster, keys):
    """Keyed by the branch the whole transaction stays on one unit, foreign keys included."""
    environment = cluster.environment()
    subprocess.run(["pgbench", "-i", "-q", "-s", "3", "-I", "dtgv"], env=environment, check=True, capture_output=True, timeout=60)
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        for name, key in (("branches", "bid"), ("tellers", "bid, tid"), ("accounts", "bid, aid")):
            connection.execute(f"ALTER TABLE pgbench_{name} ADD PRIMARY KEY ({key})")
        for name in ("branches", "tellers", "accounts", "history"):
            connection.execute(f"SELECT create_distributed_table('pgbench_{name}', 'bid')")
            if keys and name != "branches":
                connection.execute(f"ALTER TABLE pgbench_{name} ADD FOREIGN KEY (bid) REFERENCES pgbench_branches")
        assert connection.execute("SELECT count(*), sum(aid::int8) FROM pgbench_accounts").fetchone() == (
            300_000, 300_000 * 300_001 // 2)
    assert run(cluster, "-T", "1", "-c", "2", "-S") > 5
    subprocess.run(["pgbench", "-i", "-I", "d"], env=environment, check=True, capture_output=True, timeout=60)


def run(cluster, *arguments: str) -> int:
    """Transactions done; asserts that none failed."""
    done = subprocess.run(["pgbench", "-n", "-T", "3", "-c", "8", "-j", "2", *arguments], env=cluster.environment(),
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "aborted" not in done.stderr, done.stderr
    assert re.search(r"number of failed transactions: 0 ", done.stdout), done.stdout
    return int(re.search(r"number of transactions actually processed: (\d+)", done.stdout)[1])


def history(cluster) -> tuple:
    with psycopg.connect(cluster.dsn()) as connection:
        rows = [connection.execute(f"SELECT count(*), sum({column}) FROM {table}").fetchone() for table, column in (
            ("pgbench_history", "delta"), ("pgbench_accounts", "abalance"), ("pgbench_tellers", "tbalance"),
            ("pgbench_branches", "bbalance"))]
    return rows[0][0], [row[1] for row in rows]


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_tpcb_keeps_its_balances(cluster, accounts, mode):
    before, _ = history(cluster)
    done = run(cluster, "-M", mode)
    after, sums = history(cluster)
    assert after - before == done
    assert len(set(sums)) == 1, f"balances differ: {sums}"


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_select_only(cluster, accounts, mode):
    assert run(cluster, "-S", "-M", mode) > 100


def test_simple_update_over_tls(cluster, accounts, monkeypatch):
    monkeypatch.setenv("PGSSLMODE", "require")
    assert run(cluster, "-N", "-M", "prepared") > 10


def test_reconnecting_clients(cluster, accounts):
    assert run(cluster, "-S", "-C", "-c", "2") > 5
