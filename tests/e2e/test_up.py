"""`decan up` and the verbs around it, on clusters of their own: starts, kills, things in the way, and recovery."""

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
import urllib.request
from pathlib import Path

import psycopg
import pytest
from support import cluster as clusters

pytestmark = pytest.mark.decan_only
FIRST_START_SECONDS = 60
SECOND_START_SECONDS = 20
RECOVERY_SECONDS = 30


class Deployment:
    """One directory for `decan up`, and what the tests look at there."""

    def __init__(self, parent: Path):
        clusters.RUNNING.add(self)
        self.directory = parent / "d"
        self.port = clusters.free_port()

    def run(self, *arguments: str, timeout: float = 150) -> subprocess.CompletedProcess:
        return subprocess.run([str(clusters.decan_binary()), *arguments, "--dir", str(self.directory)], text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False)

    def up(self, *arguments: str, demo: bool = False) -> subprocess.CompletedProcess:
        more = [] if demo else ["--no-demo"]
        done = self.run("up", "--port", str(self.port), *more, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def status(self) -> dict:
        return json.loads(self.run("status", "-o", "json").stdout)

    def dsn(self) -> str:
        return self.run("dsn").stdout.strip()

    def component(self, name: str) -> dict:
        return next(c for c in self.status()["components"] if c["name"] == name)

    def supervisor_pid(self) -> int:
        return int((self.directory / "run/supervisor.lock").read_text())

    def value(self, sql: str):
        with psycopg.connect(self.dsn(), autocommit=True, connect_timeout=5) as connection:
            return connection.execute(sql).fetchone()[0]

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.dsn(), autocommit=True, connect_timeout=5) as connection:
            for statement in statements:
                connection.execute(statement)

    def wait_answer(self, seconds: float = RECOVERY_SECONDS) -> float:
        """Until the compute node answers from every unit; returns how long it took."""
        started = time.monotonic()
        while True:
            with contextlib.suppress(psycopg.Error, json.JSONDecodeError):
                if self.value("SELECT 1") == 1 and self.status()["healthy"]:
                    return time.monotonic() - started
            assert time.monotonic() - started < seconds, self.run("status").stdout + self.run("logs").stdout
            time.sleep(0.1)

    def destroy(self) -> None:
        self.run("destroy", "--yes")
        clusters.RUNNING.discard(self)


@pytest.fixture
def deployment():
    parent = clusters.make_directory("decan-up-")
    made = Deployment(parent)
    yield made
    made.destroy()
    shutil.rmtree(parent, ignore_errors=True)


@contextlib.contextmanager
def taken(port: int):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


