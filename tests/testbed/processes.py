"""Server processes of the tests: started, awaited, stopped, and never left behind."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

POLL_INTERVAL = 0.02
"""Seconds between two looks at a server that is not ready yet."""
_TAIL_LINES = 30

# Runs in the child before the server: dies with its parent (PR_SET_PDEATHSIG is 1; the signal
# comes when the thread that started it ends), and inherits no blocked signals. A small program
# and not a preexec_fn, because that is unsafe beside threads.
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.argv[1] != "0":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent has gone")
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.execv(sys.argv[2], sys.argv[2:])
"""


class ServerFailed(Exception):
    """A server ended by itself or was not ready in time; the message has the end of its log."""


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Several different free ports."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((host, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class ServerProcess:
    """One server in a process group of its own, its output appended to `<directory>/<name>.log`.

    It ends with this process, however that ends, if it was started from a thread that lives as
    long; otherwise at this process's orderly exit. The environment holds PATH and HOME only,
    besides what `environment` gives.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | os.PathLike[str]],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = [os.fspath(part) for part in argv]
        self.directory = directory
        self.log = directory / f"{name}.log"
        inherited = {each: os.environ[each] for each in ("PATH", "HOME") if each in os.environ}
        self._environment = inherited | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the server, also if it ended by itself.

        Raises:
            ServerFailed: it was not started, or was stopped.
        """
        if self._process is None:
            raise ServerFailed(self._report("does not run"))
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it; `wait_ready` tells when it serves."""
        if self.running:
            return self
        self.directory.mkdir(parents=True, exist_ok=True)
        parent = os.getpid() if _lives_as_long_as_the_process() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-ISc", _LAUNCHER, str(parent), *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self._environment,
                start_new_session=True,
            )
        _started.add(self)
        return self

    def wait_ready(self, ready: Callable[[], bool], deadline: float = 60.0) -> Self:
        """Wait until `ready()` is true; at most `deadline` seconds.

        An OSError (refused, reset, TLS alert) of `ready` means not yet.

        Raises:
            ServerFailed: it ended, or it was not ready in time.
        """
        end = time.monotonic() + deadline
        problem: OSError | None = None
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                raise ServerFailed(self._report("ended by itself"))
            try:
                if ready():
                    return self
            except OSError as error:
                problem = error
            time.sleep(POLL_INTERVAL)
        raise ServerFailed(self._report(f"was not ready within {deadline:g} s ({problem})"))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server itself."""
        os.kill(self.pid, number)

    def stop(self, grace: float = 30.0) -> None:
        """SIGTERM, and SIGKILL for what is left of its group after `grace` seconds."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to its whole group, and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _started.discard(self)

    def restart(self) -> Self:
        """Stop and start; `wait_ready` again afterwards."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def tail(self) -> str:
        """The last lines of the log."""
        if not self.log.exists():
            return "(no log)"
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def _report(self, what: str) -> str:
        process = self._process
        code = process.poll() if process else None
        status = f", exit status {code}" if code is not None else ""
        return f"{self.name} {what}{status}; {self.log} ends with:\n{self.tail()}"


def _lives_as_long_as_the_process() -> bool:
    return threading.current_thread() is threading.main_thread()


_started: weakref.WeakSet[ServerProcess] = weakref.WeakSet()


@atexit.register
def _kill_what_is_left() -> None:
    for server in list(_started):
        server.kill()
