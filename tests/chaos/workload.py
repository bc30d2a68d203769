"""Clients that can prove what they were promised: every reply carries their own token, every acknowledged write is kept in
a list, transfers between accounts on different units never change the total.
"""

import random
import threading
import time
from dataclasses import dataclass, field

from support import wire

ACCOUNTS = 64
START_BALANCE = 1000
# What a client may be told while servers die: lost connections, shutdowns, overload, serialization failures, lock waits.
EXPECTED = ("08", "53", "57P0", "40001", "40P01", "55P03", "57014", "25006", "25P02", "58", "XX001")
PATIENCE_SECONDS = 40
WIDE = 300   # repetitions of a value: 500 rows are about a megabyte


def create(cluster) -> None:
    with wire.connect(cluster) as connection:
        connection.run("CREATE TABLE chaos_rows (k int PRIMARY KEY, v text NOT NULL)")
        connection.run("CREATE TABLE chaos_writes (k int, client int, n int, PRIMARY KEY (k, client, n))")
        connection.run("CREATE TABLE chaos_bank (k int PRIMARY KEY, balance int NOT NULL)")
        for table in ("chaos_rows", "chaos_writes", "chaos_bank"):
            connection.run(f"SELECT create_distributed_table('{table}', 'k')")
        connection.run("INSERT INTO chaos_rows VALUES " + ", ".join(f"({k}, 'row {k}')" for k in range(1, 501)))
        connection.run("INSERT INTO chaos_bank VALUES " + ", ".join(f"({k}, {START_BALANCE})" for k in range(ACCOUNTS)))


@dataclass
class Totals:
    """Counted by each client alone, added up at the end."""

    statements: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    reconnects: int = 0
    acknowledged: set = field(default_factory=set)
    aborted: set = field(default_factory=set)
    unknown: set = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    last_success: float = 0.0
    longest_gap: float = 0.0


class Client(threading.Thread):
    def __init__(self, cluster, number: int, seed: int):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.number = number
        self.random = random.Random(seed * 1000 + number)
        self.totals = Totals()
        self.connection: wire.Wire | None = None
        self.stop = threading.Event()
        self.sequence = 0

    def run(self) -> None:
        self.totals.last_success = time.monotonic()
        while not self.stop.is_set() and len(self.totals.faults) < 5:
            try:
                if self.connection is None:
                    self.connection = wire.connect(self.cluster, timeout=PATIENCE_SECONDS)
                    self.totals.reconnects += 1
                self._turn()
            except wire.ServerError as error:
                self._server_error(error)
            except TimeoutError:
                self.totals.faults.append(f"client {self.number}: no answer within {PATIENCE_SECONDS} s")
                self._drop()
            except (ConnectionError, OSError) as error:
                self._count(type(error).__name__)
                self._drop()
            except ValueError as error:
                self.totals.faults.append(f"client {self.number}: {error}")
                self._drop()
        self._drop()

    def _drop(self) -> None:
        if self.connection:
            self.connection.close()
        self.connection = None
        self.stop.wait(0.05 + self.random.random() * 0.2)

    def _count(self, what: str) -> None:
        self.totals.errors[what] = self.totals.errors.get(what, 0) + 1

    def _server_error(self, error: wire.ServerError) -> None:
        self._count(error.sqlstate or "no SQLSTATE")
        if not (error.sqlstate or "").startswith(EXPECTED):
            self.totals.faults.append(f"client {self.number}: {error}")
        if error.fields.get("S") in ("FATAL", "PANIC"):
            self._drop()
        elif self.connection:
            if self.connection.status != "I":
                self.connection.send(wire.query("ROLLBACK"))
                self.connection.results()
            self.stop.wait(0.02)

    def _turn(self) -> None:
        token = f"{self.number}/{self.sequence}"
        self.sequence += 1
        kind = self.random.random()
        if kind < 0.45:
            self._read(token)
        elif kind < 0.52:
            self._read_many(token)
        elif kind < 0.57:
            self._read_wide(token)
        elif kind < 0.58:
            self._walk_away(token)
        elif kind < 0.8:
            self._insert(token)
        else:
            self._transfer(token)
        now = time.monotonic()
        self.totals.longest_gap = max(self.totals.longest_gap, now - self.totals.last_success)
        self.totals.last_success = now
        self.totals.statements += 1

    def _own(self, rows: list[tuple], expected: list[tuple], sql: str) -> None:
        if rows != expected:
            self.totals.faults.append(f"client {self.number}: foreign or wrong reply to {sql}: {rows[:3]}")

    def _send(self, sql: str, values: tuple = ()) -> list[wire.Result]:
        """One statement, as a simple or an extended query; its error is raised."""
        if not values and self.random.random() < 0.5:
            self.connection.send(wire.query(sql))
        else:
            self.connection.send(wire.extended(sql, values), wire.SYNC)
        results = self.connection.results()
        for result in results:
            if result.error:
                raise wire.ServerError(result.error)
        return results

    def _read(self, token: str) -> None:
        key = self.random.randrange(1, 501)
        sql = f"SELECT $1::text, v FROM chaos_rows WHERE k = {key}"
        self._own(self._send(sql, (token,))[-1].rows, [(token.encode(), f"row {key}".encode())], sql)

    def _read_many(self, token: str) -> None:
        sql = f"SELECT '{token}', k FROM chaos_rows WHERE k % 50 = 7 ORDER BY k"
        self._own(self._send(sql)[-1].rows, [(token.encode(), str(k).encode()) for k in range(7, 501, 50)], sql)

    def _wide(self, token: str) -> str:
        return f"SELECT '{token}', k, repeat(v, {WIDE}) FROM chaos_rows ORDER BY k"

    def _read_wide(self, token: str) -> None:
        """About a megabyte: a connection that is cut is cut in the middle of rows."""
        sql = self._wide(token)
        expected = [(token.encode(), str(k).encode(), f"row {k}".encode() * WIDE) for k in range(1, 501)]
        self._own(self._send(sql)[-1].rows, expected, sql)

    def _walk_away(self, token: str) -> None:
        """The client itself goes, having read a part of its rows."""
        self.connection.send(wire.query(self._wide(token)))
        self.connection.socket.recv(self.random.randrange(1, 100_000))
        self._drop()

    def _insert(self, token: str) -> None:
        """One row, or several that go to several units at once: all or nothing."""
        count = 1 if self.random.random() < 0.6 else 4
        rows = tuple((self.random.randrange(100_000), self.number, self.sequence * 10 + n) for n in range(count))
        sql = "INSERT INTO chaos_writes VALUES " + ", ".join(str(row) for row in rows)
        self.totals.unknown.add(rows)
        try:
            tag = self._send(sql)[-1].tag
        except wire.ServerError as error:
            # 08xxx says that the outcome is not known; after any other error nothing was written.
            if error.sqlstate and not error.sqlstate.startswith(("08", "57P0")):
                self.totals.unknown.discard(rows)
                self.totals.aborted.add(rows)
            raise
        if tag != f"INSERT 0 {count}":
            self.totals.faults.append(f"client {self.number}: tag {tag} for {sql}")
        self.totals.unknown.discard(rows)
        self.totals.acknowledged.add(rows)

    def _transfer(self, token: str) -> None:
        """Moves money between two accounts, mostly on two units, in one transaction."""
        one, two = self.random.sample(range(ACCOUNTS), 2)
        one, two = min(one, two), max(one, two)
        amount = self.random.randrange(-50, 51)
        self._send("BEGIN")
        self._send(f"UPDATE chaos_bank SET balance = balance - {amount} WHERE k = {one}")
        self._send(f"UPDATE chaos_bank SET balance = balance + {amount} WHERE k = {two}")
        rows = self._send(f"SELECT '{token}'")[-1].rows
        self._own(rows, [(token.encode(),)], "SELECT token")
        self._send("COMMIT" if self.random.random() < 0.9 else "ROLLBACK")


