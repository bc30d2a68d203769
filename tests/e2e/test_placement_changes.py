"""Tables are spread, broadcast and gathered again while others read and write them: no statement in flight gives a wrong
answer, no write is lost.
"""

import random
import threading
import time

import pytest

from support import wire

RETRYABLE = {"40001", "40P01", "55P03"}
ROWS = 200


class Worker(threading.Thread):
    """Repeats turns until told to stop; retryable errors are counted, all others are faults."""

    def __init__(self, cluster, number: int, turn):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.random = random.Random(number)
        self.number = number
        self.turn = turn
        self.stop = threading.Event()
        self.done = self.retries = 0
        self.added = 0
        self.inserted: set[int] = set()
        self.faults: list[str] = []

    def run(self) -> None:
        with wire.connect(self.cluster, timeout=60) as session:
            while not self.stop.is_set() and len(self.faults) < 3:
                try:
                    self.turn(self, session)
                    self.done += 1
                except wire.ServerError as error:
                    if error.sqlstate in RETRYABLE:
                        self.retries += 1
                    else:
                        self.faults.append(str(error.fields))
                    if session.status != "I":
                        session.run("ROLLBACK")
                except (TimeoutError, ConnectionError, ValueError) as error:
                    self.faults.append(f"{type(error).__name__}: {error}")
                    return

    def check(self, what: str, found, expected) -> None:
        if found != expected:
            self.faults.append(f"{what}: {found!r} instead of {expected!r}")

    def ask(self, session: wire.Wire, sql: str, values: tuple = ()) -> wire.Result:
        """As a simple or an extended query; with values always extended."""
        if values or self.random.random() < 0.5:
            session.send(wire.extended(sql, values), wire.SYNC)
        else:
            session.send(wire.query(sql))
        results = session.results()
        for result in results:
            if result.error:
                raise wire.ServerError(result.error)
        return results[-1]


def read(worker: Worker, session: wire.Wire) -> None:
    key = worker.random.randrange(ROWS)
    kind = worker.random.randrange(5)
    if kind == 0:
        worker.check("count", worker.ask(session, f"SELECT count(*) FROM moving WHERE k < {ROWS}").rows, [(b"%d" % ROWS,)])
    elif kind == 1:
        rows = worker.ask(session, f"SELECT k FROM moving WHERE k < {ROWS} ORDER BY k").rows
        worker.check("keys", rows, [(b"%d" % k,) for k in range(ROWS)])
    elif kind == 2:
        worker.check("row", worker.ask(session, f"SELECT k FROM moving WHERE k = {key}").rows, [(b"%d" % key,)])
    elif kind == 3:
        worker.check("row", worker.ask(session, "SELECT k FROM moving WHERE k = $1", (str(key),)).rows, [(b"%d" % key,)])
    else:
        worker.ask(session, "BEGIN")
        for _ in range(3):
            worker.check("count in a block", worker.ask(session, f"SELECT count(*) FROM moving WHERE k < {ROWS}").rows,
                         [(b"%d" % ROWS,)])
        worker.ask(session, "COMMIT")


def write(worker: Worker, session: wire.Wire) -> None:
    # Keys of its own: two writers of one row on several units could lock each other out crosswise.
    key = worker.random.randrange(ROWS // 4) * 4 + worker.number
    kind = worker.random.randrange(5)
    if kind == 0:
        worker.check("tag", worker.ask(session, f"UPDATE moving SET n = n + 1 WHERE k = {key}").tag, "UPDATE 1")
        worker.added += 1
    elif kind == 1:
        worker.check("tag", worker.ask(session, "UPDATE moving SET n = n + 1 WHERE k = $1", (str(key),)).tag, "UPDATE 1")
        worker.added += 1
    elif kind == 2:
        own = f"k < {ROWS} AND k % 4 = {worker.number}"
        worker.check("tag", worker.ask(session, f"UPDATE moving SET n = n + 1 WHERE {own}").tag, f"UPDATE {ROWS // 4}")
        worker.added += ROWS // 4
    elif kind == 3:
        new = worker.random.randrange(1_000_000) * 10 + worker.number
        if ROWS < new and new not in worker.inserted:
            worker.check("tag", worker.ask(session, f"INSERT INTO moving VALUES ({new}, 0)").tag, "INSERT 0 1")
            worker.inserted.add(new)
    else:
        worker.ask(session, "BEGIN")
        for _ in range(2):
            worker.check("tag in a block", worker.ask(session, f"UPDATE moving SET n = n + 1 WHERE k = {key}").tag, "UPDATE 1")
        worker.ask(session, "COMMIT")
        worker.added += 2


@pytest.mark.parametrize("changes", [
    ["SELECT create_distributed_table('moving', 'k')", "SELECT undistribute_table('moving')"],
    ["SELECT create_reference_table('moving')", "SELECT undistribute_table('moving')"],
])
def test_placement_changes_under_readers_and_writers(cluster, changes):
    with wire.connect(cluster) as session:
        session.run("CREATE TABLE moving (k int PRIMARY KEY, n int NOT NULL)")
        session.run("INSERT INTO moving SELECT g, 0 FROM generate_series(0, " + str(ROWS - 1) + ") g")
    readers = [Worker(cluster, n, read) for n in range(4)]
    writers = [Worker(cluster, n, write) for n in range(4)]
    made = 0
    try:
        for worker in readers + writers:
            worker.start()
        with wire.connect(cluster, timeout=60) as changer:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and not any(w.faults for w in readers + writers):
                for sql in changes:
                    while True:
                        try:
                            changer.run(sql)
                            made += 1
                            break
                        except wire.ServerError as error:
                            assert error.sqlstate in RETRYABLE, error.fields
                            assert time.monotonic() < deadline + 40, "no change gets through"
                    time.sleep(0.2)
        for worker in readers + writers:
            worker.stop.set()
        for worker in readers + writers:
            worker.join(60)
            assert not worker.is_alive(), "a worker hangs"
        faults = [fault for worker in readers + writers for fault in worker.faults]
        assert not faults, faults
        assert all(worker.done > 20 for worker in readers + writers), [w.done for w in readers + writers]
        assert made >= 4
        with wire.connect(cluster) as session:
            assert session.value(f"SELECT sum(n) FROM moving WHERE k < {ROWS}") == str(sum(w.added for w in writers))
            inserted = sorted(k for w in writers for k in w.inserted)
            found = session.run(f"SELECT k FROM moving WHERE k >= {ROWS} ORDER BY k").rows
            assert [int(row[0]) for row in found] == inserted
    finally:
        for worker in readers + writers:
            worker.stop.set()
        with wire.connect(cluster) as session:
            session.run("DROP TABLE moving")
