"""A machine inside the machine: namespaces that take every change and every process with them."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from tests.testbed import nodeinit
from tests.testbed.processes import POLL_INTERVAL, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ROOT = Path(__file__).parents[2]
_CLONE_NEWNET = 0x40000000
_BOOT = 30.0
_COMMAND = 120.0
_END = 30.0
"""Time limits in seconds: to set up, for one command, and to end."""

P = ParamSpec("P")
T = TypeVar("T")


class Namespaces:
    """Mount, network, PID and UTS namespaces of their own; a context manager.

    The host's files are there, what is changed lands below `directory` (see nodeinit.py). Nothing
    of it outlives this process: its init is killed with it, and with init all that runs inside.
    """

    def __init__(self, directory: Path, *, name: str, address: str) -> None:
        """`name` becomes the host name, `address` one of the machine's own addresses."""
        self.directory = directory
        self.address = address
        argv: tuple[str | Path, ...] = (
            "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child=KILL", "--",
            sys.executable, "-IS", nodeinit.__file__, directory, name, address,
        )  # fmt: skip
        self._init = ServerProcess(
            "init", [_program("unshare"), *argv], directory=directory / "logs"
        )
        self._pid = 0
        self._processes: list[ServerProcess] = []
        self._inside: ThreadPoolExecutor | None = None

    def start(self) -> Self:
        """Set everything up.

        Raises:
            ServerFailed: it could not be; the message says why.
        """
        said = nodeinit.pidfile(self.directory)
        said.unlink(missing_ok=True)
        self._init.start().wait_ready(said.exists, _BOOT)
        self._pid = int(said.read_text())
        self._inside = ThreadPoolExecutor(1, "inside", initializer=self.enter_network)
        return self

    def stop(self) -> None:
        """Kill everything inside, wait until it is gone, and remove what only it could use."""
        if self._inside:
            self._inside.shutdown()
            self._inside = None
        self._kill()
        while self._processes:
            self._processes.pop().kill()
        for name in ("changed", "work", "settings"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        shutil.rmtree(nodeinit.own(self.directory, "/var/lib/containerd"), ignore_errors=True)

    def _kill(self) -> None:
        """Kill the node's init first: its parent then reaps it, and nothing stays of it."""
        pid, self._pid = self._pid, 0
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + _END
        # It is over only when the last process inside is.
        while pid and self._init.running and time.monotonic() < end:
            time.sleep(POLL_INTERVAL)
        self._init.kill()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def argv(self, *command: str | os.PathLike[str]) -> list[str]:
        """The command that runs this command inside."""
        entered = ("--mount", "--net", "--pid", "--uts", f"--wd={self.directory}")
        target = f"--target={self._pid}"
        return [_program("nsenter"), target, *entered, "--", *(os.fspath(each) for each in command)]

    def process(self, name: str, *command: str | os.PathLike[str]) -> ServerProcess:
        """A server that runs inside; stopping it is a SIGKILL."""
        made = ServerProcess(name, self.argv(*command), directory=self.directory / "logs")
        self._processes.append(made)
        return made

    def run(
        self,
        *command: str | os.PathLike[str],
        environment: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = _COMMAND,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end, at most `timeout` seconds, with a clean environment.

        Raises:
            TimeoutExpired: it took longer.
            AssertionError: `check`, and its exit status was not 0.
        """
        done = subprocess.run(
            self.argv(*command),
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory), "LANG": "C.UTF-8"}
            | {"PYTHONPATH": str(_ROOT)} | dict(environment or {}),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=timeout,
        )  # fmt: skip
        if check and done.returncode:
            shown = " ".join(os.fspath(each) for each in command)
            raise AssertionError(
                f"{shown}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def path(self, inside: str) -> Path:
        """A file of the node, as this process reaches it; gone when the node is."""
        return Path(f"/proc/{self._pid}/root{inside}")

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function whose connections are made inside; its files are the host's."""
        if self._inside is None:
            raise RuntimeError(f"{self.directory} was not started")
        return self._inside.submit(function, *args, **kwargs).result()

    def enter_network(self) -> None:
        """Move this thread's future connections into the node, for good; never the main thread.

        Raises:
            OSError: it is not possible.
        """
        with Path(f"/proc/{self._pid}/ns/net").open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))


def _program(name: str) -> str:
    """An absolute path: servers are executed without a search."""
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found
