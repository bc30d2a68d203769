"""One cluster for all tests of this folder; every test makes its own tables."""

import dataclasses
import itertools
import signal
import sys
import uuid
from pathlib import Path

import psycopg
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from support import cluster as clusters  # noqa: E402
from support import wire  # noqa: E402

NUMBERS = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than ten seconds; left out by --quick")
    config.addinivalue_line("markers", "decan_only: about something that a plain PostgreSQL does not have")


def pytest_collection_modifyitems(items):
    if not clusters.use_plain():
        return
    for item in items:
        if item.get_closest_marker("decan_only"):
            item.add_marker(pytest.mark.skip(reason="a plain PostgreSQL has no such thing"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs fails after two minutes (slow ones after ten) instead of stopping the run.

    Where it hangs in a C library that does not come back for the signal, tests/e2e/run ends the whole run.
    """
    seconds = 600 if item.get_closest_marker("slow") else 120

    def expired(*unused):
        signal.alarm(seconds)   # again, should the clean-up hang as well
        raise TimeoutError(f"the test hangs: not done after {seconds} s")
    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture(scope="session")
def cluster():
    with clusters.start_cluster(units=2) as started:
        yield started


@pytest.fixture(scope="session")
def plain():
    """A plain PostgreSQL beside the cluster, to compare with."""
    with clusters.PlainServer() as started:
        yield started


@pytest.fixture
def connection(cluster):
    with psycopg.connect(cluster.dsn(), autocommit=True) as opened:
        yield opened


@pytest.fixture
def raw(cluster, make_table):
    """Opens raw protocol connections; they are closed before the test's tables are dropped."""
    opened = []

    def connect(**arguments) -> wire.Wire:
        opened.append(wire.connect(cluster, **arguments))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def make_table(connection):
    """Makes distributed tables with names of their own: make_table("k int PRIMARY KEY, v text", key="k") -> name."""
    names = []

    def make(columns: str, key: str | None = "k", reference: bool = False, prefix: str = "e2e") -> str:
        name = f"{prefix}_{next(NUMBERS)}"
        connection.execute(f"CREATE TABLE {name} ({columns})")
        names.append(name)
        if reference:
            connection.execute(f"SELECT create_reference_table('{name}')")
        elif key:
            connection.execute(f"SELECT create_distributed_table('{name}', '{key}')")
        return name

    yield make
    connection.execute("SET lock_timeout = '10s'")
    for name in reversed(names):
        connection.execute(f"DROP TABLE IF EXISTS {name} CASCADE")


@dataclasses.dataclass(frozen=True)
class Victim:
    user: str
    password: str


@pytest.fixture
def victim(connection):
    """A role to fail to log in as: failures are throttled per address and role."""
    made = Victim(f"e2e_{uuid.uuid4().hex[:12]}", "secret")
    connection.execute(f"CREATE ROLE {made.user} LOGIN PASSWORD '{made.password}'")
    yield made
    connection.execute(f"DROP ROLE {made.user}")


@pytest.fixture
def numbers(make_table, connection):
    """A sharded table with the rows (1, 'row 1') … (200, 'row 200')."""
    name = make_table("k int PRIMARY KEY, v text")
    values = ", ".join(f"({n}, 'row {n}')" for n in range(1, 201))
    connection.execute(f"INSERT INTO {name} VALUES {values}")
    return name
