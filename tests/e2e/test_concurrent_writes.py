"""Writers that meet over several units: they wait for each other as on one server, and a circle of waits is ended."""

import re
import threading
import time
import urllib.request

import psycopg
import pytest

ROWS = 40


class Client(threading.Thread):
    """Runs statements on a connection of its own, beside the test."""

    def __init__(self, cluster, statements, repeat=1):
        super().__init__(daemon=True)
        self.dsn, self.statements, self.repeat = cluster.dsn(), statements, repeat
        self.errors = []
        self.start()

    def run(self):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for _ in range(self.repeat):
                try:
                    for statement in self.statements:
                        connection.execute(statement)
                except psycopg.Error as error:
                    self.errors.append(error)


def joined(clients, seconds=60):
    until = time.monotonic() + seconds
    for client in clients:
        client.join(max(0.0, until - time.monotonic()))
        assert not client.is_alive(), "the writers wait for each other for ever"
    return [error for client in clients for error in client.errors]


def filled(connection, table):
    connection.execute(f"INSERT INTO {table} VALUES " + ",".join(f"({k}, 0)" for k in range(1, ROWS + 1)))
    return table


@pytest.fixture
def sharded(make_table, connection):
    return filled(connection, make_table("k int PRIMARY KEY, v int"))


@pytest.fixture
def broadcast(make_table, connection):
    return filled(connection, make_table("k int PRIMARY KEY, v int", reference=True))


def test_updates_of_one_broadcast_row(cluster, connection, broadcast):
    clients = [Client(cluster, [f"UPDATE {broadcast} SET v = v + 1 WHERE k = 7"], 50) for _ in range(6)]
    assert joined(clients) == []
    assert connection.execute(f"SELECT v FROM {broadcast} WHERE k = 7").fetchone() == (300,)


def test_updates_of_all_rows(cluster, connection, sharded):
    clients = [Client(cluster, [f"UPDATE {sharded} SET v = v + 1"], 30) for _ in range(6)]
    assert joined(clients) == []
    assert connection.execute(f"SELECT count(*), min(v), max(v) FROM {sharded}").fetchone() == (ROWS, 180, 180)


def test_updates_returning(cluster, connection, sharded):
    clients = [Client(cluster, [f"UPDATE {sharded} SET v = v + 1 RETURNING k"], 20) for _ in range(6)]
    assert joined(clients) == []
    assert connection.execute(f"SELECT min(v), max(v) FROM {sharded}").fetchone() == (120, 120)


def test_upserts_of_the_same_rows(cluster, connection, sharded):
    rows = ",".join(f"({k}, 0)" for k in range(1, 9))
    upsert = f"INSERT INTO {sharded} AS t VALUES {rows} ON CONFLICT (k) DO UPDATE SET v = t.v + 1"
    clients = [Client(cluster, [upsert], 30) for _ in range(6)]
    assert joined(clients) == []
    assert connection.execute(f"SELECT min(v), max(v) FROM {sharded} WHERE k < 9").fetchone() == (180, 180)


def test_inserts_of_the_same_keys(cluster, connection, sharded):
    rows = ",".join(f"({k}, 0)" for k in range(1001, 1021))
    clients = [Client(cluster, [f"INSERT INTO {sharded} VALUES {rows}"]) for _ in range(6)]
    assert {error.sqlstate for error in joined(clients)} == {"23505"}
    assert connection.execute(f"SELECT count(*) FROM {sharded} WHERE k > 1000").fetchone() == (20,)