def test_first_start_makes_a_database_and_says_how_to_reach_it(deployment):
    started = time.monotonic()
    done = deployment.up("--units", "2", demo=True)
    assert time.monotonic() - started < FIRST_START_SECONDS
    url = next(word for word in done.stdout.split() if word.startswith("postgresql://"))
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM customers").fetchone()[0] == 1000
        assert connection.execute("SELECT count(*) FROM orders").fetchone()[0] == 5000
        assert connection.execute(
            "SELECT count(*) FROM orders o JOIN customers c USING (customer_id) WHERE c.customer_id = 7"
        ).fetchone()[0] == 5
    metrics = next(word for word in done.stdout.split() if word.endswith("/metrics"))
    with urllib.request.urlopen(metrics, timeout=5) as answer:
        assert answer.status == 200
    secrets_file = deployment.directory / "credentials"
    assert stat.S_IMODE(secrets_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(deployment.directory.stat().st_mode) == 0o700
    owner = deployment.directory.stat().st_uid
    assert owner != 0
    for component in deployment.status()["components"]:
        assert Path(f"/proc/{component['pid']}").stat().st_uid == owner, "servers do not run as root"


def test_second_start_finds_the_data_and_up_may_be_repeated(deployment):
    deployment.up()
    deployment.execute("CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    again = deployment.up()
    assert "Decan is up" in again.stdout
    assert ":" not in again.stdout.split("postgresql://")[1].split("@")[0], "the password is shown once"
    assert deployment.run("down").returncode == 0
    assert deployment.run("status").returncode == 3
    started = time.monotonic()
    deployment.up()
    assert time.monotonic() - started < SECOND_START_SECONDS
    assert deployment.value("SELECT count(*) FROM t") == 1


@pytest.mark.slow
def test_a_first_start_killed_at_any_point_is_completed_by_the_next(deployment):
    for delay in (0.05, 0.2, 0.5, 1, 1.7, 2.5, 3.5, 5):
        command = [str(clusters.decan_binary()), "up", "--dir", str(deployment.directory), "--port",
                   str(deployment.port), "--no-demo"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            time.sleep(delay)
            with contextlib.suppress(OSError, ValueError):
                os.kill(deployment.supervisor_pid(), signal.SIGKILL)
            running.kill()
    deployment.up()
    assert deployment.value("SELECT 1") == 1
    assert len(deployment.status()["components"]) == 3


def test_a_taken_port_is_named_with_its_owner_and_the_way_out(deployment):
    with taken(deployment.port):
        done = deployment.run("up", "--port", str(deployment.port), "--no-demo")
    assert done.returncode == 1
    assert f"port {deployment.port} is taken by" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr or os.geteuid() == 0
    assert "compute.listen" in done.stderr
    deployment.up()


def test_a_taken_port_at_a_later_start_is_reported_and_then_converges(deployment):
    deployment.up()
    deployment.run("down")
    with taken(deployment.port):
        assert deployment.run("up").returncode == 1
        doctor = deployment.run("doctor")
        assert doctor.returncode == 1
        assert f"port {deployment.port} is taken" in doctor.stdout
    deployment.up()


def test_directories_that_are_not_ours_are_left_alone(deployment):
    deployment.directory.mkdir()
    (deployment.directory / "letter.txt").write_text("dear")
    done = deployment.run("up", "--port", str(deployment.port))
    assert done.returncode == 1
    assert "holds files that are not Decan's" in done.stderr
    assert sorted(p.name for p in deployment.directory.iterdir()) == ["letter.txt"]
    assert deployment.run("destroy", "--yes").returncode == 1
    assert (deployment.directory / "letter.txt").exists()
    assert deployment.run("status").returncode == 3


def test_data_of_other_versions_is_refused_with_a_sentence(deployment):
    deployment.up()
    deployment.run("down")
    version = deployment.directory / "units/ds_1/data/PG_VERSION"
    version.write_text("14\n")
    done = deployment.run("up")
    assert done.returncode == 1
    assert "was made by PostgreSQL 14" in done.stderr
    version.write_text("15\n")
    mark = deployment.directory / "decan.format"
    mark.write_text("7\n")
    done = deployment.run("up")
    assert done.returncode == 1
    assert "another version of Decan" in done.stderr
    mark.write_text("1\n")
    deployment.up()


@pytest.mark.parametrize("name", ["ds_0", "ds_1", "compute"])
def test_a_killed_component_comes_back(deployment, name):
    deployment.up()
    rows = ", ".join(f"({n})" for n in range(100))
    deployment.execute("CREATE TABLE t (a int PRIMARY KEY)", "SELECT create_distributed_table('t', 'a')",
                       f"INSERT INTO t VALUES {rows}")
    before = deployment.component(name)["pid"]
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + RECOVERY_SECONDS
    while deployment.component(name)["pid"] in (before, 0):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    deployment.wait_answer()
    assert deployment.value("SELECT count(*) FROM t") == 100
    assert deployment.component(name)["restarts"] >= 1


def test_a_killed_supervisor_is_replaced_and_the_units_never_stopped(deployment):
    deployment.up()
    before = {c["name"]: c["pid"] for c in deployment.status()["components"]}
    os.kill(deployment.supervisor_pid(), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{before['compute']}").exists():
        assert time.monotonic() < deadline, "the compute node ends with its supervisor"
        time.sleep(0.05)
    status = deployment.run("status")
    assert status.returncode == 3
    assert "still runs without a supervisor" in status.stdout
    deployment.up()
    after = {c["name"]: c["pid"] for c in deployment.status()["components"]}
    assert after["ds_0"] == before["ds_0"]
    assert after["ds_1"] == before["ds_1"]
    assert deployment.value("SELECT 1") == 1


def test_down_also_stops_what_a_killed_supervisor_left(deployment):
    deployment.up()
    os.kill(deployment.supervisor_pid(), signal.SIGKILL)
    time.sleep(0.2)
    pids = [c["pid"] for c in deployment.status()["components"]]
    assert deployment.run("down").returncode == 0
    assert not any(Path(f"/proc/{pid}/exe").exists() and "postgres" in Path(f"/proc/{pid}/comm").read_text()
                   for pid in pids)
    assert "not running" in deployment.run("down").stdout


def test_destroy_asks_and_then_leaves_nothing(deployment):
    deployment.up()
    refused = deployment.run("destroy")
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert deployment.value("SELECT 1") == 1
    assert deployment.run("destroy", "--yes").returncode == 0
    assert not deployment.directory.exists() or not any(deployment.directory.iterdir())
    assert deployment.run("status").returncode == 3


def test_doctor_finds_nothing_wrong_with_a_healthy_cluster_and_an_open_secret(deployment):
    deployment.up()
    healthy = deployment.run("doctor", "-o", "json")
    findings = json.loads(healthy.stdout)
    assert healthy.returncode == 0, findings
    assert {"packages", "disk", "version", "cluster", "storage unit ds_0"} <= {f["check"] for f in findings}
    (deployment.directory / "credentials").chmod(0o644)
    opened = deployment.run("doctor")
    assert opened.returncode == 1
    assert "other users may read" in opened.stdout


def test_a_bad_configuration_is_refused_with_line_and_column(deployment):
    deployment.up()
    deployment.run("down")
    config = deployment.directory / "decan.yaml"
    good = config.read_text()
    config.write_text(good + "limits:\n  max_unit_connection: 5\n")
    line = good.count("\n") + 2
    for verb in (["up"], ["config", "check"], ["status"]):
        done = deployment.run(*verb)
        assert done.returncode == 1, verb
        assert f"decan.yaml:{line}:3: there is no key limits.max_unit_connection" in done.stderr
    config.write_text(good)
    assert deployment.run("config", "check").returncode == 0
    deployment.up()


def test_a_reload_takes_what_can_change_and_names_what_can_not(deployment):
    deployment.up()
    config = deployment.directory / "decan.yaml"
    config.write_text(config.read_text() + "log:\n  level: debug\nunits:\n  work_mem: 16MB\n")
    os.kill(deployment.supervisor_pid(), signal.SIGHUP)
    deadline = time.monotonic() + 10
    log = ""
    while "log.level" not in log or "units.work_mem" not in log:
        assert time.monotonic() < deadline, log
        time.sleep(0.1)
        log = deployment.run("logs", "supervisor").stdout
    assert "key takes effect at the next start key=units.work_mem" in log
    assert deployment.value("SELECT 1") == 1


def test_logs_show_every_component_or_one(deployment):
    deployment.up()
    everything = deployment.run("logs").stdout
    assert "supervisor | " in everything
    assert "ds_1 | " in everything
    assert "ready to accept connections" in deployment.run("logs", "ds_0").stdout
    unknown = deployment.run("logs", "ds_7")
    assert unknown.returncode == 2
    assert "Components: supervisor, compute, ds_0, ds_1." in unknown.stderr


def test_wrong_usage_has_its_own_exit_code():
    for arguments in (["nonsense"], ["up", "--units", "0"], ["up", "--nonsense"], ["status", "-o", "xml"], []):
        done = subprocess.run([str(clusters.decan_binary()), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("decan: "), done.stderr
    helped = subprocess.run([str(clusters.decan_binary()), "--help"], capture_output=True, text=True, check=False)
    assert helped.returncode == 0
    assert "decan up" in helped.stdout


def test_the_number_of_units_is_decided_at_the_first_start(deployment):
    deployment.up("--units", "1")
    assert [c["name"] for c in deployment.status()["components"]] == ["ds_0", "compute"]
    done = deployment.run("up", "--units", "3")
    assert done.returncode == 1
    assert "this cluster has 1 storage units" in done.stderr


def test_the_port_of_a_running_cluster_stays_and_changes_after_down(deployment):
    deployment.up()
    other = clusters.free_port()
    done = deployment.run("up", "--port", str(other))
    assert done.returncode == 1
    assert f"the cluster runs already, on port {deployment.port}" in done.stderr
    assert deployment.value("SELECT 1") == 1
    deployment.run("down")
    deployment.port = other
    deployment.up()
    assert f":{other}/" in deployment.dsn()
    assert deployment.value("SELECT 1") == 1


def test_a_long_path_still_works(deployment):
    deployment.directory = deployment.directory.parent / ("long" * 30)
    deployment.up()
    assert deployment.value("SELECT 1") == 1


def test_two_starts_at_once_make_one_cluster(deployment):
    command = [str(clusters.decan_binary()), "up", "--dir", str(deployment.directory), "--port", str(deployment.port),
               "--no-demo"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, error = process.communicate(timeout=150)
        assert process.returncode == 0, out + error
    assert len(deployment.status()["components"]) == 3


def test_the_reference_documents_every_key_as_the_program_does():
    printed = subprocess.run([str(clusters.decan_binary()), "config", "show", "--defaults", "--dir", "/var/lib/decan"],
                             capture_output=True, text=True, check=True).stdout
    reference = (clusters.REPOSITORY / "docs/reference.md").read_text()
    assert f"```yaml\n{printed}```" in reference, "run tools/reference"


def test_in_the_foreground_it_serves_until_it_is_told_to_stop(deployment):
    command = [str(clusters.decan_binary()), "up", "--foreground", "--dir", str(deployment.directory), "--port",
               str(deployment.port), "--no-demo"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + FIRST_START_SECONDS
        while deployment.run("status").returncode != 0:
            assert running.poll() is None, running.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert deployment.value("SELECT 1") == 1
        pids = [c["pid"] for c in deployment.status()["components"]]
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=60) == 0
        assert "cluster is up" in running.stderr.read()
    assert not any(Path(f"/proc/{pid}/cwd").exists() for pid in pids)
    assert deployment.run("status").returncode == 3
