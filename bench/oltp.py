"""Short statements: point select, point update, one-row insert, TPC-B, through each way to the same server."""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from targets import DIRECT_DATABASE, Decan, PgBouncer, Target, machine

ROWS = 100_000
TELLERS = 100
BRANCHES = 10

SCHEMA = """
CREATE TABLE bench_branches (bid int PRIMARY KEY, bbalance int NOT NULL);
CREATE TABLE bench_tellers (tid int PRIMARY KEY, bid int, tbalance int NOT NULL);
CREATE TABLE bench_accounts (aid int PRIMARY KEY, bid int, abalance int NOT NULL, filler char(84));
CREATE TABLE bench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
"""
KEYS = {"bench_branches": "bid", "bench_tellers": "tid", "bench_accounts": "aid", "bench_history": "aid"}

AID = f"\\set aid random(1, {ROWS})\n"
DELTA = "\\set delta random(-5000, 5000)\n"
PLACES = f"\\set bid random(1, {BRANCHES})\n\\set tid random(1, {TELLERS})\n"
SELECT = "SELECT abalance FROM bench_accounts WHERE aid = :aid;\n"
UPDATE = "UPDATE bench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n"
INSERT = ("INSERT INTO bench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);\n")

# name -> script, number of statements
WORKLOADS = {
    "select": (AID + SELECT, 1),
    "update": (AID + DELTA + UPDATE, 1),
    "insert": (AID + DELTA + PLACES + INSERT, 1),
    "tpcb": (AID + DELTA + PLACES + "BEGIN;\n" + UPDATE + SELECT
             + "UPDATE bench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;\n"
             + "UPDATE bench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;\n" + INSERT + "END;\n", 7),
}
MODES = ("simple", "extended", "prepared")


@dataclass
class Run:
    """One pgbench run."""

    workload: str
    mode: str
    clients: int
    target: str
    tps: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_query: float | None
    resident_mb: float | None
    failed: int


def fill(target: Target, distribute: bool) -> None:
    with psycopg.connect(target.dsn(), autocommit=True) as connection:
        for statement in SCHEMA.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        if distribute:
            for table, key in KEYS.items():
                connection.execute(f"SELECT create_distributed_table('{table}', '{key}')")
        with connection.cursor() as cursor:
            for table, count, row in (("bench_branches", BRANCHES, "{0}\t0\n"), ("bench_tellers", TELLERS, "{0}\t1\t0\n"),
                                      ("bench_accounts", ROWS, "{0}\t1\t0\t\n")):
                with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    copy.write("".join(row.format(n) for n in range(1, count + 1)))
    with psycopg.connect(target.dsn(), autocommit=True) as connection:
        for table in KEYS:
            connection.execute(f"VACUUM ANALYZE {table}")


