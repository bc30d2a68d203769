"""What is measured: PostgreSQL itself, PgBouncer 1.18 before it, Decan before it. All on this machine, over the same server."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support import cluster as clusters  # noqa: E402

DIRECT_DATABASE = "bench_direct"


@dataclass
class Target:
    """Where a load generator connects, and whose CPU time is the price of the way there."""

    name: str
    host: str
    port: int
    user: str
    password: str
    database: str
    pid: int | None = None

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.user,
                "PGPASSWORD": self.password, "PGDATABASE": self.database, "PGSSLMODE": "disable", "LC_ALL": "C.UTF-8"}

    def dsn(self) -> str:
        return (f"host={self.host} port={self.port} user={self.user} password='{self.password}' dbname={self.database} "
                "sslmode=disable")

    def cpu_seconds(self) -> float:
        return clusters.cpu_seconds(self.pid) if self.pid else 0.0

    def resident_bytes(self) -> int:
        return clusters.resident_bytes(self.pid) if self.pid else 0


class PgBouncer:
    """PgBouncer 1.18 with its own configuration in a directory of its own. It reaches the server as the compute node does: by
    `server_host`, the directory of the server's Unix socket, unless TCP is asked for.
    """

    def __init__(self, server: Target, mode: str, pool_size: int, server_host: str):
        self.directory = clusters.make_directory("decan-bench-pgbouncer-")
        self.port = clusters.free_port()
        self.mode = mode
        self.server = server
        # The connections of a session pool are of no use to the next run, and the server's are limited.
        idle = 1 if mode == "session" else 600
        (self.directory / "users.txt").write_text(f'"{server.user}" "{server.password}"\n')
        (self.directory / "pgbouncer.ini").write_text(
            f"[databases]\n{server.database} = host={server_host} port={server.port} dbname={server.database}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {self.directory}/users.txt\npool_mode = {mode}\n"
            f"max_client_conn = 1000\ndefault_pool_size = {pool_size}\nmin_pool_size = 0\nserver_idle_timeout = {idle}\n"
            "server_reset_query_always = 0\nignore_startup_parameters = extra_float_digits\nlog_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n"
            f"logfile = {self.directory}/log\npidfile = {self.directory}/pid\n")
        for path in self.directory.iterdir():
            if os.geteuid() == 0:
                shutil.chown(path, "postgres", "postgres")
        # A session of its own, as every daemon has: the scheduler shares the processors between sessions.
        self.process = subprocess.Popen(
            ["/usr/sbin/pgbouncer", "-q", str(self.directory / "pgbouncer.ini")], cwd="/",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=self._become_server_user)

    @staticmethod
    def _become_server_user() -> None:
        """PgBouncer refuses to run as root."""
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)

    def target(self) -> Target:
        found = Target(f"PgBouncer ({self.mode})", "127.0.0.1", self.port, self.server.user, self.server.password,
                       self.server.database, self.process.pid)
        wait_for(found)
        return found

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)


def wait_for(target: Target, seconds: float = 15) -> None:
    import psycopg
    deadline = time.monotonic() + seconds
    while True:
        try:
            with psycopg.connect(target.dsn(), connect_timeout=5):
                return
        except psycopg.Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def config(port: int, threads: int, pool_size: int) -> str:
    return (f"compute:\n  listen: 127.0.0.1:{port}\n  threads: {threads}\n  metrics_listen: off\n"
            # PgBouncer's sessions of "prepared" take a connection for every client.
            f"limits:\n  max_unit_connections: {pool_size}\nunits:\n  max_connections: 250\n")


class Decan:
    """A Decan cluster, and its first unit as the server that the others use too."""

    def __init__(self, units: int, threads: int, pool_size: int):
        self.cluster = clusters.DecanCluster(units=units, config=lambda port: config(port, threads, pool_size))
        port = int(next(c["address"] for c in self.cluster.status()["components"] if c["kind"] == "unit").rsplit(":")[-1])
        self.server = Target("PostgreSQL", "127.0.0.1", port, self.cluster.user, self.cluster.password, "postgres")
        import psycopg
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DIRECT_DATABASE}")
        self.server.database = DIRECT_DATABASE
        # Embedded units are reached by their Unix sockets.
        self.socket_directory = str(next(self.cluster.directory.rglob(f".s.PGSQL.{port}")).parent)

    def target(self) -> Target:
        c = self.cluster
        return Target("Decan", c.host, c.port, c.user, c.password, c.database, c.compute_pid())

    def destroy(self) -> None:
        self.cluster.destroy()


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024 // 1024
    return f"{os.cpu_count()} × {model}, {memory + 1} GB, Linux {os.uname().release.split('-')[0]}"