def two_units(cluster, table):
    """Two keys of the table on different units."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        first = None
        for key in range(1, ROWS + 1):
            unit = connection.execute(f"PREVIEW SELECT v FROM {table} WHERE k = {key}").fetchone()[0]
            first = first or (key, unit)
            if unit != first[1]:
                return first[0], key
    raise AssertionError("all keys are on one unit")


def deadlocks(cluster):
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.port + 1}/metrics", timeout=10) as answer:
        return int(re.search(r"^decan_deadlocks_total (\d+)", answer.read().decode(), re.M)[1])


@pytest.mark.decan_only
@pytest.mark.parametrize("extended", [False, True])
def test_transactions_crosswise(cluster, connection, sharded, extended):
    one, other = two_units(cluster, sharded)
    before = deadlocks(cluster)
    update = f"UPDATE {sharded} SET v = v + 1 WHERE k = "
    with psycopg.connect(cluster.dsn()) as older, psycopg.connect(cluster.dsn()) as younger:
        parameters = (lambda key: (update + "%s", [key])) if extended else (lambda key: (update + str(key), None))
        older.execute(*parameters(one), prepare=extended)
        younger.execute(*parameters(other), prepare=extended)
        waits = threading.Thread(target=lambda: older.execute(*parameters(other), prepare=extended), daemon=True)
        waits.start()
        time.sleep(0.1)
        started = time.monotonic()
        with pytest.raises(psycopg.errors.DeadlockDetected) as told:
            younger.execute(*parameters(one), prepare=extended)
        assert time.monotonic() - started < 10
        detail = told.value.diag.message_detail.split("\n")
        assert len(detail) == 2
        assert all(re.fullmatch(r"Process \d+ waits for process \d+ on storage unit ds_\d\.", line) for line in detail)
        assert {str(c.info.backend_pid) for c in (older, younger)} == set(re.findall(r"rocess (\d+)", detail[0]))
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            younger.execute("SELECT 1")
        younger.rollback()
        waits.join(10)
        assert not waits.is_alive()
        older.commit()
        younger.execute(update + "1")  # the session goes on
        younger.rollback()
    rows = connection.execute(f"SELECT v FROM {sharded} WHERE k IN ({one}, {other})").fetchall()
    assert rows == [(1,), (1,)]
    assert deadlocks(cluster) == before + 1


@pytest.mark.decan_only
def test_row_locks_of_all_rows_against_a_writer(cluster, connection, sharded):
    one, other = two_units(cluster, sharded)
    for mine, theirs in ((one, other), (other, one)):
        with psycopg.connect(cluster.dsn()) as writer:
            writer.execute(f"UPDATE {sharded} SET v = 0 WHERE k = {mine}")
            locker = Client(cluster, [f"SELECT k FROM {sharded} FOR UPDATE"])
            time.sleep(0.2)
            writer_error = None
            try:
                writer.execute(f"UPDATE {sharded} SET v = 0 WHERE k = {theirs}")
                writer.commit()
            except psycopg.errors.DeadlockDetected as error:
                writer_error = error
                writer.rollback()
            errors = joined([locker], 20)
            assert all(error.sqlstate == "40P01" for error in errors)
            assert not (errors and writer_error), "one victim is enough"


@pytest.mark.decan_only
def test_definition_against_a_transaction(cluster, connection, sharded):
    """ALTER TABLE has the table on one unit and waits for a reader on the other, who then wants the first."""
    one, other = two_units(cluster, sharded)
    for mine, theirs in ((one, other), (other, one)):
        with psycopg.connect(cluster.dsn()) as reader:
            reader.execute(f"SELECT v FROM {sharded} WHERE k = {mine}")
            alter = Client(cluster, [f"ALTER TABLE {sharded} ADD COLUMN c{mine} int"])
            time.sleep(0.3)
            reader_error = None
            try:
                reader.execute(f"SELECT v FROM {sharded} WHERE k = {theirs}")
                reader.commit()
            except psycopg.errors.DeadlockDetected as error:
                reader_error = error
                reader.rollback()
            errors = joined([alter], 20)
            assert all(error.sqlstate == "40P01" for error in errors)
            assert not (errors and reader_error)


@pytest.mark.decan_only
def test_waits_without_a_circle_have_no_victim(cluster, connection, sharded):
    before = deadlocks(cluster)
    with psycopg.connect(cluster.dsn()) as holder:
        holder.execute(f"UPDATE {sharded} SET v = v + 1")
        clients = [Client(cluster, [f"UPDATE {sharded} SET v = v + 1"]) for _ in range(5)]
        time.sleep(3)
        assert all(client.is_alive() for client in clients)
        holder.commit()
    assert joined(clients) == []
    assert deadlocks(cluster) == before