def percentiles(folder: Path) -> tuple[float, float]:
    """p50 and p99 in milliseconds from pgbench's sampled transaction logs."""
    times = sorted(int(line.split()[2]) for path in folder.glob("log.*") for line in path.read_text().splitlines())
    for path in folder.glob("log.*"):
        path.unlink()
    if not times:
        return 0.0, 0.0
    return times[len(times) // 2] / 1000, times[min(len(times) - 1, len(times) * 99 // 100)] / 1000


def run_once(target: Target, workload: str, mode: str, clients: int, seconds: int, folder: Path) -> Run:
    script, statements = WORKLOADS[workload]
    path = folder / f"{workload}.sql"
    path.write_text(script)
    cpu = target.cpu_seconds()
    done = subprocess.run(
        ["pgbench", "-n", "-f", str(path), "-M", mode, "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(seconds),
         "-l", "--log-prefix", str(folder / "log"), "--sampling-rate", "0.1"],
        env=target.environment(), capture_output=True, text=True, check=False, timeout=seconds * 4 + 60)
    cpu = target.cpu_seconds() - cpu
    match = re.search(r"tps = ([\d.]+)", done.stdout)
    count = re.search(r"transactions actually processed: (\d+)", done.stdout)
    p50, p99 = percentiles(folder)
    if done.returncode != 0 or not match or not int(count[1]):
        reason = done.stderr[-300:] or "no transaction was done in time"
        print(f"{target.name} {workload} {mode} {clients}: pgbench failed: {reason}", file=sys.stderr)
        return Run(workload, mode, clients, target.name, 0, 0, 0, None, None, 1)
    per_query = cpu * 1e6 / (int(count[1]) * statements) if target.pid else None
    resident = target.resident_bytes() / 2**20 if target.pid else None
    return Run(workload, mode, clients, target.name, float(match[1]), p50, p99, per_query, resident, 0)


def medians(runs: list[Run]) -> list[Run]:
    """One line per workload, mode, clients and target."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.mode, run.clients, run.target), []).append(run)
    result = []
    for key, group in groups.items():
        def middle(name: str):
            values = [getattr(run, name) for run in group if getattr(run, name) is not None and not run.failed]
            return statistics.median(values) if values else None
        result.append(Run(*key, middle("tps") or 0.0, middle("p50_ms") or 0.0, middle("p99_ms") or 0.0,
                          middle("cpu_us_per_query"), middle("resident_mb"), sum(run.failed for run in group)))
    return result


def paired(runs: list[Run], name: str) -> dict[tuple, dict[str, float]]:
    """Median over the rounds of Decan's figure divided by that of each other target in the same round: what the machine does
    besides changes from round to round.
    """
    rounds: dict[tuple, dict[str, list[float | None]]] = {}
    for run in runs:
        key = (run.workload, run.mode, run.clients)
        value = None if run.failed else getattr(run, name)
        rounds.setdefault(key, {}).setdefault(run.target.split(" ")[0], []).append(value)
    result: dict[tuple, dict[str, float]] = {}
    for key, by in rounds.items():
        for other, values in by.items():
            pairs = [a / b for a, b in zip(by.get("Decan", []), values) if a and b]
            if pairs and other != "Decan":
                result.setdefault(key, {})[other] = statistics.median(pairs)
    return result


def table(lines: list[Run], runs: list[Run]) -> str:
    """Markdown: one row per workload, mode and number of clients."""
    def number(value: float | None, digits: int = 1) -> str:
        return "–" if value is None else f"{value:.{digits}f}"
    out = ["| statement | protocol | clients | direct TPS | PgBouncer TPS | Decan TPS | Decan/PgBouncer | Decan/direct | p50 ms "
           "(direct, PgB, Decan) | p99 ms | CPU µs/query PgBouncer | Decan | Decan/PgBouncer | MB Decan |",
           "|---|---|---:|---:|---:|---:|---:|---:|---|---|---:|---:|---:|---:|"]
    tps, cpu = paired(runs, "tps"), paired(runs, "cpu_us_per_query")

    def ratio(of: dict, key: tuple, other: str) -> str:
        found = of.get(key, {}).get(other)
        return f"{found:.2f}" if found else "–"

    groups: dict[tuple, dict[str, Run]] = {}
    for line in lines:
        groups.setdefault((line.workload, line.mode, line.clients), {})[line.target.split(" ")[0]] = line
    for (workload, mode, clients), by in groups.items():
        direct, bouncer, decan = (by.get(name) for name in ("PostgreSQL", "PgBouncer", "Decan"))
        empty = Run(workload, mode, clients, "", 0, 0, 0, None, None, 0)
        direct, bouncer, decan = direct or empty, bouncer or empty, decan or empty
        key = (workload, mode, clients)
        star = " (session)" if "session" in bouncer.target else ""
        out.append(
            f"| {workload} | {mode}{star} | {clients} | {direct.tps:.0f} | {bouncer.tps:.0f} | {decan.tps:.0f} | "
            f"{ratio(tps, key, 'PgBouncer')} | {ratio(tps, key, 'PostgreSQL')} | {direct.p50_ms:.2f}, {bouncer.p50_ms:.2f}, "
            f"{decan.p50_ms:.2f} | {direct.p99_ms:.2f}, {bouncer.p99_ms:.2f}, {decan.p99_ms:.2f} | "
            f"{number(bouncer.cpu_us_per_query)} | {number(decan.cpu_us_per_query)} | "
            f"{ratio(cpu, key, 'PgBouncer')} | {number(decan.resident_mb, 0)} |")
    return "\n".join(out)


def add_arguments(parser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2,
                        help="of each run of point selects, which are what is aimed at; half of it of the others")
    parser.add_argument("--units", type=int, default=1, help="storage units of the Decan (1: the very same work as the others)")
    parser.add_argument("--threads", type=int, default=1, help="compute threads (PgBouncer has one); 0: one per core")
    parser.add_argument("--pool", type=int, default=16, help="server connections of the transaction pools")
    parser.add_argument("--tcp", action="store_true", help="PgBouncer reaches the server by TCP, not by its Unix socket as Decan")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--clients", default="1,16,64")


def main(options) -> int:
    if options.quick:
        options.rounds, options.seconds = 1, 1
    clients = [int(n) for n in options.clients.split(",")]
    decan = Decan(options.units, options.threads, options.pool)
    bouncers = []
    runs: list[Run] = []
    try:
        fill(decan.server, distribute=False)
        fill(decan.target(), distribute=True)
        way = decan.server.host if options.tcp else decan.socket_directory
        bouncers = [PgBouncer(decan.server, "transaction", options.pool, way),
                    PgBouncer(decan.server, "session", max(clients), way)]
        transaction, session = (bouncer.target() for bouncer in bouncers)
        with tempfile.TemporaryDirectory(prefix="decan-bench-") as folder:
            for workload in options.workloads.split(","):
                seconds = options.seconds if workload == "select" else max(1, options.seconds // 2)
                for mode in options.modes.split(","):
                    # PgBouncer 1.18 does not follow prepared statements: in transaction mode they would be missing on the
                    # next connection. So prepared is compared with its session mode, which only passes bytes.
                    middle = session if mode == "prepared" else transaction
                    targets = [decan.server, middle, decan.target()]
                    for count in clients:
                        # pgbench's time includes that of connecting.
                        time_of_run = seconds + count // 32
                        for number in range(options.rounds):
                            turn = targets[number % 3:] + targets[:number % 3]
                            runs += [run_once(t, workload, mode, count, time_of_run, Path(folder)) for t in turn]
                        print(f"{time.strftime('%H:%M:%S')} {workload} {mode} {count} clients done", file=sys.stderr)
    finally:
        for bouncer in bouncers:
            bouncer.stop()
        decan.destroy()
    return report(options, runs)


def report(options, runs: list[Run]) -> int:
    lines = medians(runs)
    if options.json:
        print(json.dumps({"machine": machine(), "date": time.strftime("%Y-%m-%d"), "rounds": options.rounds,
                          "seconds": options.seconds, "units": options.units, "threads": options.threads,
                          "pool": options.pool, "medians": [asdict(line) for line in lines],
                          "runs": [asdict(run) for run in runs]}, indent=1))
    else:
        print(f"{machine()}; {time.strftime('%Y-%m-%d')}; {options.rounds} rounds of {options.seconds} s "
              f"(selects; others half), medians, ratios within a round; Decan with "
              f"{options.units} unit(s), {options.threads or 'all'} compute thread(s); pools of {options.pool}; database "
              f"{DIRECT_DATABASE} on the same server for PostgreSQL and PgBouncer\n")
        print(table(lines, runs))
    return 1 if any(run.failed for run in runs) else 0
