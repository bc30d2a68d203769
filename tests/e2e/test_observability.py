"""Metrics, probes and the log of slow statements, as an operator reads them."""

import json
import re
import urllib.error
import urllib.request

import psycopg
import pytest

from support import cluster as clusters
from support import wire

pytestmark = pytest.mark.decan_only


def fetch(cluster, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{cluster.port + 1}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(cluster) -> dict[str, float]:
    status, text = fetch(cluster, "/metrics")
    assert status == 200
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    return samples


def grown(cluster, before: dict[str, float], name: str) -> float:
    return metrics(cluster)[name] - before.get(name, 0)


def test_every_metric_has_help_and_type(cluster):
    _, text = fetch(cluster, "/metrics")
    families = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    assert families == set(re.findall(r"^# HELP (\S+)", text, re.M))
    for line in text.splitlines():
        if not line.startswith("#"):
            name = re.match(r"[a-z_]+", line)[0]
            assert name in families or re.sub("_(bucket|sum|count)$", "", name) in families, line


def test_histograms_are_cumulative(cluster, connection):
    connection.execute("SELECT 1")
    samples = metrics(cluster)
    for tier in ("session", "route", "merge", "ddl", "refused"):
        buckets = [value for name, value in samples.items()
                   if name.startswith(f'decan_query_duration_seconds_bucket{{tier="{tier}"')]
        assert buckets == sorted(buckets)
        assert buckets[-1] == samples[f'decan_query_duration_seconds_count{{tier="{tier}"}}']


@pytest.mark.parametrize("extended", [False, True])
def test_statements_are_counted_and_timed_once_by_tier(cluster, numbers, extended):
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        def run(sql):
            if extended:
                connection.execute(sql, (7,), prepare=True)
            else:
                psycopg.ClientCursor(connection).execute(sql, (7,))

        run(f"SELECT v FROM {numbers} WHERE k = %s")
        before = metrics(cluster)
        for _ in range(3):
            run(f"SELECT v FROM {numbers} WHERE k = %s")
        run(f"SELECT count(*) FROM {numbers} WHERE k > %s")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            run(f"SELECT a.k FROM {numbers} a JOIN {numbers} b ON a.k = b.k + %s")
    for name in ("decan_statements_total", "decan_query_duration_seconds_count"):
        assert grown(cluster, before, f'{name}{{tier="route"}}') == 3
        assert grown(cluster, before, f'{name}{{tier="merge"}}') == 1
        assert grown(cluster, before, f'{name}{{tier="refused"}}') == 1
    assert grown(cluster, before, 'decan_errors_total{sqlstate="0A000"}') == 1


def test_pools_are_seen_by_unit(cluster, numbers, connection):
    connection.execute(f"SELECT count(*) FROM {numbers}")
    samples = metrics(cluster)
    for unit in ("ds_0", "ds_1"):
        assert samples[f'decan_unit_connections_opened_total{{unit="{unit}"}}'] >= 1
        assert samples[f'decan_pool_waiting{{unit="{unit}"}}'] == 0


def test_probes(cluster):
    assert fetch(cluster, "/healthz") == (200, "ok\n")
    assert fetch(cluster, "/readyz") == (200, "ready\n")
    assert fetch(cluster, "/")[0] == 404


@pytest.fixture(scope="module")
def logging_cluster():
    """Everything is slow here, and the log is JSON."""
    def config(port):
        return (f"compute:\n  listen: 127.0.0.1:{port}\n  metrics_listen: 127.0.0.1:{port + 1}\n"
                "log: {format: json, slow_statement: 100ms}\n")
    with clusters.start_cluster(units=2, config=config) as started:
        with psycopg.connect(started.dsn(), autocommit=True) as connection:
            connection.execute("CREATE TABLE t (k int PRIMARY KEY, v text)")
            connection.execute("SELECT create_distributed_table('t', 'k')")
            connection.execute("INSERT INTO t VALUES (1, 'v')")
        yield started


def slow_lines(cluster) -> list[dict]:
    text = (cluster.directory / "log" / "compute.log").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == "slow statement" and "pg_sleep" in line["template"]]


def test_slow_statements_are_logged_without_literals(logging_cluster):
    with wire.connect(logging_cluster) as connection:
        connection.run("SELECT pg_sleep(0.2), 'secret literal' FROM t WHERE k = 1")
    with psycopg.connect(logging_cluster.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_sleep(0.2), %s::text FROM t WHERE k = %s", ("secret parameter", 1))
        connection.execute("SELECT 'fast'")
    found = slow_lines(logging_cluster)
    assert len(found) == 2, found
    for line in found:
        assert int(line["milliseconds"]) >= 200
        assert line["units"] in ("ds_0", "ds_1")
        assert (line["role"], line["database"]) == (logging_cluster.user, logging_cluster.database)
    assert "secret" not in (logging_cluster.directory / "log" / "compute.log").read_text()
