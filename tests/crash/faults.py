"""The nth call into the operating system fails, or is the last thing the process does."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHANGING = (
    "open", "mkdir", "write", "fsync", "fdatasync", "close", "fchmod", "fchown", "setxattr",
    "rename", "symlink", "unlink", "rmdir", "ftruncate",
)  # fmt: skip
"""Calls after which the world is another one: a kill is tried before each."""
FAILING = {
    "open": (errno.EACCES, errno.EMFILE, errno.ENOSPC, errno.EROFS, errno.EIO),
    "mkdir": (errno.ENOSPC, errno.EROFS, errno.EDQUOT),
    "write": (errno.ENOSPC, errno.EIO, errno.EDQUOT),
    "fsync": (errno.EIO, errno.ENOSPC),
    "fdatasync": (errno.EIO,),
    "close": (errno.EIO, errno.EDQUOT),
    "fchmod": (errno.EPERM,),
    "fchown": (errno.EPERM,),
    "setxattr": (errno.ENOTSUP,),
    "getxattr": (errno.ENOTSUP,),
    "rename": (errno.ENOSPC, errno.EROFS, errno.EACCES),
    "symlink": (errno.ENOSPC, errno.EROFS),
    "readlink": (errno.EIO,),
    "unlink": (errno.EROFS, errno.EACCES),
    "rmdir": (errno.EIO,),
    "listdir": (errno.EIO,),
    "read": (errno.EIO,),
    "stat": (errno.EIO,),
    "fstat": (errno.EIO,),
    "posix_fadvise": (errno.EINVAL,),
}
"""What each call may plausibly say."""


@dataclass(slots=True)
class Fault:
    """Does `act` in the place of call number `at`, counted from 1; 0 only counts."""

    at: int
    act: Callable[[str], None]
    calls: list[str] = field(default_factory=list)

    def strike(self, name: str) -> None:
        """Count a call; it may be the one."""
        self.calls.append(name)
        if len(self.calls) == self.at:
            self.act(name)


@contextmanager
def injected(fault: Fault, names: tuple[str, ...]) -> Iterator[None]:
    """Put the fault before the named calls of the os module."""
    real = {name: getattr(os, name) for name in names}

    def wrap(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                fault.strike(name)
            except OSError:
                if name == "close":
                    # Linux closes the descriptor whatever close(2) says.
                    real[name](*args, **kwargs)
                raise
            return real[name](*args, **kwargs)

        return call

    for name in names:
        setattr(os, name, wrap(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def count(work: Callable[[], object], names: tuple[str, ...]) -> list[str]:
    """Run to the end and return the calls that were made."""
    fault = Fault(0, lambda _name: None)
    with injected(fault, names):
        work()
    return fault.calls


def failing(at: int, code: int) -> Fault:
    """Let call number `at` fail."""

    def act(_name: str) -> None:
        raise OSError(code, os.strerror(code))

    return Fault(at, act)


def killed(at: int, work: Callable[[], object]) -> bool:
    """Run in a child that is killed before call number `at`; False if it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            fault = Fault(at, lambda _name: os.kill(os.getpid(), signal.SIGKILL))
            with injected(fault, CHANGING):
                work()
        except BaseException:  # noqa: BLE001  # a child must never return into pytest
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
