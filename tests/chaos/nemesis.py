"""What goes wrong: one method per fault. Each returns after the fault has been done, not after the recovery."""

import ctypes
import os
import random
import signal
import socket
import time
from pathlib import Path

from support import cluster as clusters


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if clusters.parent_pid(int(entry.name)) == pid:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def borrowed_socket(pid: int, number: int) -> socket.socket | None:
    """A connection of another process, by its file descriptor there (pidfd_getfd); None where it is something else."""
    pidfd_getfd = 438
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(pidfd_getfd, handle, number, 0)
    finally:
        os.close(handle)
    if copy < 0:
        return None
    try:
        found = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
    if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.close()
        return None
    return found


class Nemesis:
    def __init__(self, cluster, seed: int):
        self.cluster = cluster
        self.random = random.Random(seed)

    def steps(self) -> list:
        if self.cluster.plain:
            return [self.kill_backend, self.terminate_backend, self.pause_unit, self.kill_unit]
        return [self.kill_unit, self.kill_backend, self.kill_compute, self.pause_unit, self.terminate_backend,
                self.kill_supervisor, self.cut_connections]

    def _postmasters(self) -> list[int]:
        if self.cluster.plain:
            return [self.cluster.postmaster_pid()]
        return [pid for pid in self.cluster.unit_postmasters() if Path(f"/proc/{pid}").exists()]

    def _backend(self) -> int | None:
        """A server process that works for a client of a unit."""
        postmasters = self._postmasters()
        self.random.shuffle(postmasters)
        for postmaster in postmasters:
            backends = [pid for pid in children(postmaster)
                        if f" {self.cluster.database} " in command_line(pid) and "autovacuum" not in command_line(pid)]
            if backends:
                return self.random.choice(backends)
        return None

    def kill_unit(self) -> str:
        pid = self.random.choice(self._postmasters())
        os.kill(pid, signal.SIGKILL)
        if self.cluster.plain:
            time.sleep(1)
            self._start_plain()
        return f"kill -9 of a unit's postmaster ({pid})"

    def _start_plain(self) -> None:
        """What the supervisor does for a unit: children of a killed postmaster have to be gone first."""
        deadline = time.monotonic() + 20
        while True:
            try:
                self.cluster.start()
                return
            except Exception:  # noqa: BLE001: pg_ctl fails while old children still hold the shared memory
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def kill_backend(self) -> str:
        pid = self._backend()
        if pid:
            os.kill(pid, signal.SIGKILL)
        return f"kill -9 of a backend ({pid})"

    def terminate_backend(self) -> str:
        """The connection between compute node and unit ends in the middle of anything."""
        killed = []
        for _ in range(5):
            pid = self._backend()
            if pid:
                try:
                    os.kill(pid, signal.SIGTERM)
                    killed.append(pid)
                except ProcessLookupError:
                    pass
        return f"connections cut on the unit's side ({len(killed)})"

    def kill_compute(self) -> str:
        pid = self.cluster.compute_pid()
        os.kill(pid, signal.SIGKILL)
        return f"kill -9 of the compute node ({pid})"

    def cut_connections(self) -> str:
        """Connections of the compute node, to clients and to units, end at any byte: also in the middle of rows."""
        cut = 0
        for _ in range(40):
            time.sleep(self.random.uniform(0.01, 0.1))
            pid = self.cluster.compute_pid()
            numbers = [int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            victim = borrowed_socket(pid, self.random.choice(numbers))
            if victim is None:
                continue
            try:
                victim.shutdown(socket.SHUT_RDWR)
                cut += 1
            except OSError:
                pass   # had ended by itself
            victim.close()
        if cut == 0:
            raise RuntimeError("no connection of the compute node could be cut")
        return f"connections of the compute node cut ({cut})"

    def kill_supervisor(self) -> str:
        """Nothing watches the supervisor but systemd or a human: `decan up` again."""
        pid = self.cluster.supervisor_pid()
        os.kill(pid, signal.SIGKILL)
        time.sleep(2)
        self.cluster.up()
        return f"kill -9 of the supervisor ({pid}), then `decan up`"

    def pause_unit(self) -> str:
        postmaster = self.random.choice(self._postmasters())
        seconds = self.random.uniform(1.5, 5)
        stopped = [postmaster, *children(postmaster)]
        for pid in stopped:
            self._signal(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            for pid in stopped:
                self._signal(pid, signal.SIGCONT)
        return f"SIGSTOP of a unit for {seconds:.1f} s"

    @staticmethod
    def _signal(pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
