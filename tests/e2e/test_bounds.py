"""Memory and connections stay bounded: slow readers, idle clients, many clients, overload."""

import os
import resource
import socket
import threading
import time

import pytest

from support import cluster as clusters
from support import wire

MEGABYTE = 1024 * 1024


def resident(cluster) -> int:
    """Memory of what stands between client and rows: the compute node, or all of the plain server's processes."""
    if not cluster.plain:
        return clusters.resident_bytes(cluster.compute_pid())
    postmaster = cluster.postmaster_pid()
    return sum(clusters.resident_bytes(int(pid)) for pid in os.listdir("/proc")
               if pid.isdigit() and parent(int(pid)) == postmaster)


def parent(pid: int) -> int:
    try:
        return clusters.parent_pid(pid)
    except OSError:
        return 0


@pytest.fixture(scope="module")
def wide(cluster):
    """Rows of 100 kB in every bucket, 20 MB in all."""
    with wire.connect(cluster) as connection:
        connection.run("CREATE TABLE wide (k int PRIMARY KEY, v text)")
        connection.run("ALTER TABLE wide ALTER COLUMN v SET STORAGE EXTERNAL")
        connection.run("SELECT create_distributed_table('wide', 'k')")
        for key in range(200):
            connection.run(f"INSERT INTO wide VALUES ({key}, repeat('x', 100000))")
    yield "wide"
    with wire.connect(cluster) as connection:
        connection.run("DROP TABLE wide")


@pytest.mark.decan_only
@pytest.mark.parametrize("sql", [
    "SELECT repeat('x', 100000) FROM wide, generate_series(1, 25)",                   # all units, any order
    "SELECT k, g, repeat('x', 100000) FROM wide, generate_series(1, 25) g ORDER BY k, g",   # merged in order
    "SELECT repeat('x', 100000) FROM wide, generate_series(1, 5000) WHERE k = 1",     # one unit, relayed
    "COPY wide TO STDOUT",
])
def test_client_that_stops_reading_500_megabytes(cluster, wide, sql):
    connection = wire.Wire(cluster.host, cluster.port)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.login(cluster.user, cluster.password, cluster.database)
    try:
        connection.send(wire.query(sql))
        connection._fill(5)
        peak, deadline = 0, time.monotonic() + 6
        while time.monotonic() < deadline:
            peak = max(peak, resident(cluster))
            time.sleep(0.1)
        assert peak < 150 * MEGABYTE, f"{peak // MEGABYTE} MB"
        with wire.connect(cluster) as other:
            assert other.value("SELECT count(*) FROM wide") == "200"
    finally:
        connection.close()


def test_large_result_is_streamed_to_a_reader(cluster, wide):
    """500 MB pass through; the memory of the compute node does not grow with them."""
    with wire.connect(cluster, timeout=60) as connection:
        connection.send(wire.query("SELECT repeat('x', 100000) FROM wide, generate_series(1, 25)"))
        rows = peak = 0
        while True:
            kind, body = connection.next()
            if kind == "D":
                rows += 1
                assert len(body) == 100006
            if rows % 500 == 0:
                peak = max(peak, 0 if cluster.plain else resident(cluster))
            if kind == "Z":
                break
    assert rows == 5000
    assert peak < 150 * MEGABYTE, f"{peak // MEGABYTE} MB"


@pytest.mark.decan_only
def test_many_large_parameters_do_not_pile_up(cluster, wide):
    """Ten clients push 64 MB each and never read: bounded by back-pressure or refused with 53xxx."""
    value = b"x" * (64 * MEGABYTE)
    sessions = [wire.connect(cluster) for _ in range(4)]
    try:
        for session in sessions:
            session.send(wire.extended("SELECT length($1::bytea)", (value,), types=(17,), formats=(1,)), wire.SYNC)
        for session in sessions:
            result = session.results()[-1]
            assert result.rows == [(str(len(value)).encode(),)] or result.error["C"].startswith("53")
    finally:
        for session in sessions:
            session.close()
    time.sleep(1)
    assert resident(cluster) < 400 * MEGABYTE