def verify(cluster, clients: list[Client]) -> list[tuple[str, str | None]]:
    """Checks after the recovery: (claim, what is wrong or None)."""
    written = {row for c in clients for rows in c.totals.acknowledged for row in rows}
    groups = [rows for c in clients for rows in c.totals.unknown]
    aborted = {row for c in clients for rows in c.totals.aborted for row in rows}
    with wire.connect(cluster, timeout=60) as connection:
        found = {tuple(int(v) for v in row) for row in connection.run("SELECT k, client, n FROM chaos_writes").rows}
        total = int(connection.value("SELECT sum(balance) FROM chaos_bank"))
        connection.run("SET lock_timeout = '10s'")
        locked = None
        try:
            connection.run("UPDATE chaos_bank SET balance = balance")
            connection.run("UPDATE chaos_rows SET v = v")
        except wire.ServerError as error:
            locked = str(error)
        prepared = connection.value("SELECT count(*) FROM pg_prepared_xacts")
    lost = written - found
    known = written | {row for rows in groups for row in rows}
    half = [rows for rows in groups if 0 < len(set(rows) & found) < len(rows)]
    expected_total = ACCOUNTS * START_BALANCE
    return [
        ("every acknowledged write is there", f"{len(lost)} of {len(written)} lost, e.g. {sorted(lost)[:3]}" if lost else None),
        ("nothing that was reported as failed is there",
         f"{len(aborted & found)} rows, e.g. {sorted(aborted & found)[:3]}" if aborted & found else None),
        ("nothing is there that nobody wrote", str(sorted(found - known - aborted)[:3]) if found - known - aborted else None),
        ("a write to several units is there whole or not at all", str(half[:2]) if half else None),
        ("transfers kept the total", f"{total} instead of {expected_total}" if total != expected_total else None),
        ("no lock is left", locked),
        ("no prepared transaction is left", None if prepared == "0" else f"{prepared} on the home unit"),
    ]
