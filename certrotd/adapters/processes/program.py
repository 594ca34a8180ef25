"""Running a program to its end: no shell, a clean environment, bounded time and output."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""All that a program gets to see."""
MERCY = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x20\x7f-\x9f]+")


class CannotRun(Exception):
    """The program could not be started; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a program ended; `status` is negative for the signal that ended it.

    `output` and `errors` are the last of standard output and standard error.
    """

    status: int
    output: str
    errors: str
    timed_out: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether it exited with 0 in time."""
        return self.status == 0 and not self.timed_out

    @property
    def broken(self) -> bool:
        """Whether its end says nothing: out of time, killed, or what it calls is missing."""
        return self.timed_out or self.status < 0 or self.status in _SHELL


_SHELL = {
    126: "exit status 126: something it calls is not executable",
    127: "exit status 127: something it calls was not found",
}


def run(command: tuple[str, ...], timeout: float, *, keep: int = 2048) -> Outcome:
    """Run a program to its end, `timeout` seconds and MERCY at most.

    It gets its own session, so that it and its children are ended together. Children that it
    leaves behind when it exits in time are left alone.

    Args:
        command: The program and its arguments.
        timeout: Its time limit in seconds.
        keep: How many bytes to keep of each of its outputs, from the end.

    Raises:
        CannotRun: it could not be started.
    """
    # Imported here because commands that only look run nothing, and it takes 15 ms.
    import subprocess  # noqa: PLC0415

    try:
        process = subprocess.Popen(  # noqa: S603  # a list from the configuration, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as e:
        raise CannotRun(f"{command[0]} cannot be run: {_why(e)}") from e
    with process:
        return _attend(process, timeout, keep)


def check_program(path: str) -> None:
    """Refuse a program that anybody could have replaced.

    Raises:
        CannotRun: it is not there, not given by its absolute path, or writable by others.
    """
    if not path.startswith("/"):
        raise CannotRun(f"{path} is not an absolute path")
    try:
        mode = Path(path).stat().st_mode
    except OSError as e:
        raise CannotRun(f"{path} cannot be run: {_why(e)}") from e
    if mode & stat.S_IWOTH:
        raise CannotRun(f"{path} can be written by everybody and is not run; chmod o-w {path}")


def describe(outcome: Outcome, timeout: float) -> str:
    """Say in words how a program ended."""
    status = outcome.status
    if outcome.timed_out:
        told = f"did not end within {timeout:g} s"
    elif status < 0:
        told = f"was ended by {_signal(-status)}"
    elif status in _SHELL:
        told = _SHELL[status]
    elif status > 128:  # noqa: PLR2004  # how shells report a child's end by a signal
        told = f"exit status {status} (what it called was ended by {_signal(status - 128)})"
    else:
        told = f"exit status {status}"
    said = outcome.errors or outcome.output
    return f"{told}: {said}" if said and not outcome.succeeded else told


def tellable(data: bytes) -> str:
    """Make a program's output fit for a message: printable, and without private keys."""
    text = data.decode(errors="replace").strip()
    if "PRIVATE KEY" in text:
        return "(not shown: there is a private key in it)"
    return _CONTROL.sub(" ", text)


class _Tail:
    """The last bytes of a pipe."""

    def __init__(self, descriptor: int, keep: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self._keep = keep
        self._data = b""

    def drain(self) -> bool:
        """Take what is there; tell whether more may come."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.descriptor, 65536):
                self._data = (self._data + chunk)[-self._keep :]
            return False
        return True

    def text(self) -> str:
        return tellable(self._data)


def _attend(process: Popen[bytes], timeout: float, keep: int) -> Outcome:
    """Read what a program says until it ends, and end its whole group if it is out of time."""
    if process.stdout is None or process.stderr is None:
        raise ValueError("the process has no pipes")
    tails = (_Tail(process.stdout.fileno(), keep), _Tail(process.stderr.fileno(), keep))
    # Its end is watched, not the end of its output: a child left behind may keep that open.
    descriptor = os.pidfd_open(process.pid)
    ended = False
    try:
        ended = _wait(descriptor, tails, timeout)
        if not ended:
            _signal_group(process.pid, signal.SIGTERM)
            _wait(descriptor, tails, MERCY)
    finally:
        if not ended:
            # Not reaped yet, so the id of the group cannot belong to somebody else.
            _signal_group(process.pid, signal.SIGKILL)
        os.close(descriptor)
        status = process.wait()
    for tail in tails:
        tail.drain()
    return Outcome(
        status=status, output=tails[0].text(), errors=tails[1].text(), timed_out=not ended
    )


def _wait(descriptor: int, tails: tuple[_Tail, ...], timeout: float) -> bool:
    """Read until the process ends (True) or the time is up."""
    import select  # noqa: PLC0415  # with subprocess, see `run`

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    for tail in tails:
        poll.register(tail.descriptor, select.POLLIN)
    by_descriptor = {tail.descriptor: tail for tail in tails}
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        ready = [each for each, _ in poll.poll(left * 1000)]
        if descriptor in ready:
            return True
        for each in ready:
            if not by_descriptor[each].drain():
                poll.unregister(each)
    return False


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        # Also what the kernel says when a script's interpreter is missing.
        return "it, or the interpreter its first line names, is not there"
    if isinstance(error, PermissionError):
        return "it is not executable, or its file system is mounted noexec"
    return error.strerror or str(error)
