"""Clusters for the tests: a Decan made by `decan up`, or one plain PostgreSQL that takes the same statements.

Every test that is about what a client sees has to pass on both: DECAN_PLAIN=1 chooses the plain server, where
create_distributed_table() and create_reference_table() exist and do nothing. So a test that fails only on Decan shows a
fault of Decan.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PG_BIN = Path(os.environ.get("DECAN_PG_BIN", "/usr/lib/postgresql/15/bin"))
OWNER = "app"
DATABASE = "decan"

# What the plain server needs to take the statements that declare placement. In pg_catalog, so that \df, pg_dump and a
# changed search_path see the same on both sides.
PLAIN_FUNCTIONS = """
SET allow_system_table_mods = on;
CREATE FUNCTION pg_catalog.create_distributed_table(table_name text, key text, shard_count int DEFAULT NULL,
    colocate_with text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$BEGIN END$$;
CREATE FUNCTION pg_catalog.create_reference_table(table_name text) RETURNS void LANGUAGE plpgsql AS $$BEGIN END$$;
CREATE FUNCTION pg_catalog.undistribute_table(table_name text) RETURNS void LANGUAGE plpgsql AS $$BEGIN END$$;
"""


def use_plain() -> bool:
    return os.environ.get("DECAN_PLAIN", "") not in ("", "0")


def decan_binary() -> Path:
    return Path(os.environ.get("DECAN_BIN", REPOSITORY / "build/release/decan"))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_port(count: int = 1) -> int:
    """The first of `count` ports free now on 127.0.0.1; below the ephemeral range, so that no outgoing connection takes
    them meanwhile.
    """
    while True:
        port = 15000 + secrets.randbelow(15000)
        if all(is_free(port + n) for n in range(count)):
            return port


def as_server_user(arguments: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root; Debian's package makes the user `postgres`."""
    if os.geteuid() != 0:
        return arguments
    return ["runuser", "-u", "postgres", "--", *arguments]


def make_directory(prefix: str) -> Path:
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("DECAN_TEST_DIR", "/tmp")))
    path.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")
    return path


def make_certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "server.crt", directory / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True)
    key.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(key, "postgres", "postgres")
        shutil.chown(certificate, "postgres", "postgres")
    return certificate, key


# What was started and is not destroyed yet: whoever ends the run before its time destroys these.
RUNNING: set["Cluster"] = set()


class Cluster:
    """What a client needs to know of the server under test."""

    plain = False
    host = "127.0.0.1"
    port = 0
    user = OWNER
    password = ""
    database = DATABASE
    directory: Path

    def dsn(self, **overrides) -> str:
        """A libpq connection string of key=value pairs; None drops a key."""
        values = {"host": self.host, "port": self.port, "user": self.user, "password": self.password,
                  "dbname": self.database, **overrides}
        quoted = {key: str(value).replace("\\", r"\\").replace("'", r"\'") for key, value in values.items()
                  if value is not None}
        return " ".join(f"{key}='{value}'" for key, value in quoted.items())

    def url(self, scheme: str = "postgresql", **query) -> str:
        password = urllib.parse.quote(self.password, safe="")
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        return f"{scheme}://{self.user}:{password}@{self.host}:{self.port}/{self.database}{tail}"

    def environment(self, **extra) -> dict[str, str]:
        """For child processes that use libpq."""
        return {**os.environ, "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.user,
                "PGPASSWORD": self.password, "PGDATABASE": self.database, "PSQLRC": "/dev/null",
                "LC_ALL": "C.UTF-8", **extra}

    def wait_ready(self, seconds: float = 30) -> None:
        import psycopg
        deadline = time.monotonic() + seconds
        while True:
            try:
                with psycopg.connect(self.dsn(connect_timeout=5), autocommit=True) as connection:
                    connection.execute("SELECT 1")
                return
            except psycopg.Error as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"not ready after {seconds} s: {error}") from error
                time.sleep(0.1)

    def stop(self) -> None:
        raise NotImplementedError

    def destroy(self) -> None:
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.destroy()


