"""Cancel requests reach the statement they are meant for, on all its units, and nobody else's."""

import random
import secrets
import socket
import threading
import time

import psycopg
import pytest

from support import wire


def send_cancel(cluster, pid: int, key: bytes) -> None:
    """Sends a CancelRequest and waits until the server has closed, as libpq does."""
    with socket.create_connection((cluster.host, cluster.port), 10) as connection:
        connection.sendall(wire.cancel_request(pid, key))
        connection.settimeout(10)
        try:
            while connection.recv(1):
                pass
        except ConnectionResetError:
            pass


@pytest.mark.parametrize("sql", ["SELECT pg_sleep(20)", "SELECT count(*) FROM {t} WHERE pg_sleep(0.5) IS NOT NULL",
                                 "UPDATE {t} SET v = v WHERE pg_sleep(0.5) IS NOT NULL",
                                 "SELECT v FROM {t} WHERE k = 1 AND pg_sleep(20) IS NOT NULL"])
def test_cancel_stops_the_statement_within_a_second(cluster, raw, numbers, sql):
    connection = raw()
    connection.send(wire.query(sql.format(t=numbers)))
    time.sleep(0.4)
    started = time.monotonic()
    send_cancel(cluster, connection.pid, connection.key)
    result = connection.results()[-1]
    assert time.monotonic() - started < 1.0
    assert result.error["C"] == "57014" and result.error["M"] == "canceling statement due to user request"
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "200"


def test_nothing_of_a_cancelled_statement_goes_on(cluster, raw, numbers):
    connection, other = raw(), raw()
    connection.send(wire.query(f"SELECT count(*) FROM {numbers} WHERE pg_sleep(0.3) IS NOT NULL"))
    time.sleep(0.5)
    send_cancel(cluster, connection.pid, connection.key)
    connection.results()
    time.sleep(0.3)
    running = other.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(0.3)%' "
                          "AND pid <> pg_backend_pid()")
    assert running == "0"


def test_cancel_in_transaction_fails_it_only(cluster, raw, numbers):
    connection = raw()
    connection.run("BEGIN")
    connection.run(f"DELETE FROM {numbers} WHERE k < 100")
    connection.send(wire.query("SELECT pg_sleep(20)"))
    time.sleep(0.3)
    send_cancel(cluster, connection.pid, connection.key)
    connection.results()
    assert connection.status == "E"
    connection.run("ROLLBACK")
    assert connection.value(f"SELECT count(*) FROM {numbers}") == "200"


def test_cancel_of_idle_session_does_not_hit_the_next_statement(cluster, raw, numbers):
    connection = raw()
    for n in range(200):
        send_cancel(cluster, connection.pid, connection.key)
        assert connection.value(f"SELECT v FROM {numbers} WHERE k = {n % 200 + 1}") == f"row {n % 200 + 1}"


test_cancel_of_idle_session_does_not_hit_the_next_statement = pytest.mark.decan_only(
    test_cancel_of_idle_session_does_not_hit_the_next_statement)


def test_wrong_key_cancels_nothing(cluster, raw):
    connection = raw()
    connection.send(wire.query("SELECT pg_sleep(1.5), 'slept'"))
    for n in range(300):
        send_cancel(cluster, connection.pid, secrets.token_bytes(4))
        if n % 10 == 0:
            send_cancel(cluster, secrets.randbits(32), secrets.token_bytes(4))
    send_cancel(cluster, connection.pid, secrets.token_bytes(32))
    assert connection.results()[-1].rows[0][1] == b"slept"


def test_malformed_cancel_requests(cluster, raw):
    connection = raw()
    for packet in (b"\0\0\0\x08\x04\xd2\x16\x2e", b"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\1", b"\0\0\1\0\x04\xd2\x16\x2e" + b"x" * 248,
                   wire.cancel_request(connection.pid, b""), wire.cancel_request(connection.pid, b"x" * 300)):
        with socket.create_connection((cluster.host, cluster.port), 5) as other:
            other.sendall(packet)
            other.settimeout(5)
            try:
                while other.recv(100):
                    pass
            except ConnectionResetError:
                pass
    assert connection.value("SELECT 1") == "1"


def test_psycopg_cancel_while_copying_in(cluster, connection, numbers):
    timer = threading.Timer(0.4, connection.cancel)
    timer.start()
    with pytest.raises(psycopg.Error) as caught:
        with connection.cursor() as cursor, cursor.copy(f"COPY {numbers} (k) FROM STDIN") as copy:
            for k in range(10_000, 100_000):
                copy.write(f"{k}\n")
                if k % 100 == 0:
                    time.sleep(0.001)
    assert caught.value.sqlstate == "57014"
    assert connection.execute(f"SELECT count(*) FROM {numbers}").fetchone() == (200,)


class Victim(threading.Thread):
    """Runs short and long statements; every reply is checked to be its own, every cancel to be meant for it."""

    def __init__(self, cluster, table: str, number: int):
        super().__init__()
        self.connection = wire.connect(cluster, timeout=60)
        self.table = table
        self.number = number
        self.stop = False
        self.cancels_sent = 0
        self.cancelled = 0
        self.done = 0
        self.faults: list[str] = []
        self.expecting = False

    def run(self) -> None:
        random_numbers = random.Random(self.number)
        while not self.stop and not self.faults:
            key, token = random_numbers.randrange(1, 201), f"{self.number}:{self.done}"
            seconds = random_numbers.choice((0, 0, 0.001, 0.005, 0.02))
            sql = (f"SELECT v, '{token}' FROM {self.table} WHERE k = {key} AND pg_sleep({seconds}) IS NOT NULL"
                   if random_numbers.random() < 0.7 else
                   f"SELECT count(*), '{token}' FROM {self.table} WHERE k <> {key} GROUP BY 2")
            self.connection.send(wire.query(sql))
            result = self.connection.results()[-1]
            if result.error:
                if result.error["C"] != "57014":
                    self.faults.append(f"{sql}: {result.error}")
                elif not self.expecting:
                    self.faults.append(f"{sql}: cancelled, but nobody asked for it")
                self.cancelled += 1
            elif len(result.rows) != 1 or result.rows[0][1] != token.encode():
                self.faults.append(f"{sql}: foreign reply {result.rows}")
            self.done += 1


def test_1000_random_cancels_hit_only_their_own_sessions(cluster, numbers):
    victims = [Victim(cluster, numbers, n) for n in range(16)]
    targets, bystanders = victims[:8], victims[8:]
    for victim in targets:
        victim.expecting = True
    for victim in victims:
        victim.start()
    random_numbers = random.Random(7)

    def cancel_many(count: int) -> None:
        for _ in range(count):
            victim = random_numbers.choice(targets)
            send_cancel(cluster, victim.connection.pid, victim.connection.key)
            time.sleep(random_numbers.random() * 0.01)

    senders = [threading.Thread(target=cancel_many, args=(250,)) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    for victim in victims:
        victim.stop = True
    for victim in victims:
        victim.join(30)
        victim.connection.close()
    assert [fault for victim in victims for fault in victim.faults] == []
    assert all(victim.done > 20 for victim in victims)
    assert sum(victim.cancelled for victim in targets) > 10
    assert sum(victim.cancelled for victim in bystanders) == 0
