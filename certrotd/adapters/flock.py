"""One certrotd at work on a node: a lock that the kernel lifts when its holder dies."""

from __future__ import annotations

import fcntl
import os
import posixpath
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from certrotd.core.errors import LockHeld
from certrotd.durable import let_go, located, make_private_directory, refusal, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certrotd.ports import Clock

_POLL = 0.05
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class FileLock:
    """Implements `ports.Lock` by flock(2).

    The file stays when the lock goes; its text is only for the message of whoever comes second.
    """

    def __init__(self, path: str, *, wait: float = 0.0, clock: Clock) -> None:
        """Say where the file is, and for how many seconds a second comer waits."""
        self._path = path
        self._wait = wait
        self._clock = clock

    @contextmanager
    def hold(self, purpose: str) -> Iterator[None]:
        """Hold the lock for the length of a `with` block.

        Raises:
            LockHeld: another process has it; its holder and purpose are in the error.
            PublishRefused: the file cannot be made.
        """
        make_private_directory(posixpath.dirname(self._path))
        with located(self._path):
            fd = os.open(self._path, _FLAGS, 0o600)
        try:
            self._acquire(fd)
            # Only for people: on a full disk the lock is as good without it.
            with suppress(OSError):
                os.ftruncate(fd, 0)
                write_all(fd, self._holder(purpose).encode())
            yield
        finally:
            let_go(fd)

    def _acquire(self, fd: int) -> None:
        deadline = self._clock.monotonic() + self._wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                before = self._clock.monotonic()
                if before >= deadline:
                    raise self._held(fd) from None
                self._clock.sleep(_POLL)
                if self._clock.monotonic() - before < _POLL / 2:
                    # Woken early: the process is asked to stop.
                    raise self._held(fd) from None
            except OSError as e:
                raise refusal(e, self._path) from e
            else:
                return

    def _holder(self, purpose: str) -> str:
        since = f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ}"
        return f"{os.getpid()} {purpose} {since} {socket.gethostname()}\n"

    def _held(self, fd: int) -> LockHeld:
        text = os.pread(fd, 4096, 0).decode(errors="replace")
        match text.split():
            case [pid, *purpose, since, host] if purpose:
                holder = f"process {pid} on {host} ({' '.join(purpose)}, since {since})"
            case _:
                holder = "another process"
        return LockHeld(
            f"another certrotd is at work: {holder}",
            holder=holder,
            hint="wait for it to finish, or look at what it is doing",
        )