class PlainServer(Cluster):
    """One PostgreSQL 15 server with the owner role and database that `decan up` makes."""

    plain = True

    def __init__(self, *, durable: bool = False, settings: dict | None = None, database: str = DATABASE):
        self.directory = make_directory("decan-plain-")
        self.data = self.directory / "data"
        self.port = free_port()
        self.password = secrets.token_urlsafe(12)
        self.superuser_password = secrets.token_urlsafe(12)
        self.database = database
        RUNNING.add(self)
        self._init(durable, settings or {})
        self.start()
        self._make_owner()

    def _init(self, durable: bool, settings: dict) -> None:
        secret = self.directory / "superuser"
        secret.write_text(self.superuser_password + "\n")
        if os.geteuid() == 0:
            shutil.chown(secret, "postgres")
        subprocess.run(
            as_server_user([str(PG_BIN / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "scram-sha-256",
                            "--pwfile", str(secret), "--encoding", "UTF8", "--locale", "C.UTF-8", "-k", "-N"]),
            check=True, capture_output=True)
        certificate, key = make_certificate(self.directory)
        values = {"port": self.port, "listen_addresses": "'127.0.0.1'",
                  "unix_socket_directories": f"'{self.directory}'", "max_connections": 300,
                  "max_prepared_transactions": 100, "work_mem": "'8MB'", "wal_level": "logical", "ssl": "on",
                  "ssl_cert_file": f"'{certificate}'", "ssl_key_file": f"'{key}'",
                  "fsync": "on" if durable else "off", **settings}
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in values.items())

    @classmethod
    def standby_of(cls, primary: "PlainServer") -> "PlainServer":
        """A streaming standby with the primary's roles; promote() makes it a server of its own."""
        self = cls.__new__(cls)
        self.directory = make_directory("decan-plain-")
        self.data = self.directory / "data"
        self.port = free_port()
        self.password, self.superuser_password, self.database = primary.password, primary.superuser_password, primary.database
        RUNNING.add(self)
        subprocess.run(
            as_server_user([str(PG_BIN / "pg_basebackup"), "-D", str(self.data), "-R", "-h", primary.host, "-p", str(primary.port),
                            "-U", "postgres", "-c", "fast"]),
            check=True, capture_output=True, env={**os.environ, "PGPASSWORD": self.superuser_password}, cwd="/")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(f"port = {self.port}\nunix_socket_directories = '{self.directory}'\n")
        self.start()
        return self

    def promote(self) -> None:
        subprocess.run(as_server_user([str(PG_BIN / "pg_ctl"), "-D", str(self.data), "-w", "promote"]), check=True,
                       stdout=subprocess.DEVNULL, cwd="/")

    def start(self) -> None:
        subprocess.run(
            as_server_user([str(PG_BIN / "pg_ctl"), "-D", str(self.data), "-w", "-t", "60", "-l",
                            str(self.directory / "log"), "start"]),
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    def superuser_dsn(self, database: str = "postgres") -> str:
        return self.dsn(user="postgres", password=self.superuser_password, dbname=database)

    def _make_owner(self) -> None:
        import psycopg
        with psycopg.connect(self.superuser_dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE CREATEDB PASSWORD '{self.password}'")
            connection.execute(f"CREATE DATABASE {self.database} OWNER {OWNER}")
        with psycopg.connect(self.superuser_dsn(self.database), autocommit=True) as connection:
            connection.execute(PLAIN_FUNCTIONS)

    def postmaster_pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def stop(self) -> None:
        subprocess.run(
            as_server_user([str(PG_BIN / "pg_ctl"), "-D", str(self.data), "-m", "immediate", "-w", "stop"]),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", check=False)

    def destroy(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        RUNNING.discard(self)


class DecanError(RuntimeError):
    pass


class DecanCluster(Cluster):
    """What `decan up` makes in a fresh directory. `config` gives the text of decan.yaml for a port."""

    def __init__(self, *, units: int = 2, config: Callable[[int], str] | None = None, directory: Path | None = None):
        if not decan_binary().exists():
            raise DecanError(f"{decan_binary()} does not exist: build it (tools/dev build release) or set DECAN_BIN")
        self.directory = directory or make_directory("decan-test-")
        self.units = units
        self.port = free_port(2)   # the second is for metrics
        self.config = config
        RUNNING.add(self)
        try:
            self.up()
        except BaseException:
            self.destroy()
            raise

    def command(self, *arguments: str, timeout: float = 120, check: bool = True) -> str:
        done = subprocess.run([str(decan_binary()), *arguments], capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, check=False)
        if check and done.returncode != 0:
            raise DecanError(f"decan {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def up(self) -> None:
        arguments = ["up", "--dir", str(self.directory), "--units", str(self.units), "--no-demo"]
        if self.config is None:
            arguments += ["--port", str(self.port)]
        elif not (self.directory / "decan.yaml").exists():
            (self.directory / "decan.yaml").write_text(self.config(self.port))
            if os.geteuid() == 0:
                shutil.chown(self.directory / "decan.yaml", "postgres", "postgres")
        self.command(*arguments)
        parsed = urllib.parse.urlsplit(self.command("dsn", "--dir", str(self.directory)).strip())
        self.host, self.port = parsed.hostname or "127.0.0.1", parsed.port or self.port
        self.user = urllib.parse.unquote(parsed.username or OWNER)
        self.password = urllib.parse.unquote(parsed.password or "")
        self.database = parsed.path.lstrip("/") or DATABASE
        self.wait_ready()

    def status(self) -> dict:
        return json.loads(self.command("status", "--dir", str(self.directory), "-o", "json"))

    def stop(self) -> None:
        self.command("down", "--dir", str(self.directory), check=False)

    def destroy(self) -> None:
        self.stop()
        self.command("destroy", "--dir", str(self.directory), "--yes", check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        RUNNING.discard(self)

    def processes(self) -> dict[int, list[str]]:
        """Our processes of this cluster: pid -> command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            except OSError:
                continue
            if any(str(self.directory) in argument for argument in arguments):
                found[int(entry.name)] = arguments
        return found

    def compute_pid(self) -> int:
        """The process that listens on the client port."""
        return listener_pid(self.port)

    def unit_postmasters(self) -> list[int]:
        found = []
        for path in sorted(self.directory.rglob("postmaster.pid")):
            found.append(int(path.read_text().split()[0]))
        return found

    def supervisor_pid(self) -> int:
        """The parent of the unit servers: what restarts them."""
        compute = self.compute_pid()
        parents = {parent_pid(pid) for pid in [compute, *self.unit_postmasters()]} - {1}
        ours = [pid for pid in parents if pid in self.processes()]
        if not ours:
            raise DecanError("no supervisor found: neither compute node nor units have a parent of this cluster")
        return ours[0]


def parent_pid(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def listener_pid(port: int) -> int:
    """Which process listens on a TCP port, through /proc (no tool needed)."""
    wanted = f":{port:04X}"
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                inodes.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            for descriptor in (entry / "fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return int(entry.name)
        except OSError:
            continue
    raise RuntimeError(f"nobody listens on port {port}")


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)


def start_cluster(*, units: int = 2, config: Callable[[int], str] | None = None) -> Cluster:
    """The server under test: plain when DECAN_PLAIN is set, else a Decan."""
    if use_plain():
        return PlainServer()
    return DecanCluster(units=units, config=config)
