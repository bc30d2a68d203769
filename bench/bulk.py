"""COPY in and out, and aggregates over all units."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from targets import DIRECT_DATABASE, Decan, Target, machine

COLUMNS = "k bigint, g int, v int, price numeric(10,2), note text"


def write_rows(path: Path, rows: int, csv: bool) -> None:
    separator = "," if csv else "\t"
    with open(path, "w", encoding="utf-8") as out:
        for n in range(rows):
            out.write(separator.join((str(n), str(n * 7919 % 1000), str(n * 104729 % 1_000_003), f"{n % 10000}.{n % 100:02}",
                                      f"note number {n}")) + "\n")


def make(target: Target, table: str, distribute: bool) -> None:
    with psycopg.connect(target.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute(f"CREATE TABLE {table} ({COLUMNS})")
        if distribute:
            connection.execute(f"SELECT create_distributed_table('{table}', 'k')")


def psql_copy(target: Target, command: str) -> float:
    """Seconds."""
    started = time.monotonic()
    done = subprocess.run(["psql", "-X", "-q", "-c", command], env=target.environment(), capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{target.name}: {command}: {done.stderr}")
    return time.monotonic() - started


def add_arguments(parser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)


def report(options, name: str, unit: str, results: dict[str, dict[str, list[float]]], better_high: bool) -> int:
    lines = [f"| {name} | PostgreSQL {unit} | Decan {unit} | Decan/PostgreSQL | CPU µs/row of Decan |",
             "|---|---:|---:|---:|---:|"]
    summary = {}
    for what, by in results.items():
        direct, decan = statistics.median(by["PostgreSQL"]), statistics.median(by["Decan"])
        cpu = statistics.median(by["cpu"]) if by.get("cpu") else None
        summary[what] = {"PostgreSQL": direct, "Decan": decan, "ratio": decan / direct, "cpu_us_per_row": cpu}
        digits = 0 if better_high else 2
        lines.append(f"| {what} | {direct:,.{digits}f} | {decan:,.{digits}f} | {decan / direct:.2f} | "
                     + ("–" if cpu is None else f"{cpu:.2f}") + " |")
    head = (f"{machine()}; {time.strftime('%Y-%m-%d')}; {options.rows:,} rows, medians of {options.rounds}; {options.units} "
            f"unit(s), {options.threads or 'all'} compute thread(s)")
    if options.json:
        print(json.dumps({"about": head, "unit": unit, "results": summary}, indent=1))
    else:
        print(head + "\n\n" + "\n".join(lines))
    return 0


def copy_main(options) -> int:
    if options.quick:
        options.rounds, options.rows = 1, 50_000
    decan = Decan(options.units, options.threads, 16)
    results: dict[str, dict[str, list[float]]] = {}
    try:
        targets = [decan.server, decan.target()]
        with tempfile.TemporaryDirectory(prefix="decan-bench-") as folder:
            for form in ("text", "csv", "binary"):
                path = Path(folder) / form
                if form == "binary":
                    # Made by PostgreSQL from the rows of the round before.
                    psql_copy(decan.server, f"\\copy bench_copy TO '{path}' (FORMAT binary)")
                else:
                    write_rows(path, options.rows, form == "csv")
                for number in range(options.rounds):
                    for target in (targets if number % 2 == 0 else targets[::-1]):
                        measure_copy(target, form, path, options.rows, results)
                    print(f"{form} round {number + 1} done", file=sys.stderr)
                os.sync()
    finally:
        decan.destroy()
    return report(options, "COPY", "rows/s", results, better_high=True)


def measure_copy(target: Target, form: str, path: Path, rows: int, results: dict) -> None:
    make(target, "bench_copy", target.name == "Decan")
    for direction, command in (("in", f"\\copy bench_copy FROM '{path}' (FORMAT {form})"),
                               ("out", f"\\copy bench_copy TO '/dev/null' (FORMAT {form})")):
        cpu = target.cpu_seconds()
        seconds = psql_copy(target, command)
        entry = results.setdefault(f"{form} {direction}", {"PostgreSQL": [], "Decan": [], "cpu": []})
        entry[target.name].append(rows / seconds)
        if target.pid:
            entry["cpu"].append((target.cpu_seconds() - cpu) * 1e6 / rows)


SCATTER = {
    "count": "SELECT count(*) FROM bench_scatter",
    "sums": "SELECT sum(v), avg(v), min(v), max(v), sum(price) FROM bench_scatter",
    "filter": "SELECT count(*) FROM bench_scatter WHERE v < 1000",
    "group": "SELECT g, count(*), sum(v) FROM bench_scatter GROUP BY g ORDER BY g",
    "group, few": "SELECT g, avg(price) FROM bench_scatter GROUP BY g HAVING count(*) > 1 ORDER BY 2 DESC, g LIMIT 10",
    "top": "SELECT k, v FROM bench_scatter ORDER BY v DESC, k LIMIT 10",
    "rows in order": "SELECT k, v FROM bench_scatter WHERE g < 20 ORDER BY k",
    "distinct": "SELECT DISTINCT g FROM bench_scatter ORDER BY g",
}


def scatter_main(options) -> int:
    if options.quick:
        options.rounds, options.rows = 1, 50_000
    decan = Decan(options.units, options.threads, 16)
    results: dict[str, dict[str, list[float]]] = {}
    try:
        targets = [decan.server, decan.target()]
        with tempfile.TemporaryDirectory(prefix="decan-bench-") as folder:
            path = Path(folder) / "rows"
            write_rows(path, options.rows, False)
            for target in targets:
                make(target, "bench_scatter", target.name == "Decan")
                psql_copy(target, f"\\copy bench_scatter FROM '{path}'")
        connections = {t.name: psycopg.connect(t.dsn(), autocommit=True) for t in targets}
        for connection in connections.values():
            connection.execute("VACUUM ANALYZE bench_scatter")
        for name, sql in SCATTER.items():
            answers = {}
            for number in range(options.rounds + 1):
                for target, connection in connections.items():
                    started = time.monotonic()
                    answers[target] = connection.execute(sql).fetchall()
                    if number:   # the first warms up
                        entry = results.setdefault(name, {"PostgreSQL": [], "Decan": []})
                        entry[target].append((time.monotonic() - started) * 1000)
            if answers["PostgreSQL"] != answers["Decan"]:
                raise RuntimeError(f"different answers to {sql}")
        for connection in connections.values():
            connection.close()
    finally:
        decan.destroy()
    print(f"(one PostgreSQL: database {DIRECT_DATABASE} on the first unit's server, all rows)", file=sys.stderr)
    return report(options, "statement", "ms", results, better_high=False)