def test_10000_idle_connections(cluster):
    """At most 10 kB each (the plain server, with its 300 connections, shows only that the test works)."""
    count = 100 if cluster.plain else 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 500:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 500), hard))
    sessions: list[wire.Wire] = []
    lock = threading.Lock()

    def open_some(number: int) -> None:
        for _ in range(number):
            session = wire.connect(cluster, timeout=60)
            with lock:
                sessions.append(session)

    try:
        open_some(50)
        before = resident(cluster)
        threads = [threading.Thread(target=open_some, args=((count - 50) // 8,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        opened = len(sessions) - 50
        assert opened >= count - 60
        each = (resident(cluster) - before) / opened
        assert sessions[7].value("SELECT 7") == "7" and sessions[-1].value("SELECT 8") == "8"
        if not cluster.plain:
            assert each <= 10 * 1024, f"{each:.0f} bytes each"
    finally:
        for session in sessions:
            session.close()


test_10000_idle_connections = pytest.mark.slow(test_10000_idle_connections)


@pytest.mark.decan_only
def test_more_sessions_in_transactions_than_server_connections(cluster, wide):
    """Queueing with a deadline: everybody is served or told 53300 in time; nobody hangs."""
    sessions = [wire.connect(cluster, timeout=60) for _ in range(150)]
    outcome: list[str] = []

    def work(session: wire.Wire) -> None:
        session.send(wire.query("BEGIN; SELECT pg_sleep(0.3) FROM wide WHERE k = 1; COMMIT"))
        results = session.results()
        outcome.append(next((r.error["C"] for r in results if r.error), "ok"))

    started = time.monotonic()
    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in sessions:
        session.close()
    assert len(outcome) == 150 and set(outcome) <= {"ok", "53300"}
    assert outcome.count("ok") >= 20
    assert time.monotonic() - started < 40


@pytest.mark.decan_only
def test_memory_under_64_busy_clients(cluster, wide):
    """At most 100 MB."""
    stop = threading.Event()

    def work(number: int) -> None:
        with wire.connect(cluster, timeout=60) as session:
            while not stop.is_set():
                session.run(f"SELECT length(v) FROM wide WHERE k = {number}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    time.sleep(5)
    used = resident(cluster)
    stop.set()
    for thread in threads:
        thread.join()
    assert used < 100 * MEGABYTE, f"{used // MEGABYTE} MB"


def test_half_open_logins_do_not_keep_others_out(cluster):
    sockets = []
    try:
        for _ in range(40 if cluster.plain else 2000):
            connection = socket.create_connection((cluster.host, cluster.port), 10)
            connection.sendall(b"\0\0\0")
            sockets.append(connection)
        started = time.monotonic()
        with wire.connect(cluster, timeout=20) as session:
            assert session.value("SELECT 1") == "1"
        assert time.monotonic() - started < 5
    finally:
        for connection in sockets:
            connection.close()


class Pipeline(threading.Thread):
    """Sends a long batch, a piece at a time, without reading anything."""

    def __init__(self, session: wire.Wire, pieces):
        super().__init__(daemon=True)
        self.session = session
        self.pieces = pieces
        self.sent = 0

    def run(self) -> None:
        for piece in self.pieces:
            self.session.socket.sendall(piece)
            self.sent += 1


def long_pipeline(sql: str, turns: int, values):
    """`turns` times Bind, Describe, Execute of one statement; one Sync at the end."""
    yield wire.parse("", sql)
    for turn in range(turns):
        yield wire.bind("", "", values(turn)) + wire.describe(b"P") + wire.execute()
    yield wire.SYNC


def count_rows(session: wire.Wire, expected: int, check) -> int:
    rows = 0
    while True:
        kind, body = session.next()
        if kind == "E":
            raise wire.ServerError(wire.decode_fields(body))
        if kind == "D":
            check(rows, wire.decode_row(body))
            rows += 1
        elif kind == "Z":
            return rows
        assert rows <= expected


@pytest.mark.parametrize("sql", ["SELECT $1::text || repeat('y', 4000)",
                                 "SELECT $1::text || repeat('y', 4000) FROM wide WHERE k = 7"])
def test_pipeline_of_100000_messages_with_large_results(cluster, wide, sql):
    """Replies fill every socket buffer many times while the batch is still being sent."""
    turns = 33_000
    with wire.connect(cluster, timeout=60) as session:
        sender = Pipeline(session, long_pipeline(sql, turns, lambda turn: (str(turn),)))
        sender.start()
        peak = [0]

        def check(row: int, values: tuple) -> None:
            assert values[0] == str(row).encode() + b"y" * 4000
            if row % 4000 == 0 and not cluster.plain:
                peak[0] = max(peak[0], resident(cluster))

        assert count_rows(session, turns, check) == turns
        sender.join(10)
        assert session.value("SELECT 1") == "1"
    assert peak[0] < 150 * MEGABYTE, f"{peak[0] // MEGABYTE} MB"


def test_pipeline_of_large_parameters_with_large_results(cluster, wide):
    """Both directions of one statement are larger than the socket buffers."""
    value = "z" * 3_000_000
    turns = 20
    with wire.connect(cluster, timeout=60) as session:
        sender = Pipeline(session, long_pipeline("SELECT $1::text || $1::text", turns, lambda turn: (value,)))
        sender.start()
        assert count_rows(session, turns, lambda row, values: len(values[0]) == 6_000_000 or pytest.fail()) == turns


def test_client_that_sends_everything_before_it_reads(cluster, wide):
    """It waits, as with PostgreSQL, once the buffers between are full; nobody else does, and it loses nothing."""
    turns = 33_000
    session = wire.connect(cluster, timeout=60)
    try:
        sender = Pipeline(session, long_pipeline("SELECT $1::text || repeat('y', 4000)", turns, lambda turn: (str(turn),)))
        sender.start()
        deadline = time.monotonic() + 12   # longer than a dead peer would be waited for
        peak = 0
        while time.monotonic() < deadline:
            peak = max(peak, 0 if cluster.plain else resident(cluster))
            with wire.connect(cluster) as other:
                assert other.value("SELECT count(*) FROM wide") == "200"
            time.sleep(0.3)
        assert peak < 150 * MEGABYTE, f"{peak // MEGABYTE} MB"
        assert count_rows(session, turns, lambda row, values: None) == turns
        sender.join(10)
        assert sender.sent == turns + 2
    finally:
        session.close()


def test_client_that_reads_late_gets_all_rows(cluster, wide):
    """A pause of 14 seconds in the middle of a result, with every buffer full, is no reason to lose a client."""
    connection = wire.Wire(cluster.host, cluster.port, timeout=60)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.login(cluster.user, cluster.password, cluster.database)
    try:
        connection.send(wire.query("SELECT repeat('x', 100000) FROM wide, generate_series(1, 10)"))
        connection._fill(5)
        time.sleep(14)
        assert len(connection.results()[-1].rows) == 2000
    finally:
        connection.close()


@pytest.mark.parametrize("distribute", ["SELECT create_distributed_table('noisy', 'k')", None])
def test_copy_in_with_a_notice_for_every_row(cluster, distribute):
    """Notices come while rows are still being sent: they end nothing, and nobody waits for the other."""
    rows = 20_000
    with wire.connect(cluster, timeout=60) as session:
        session.run("CREATE TABLE noisy (k int PRIMARY KEY, v text)")
        try:
            session.run("CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$BEGIN RAISE NOTICE 'row % %', NEW.k, repeat('n', 400); RETURN NEW; END$$")
            session.run("CREATE TRIGGER shout BEFORE INSERT ON noisy FOR EACH ROW EXECUTE FUNCTION shout()")
            if distribute:
                session.run(distribute)
            session.notices.clear()
            session.send(wire.query("COPY noisy FROM STDIN"))
            kind, body = session.next()
            assert kind == "G", body
            sender = Pipeline(session, [wire.copy_data(f"{k}\t{'v' * 200}\n".encode()) for k in range(rows)] + [wire.COPY_DONE])
            sender.start()
            assert session.results()[-1].tag == f"COPY {rows}"
            assert len(session.notices) == rows
            assert session.value("SELECT count(*) FROM noisy") == str(rows)
        finally:
            if session.status:
                session.run("DROP TABLE noisy")
                session.run("DROP FUNCTION shout()")


@pytest.mark.decan_only
def test_notifications_that_nobody_takes_end_the_session_with_the_setting_named(cluster):
    with wire.connect(cluster) as listener, wire.connect(cluster) as sender:
        listener.run("LISTEN flood")
        listener.run("BEGIN")
        for _ in range(60):
            sender.run(f"NOTIFY flood, '{'n' * 7000}'")
        deadline = time.monotonic() + 10
        while True:
            kind, body = listener.next()
            if kind == "E":
                break
            assert time.monotonic() < deadline
        fields = wire.decode_fields(body)
        assert fields["C"] == "57P01" and "limits.session_buffer_bytes" in fields["M"]
    with wire.connect(cluster) as listener, wire.connect(cluster) as sender:
        listener.run("LISTEN flood")
        listener.run("BEGIN")
        for number in range(20):
            sender.run(f"NOTIFY flood, '{number}'")
        listener.run("COMMIT")
        while len(listener.notifications) < 20:
            listener.run("SELECT 1")
        assert [payload for _, _, payload in listener.notifications] == [str(n) for n in range(20)]
