"""Whole rotations and the store's work, killed or failed by strace at the kernel's own calls.

The in-process sweeps see what Python asks the os module for; here what the process asks the kernel
for counts: also what libraries do by themselves, and its talk with components. Meanwhile a
consumer looks all the time.

strace counts the calls of each name and of each thread apart: a point is the nth call of a name in
whichever thread is the first to make it.
"""

from __future__ import annotations

import errno
import mmap
import os
import pickle
import re
import select
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certrotd.core.errors import CertrotdError
from tests.systemd.prerequisites import lacking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crash.sweeps import Tally

KILLED = (
    "openat", "mkdir", "mkdirat", "write", "pwrite64", "fsync", "fdatasync", "close", "fchmod",
    "fchmodat", "fchown", "fchownat", "fsetxattr", "setxattr", "rename", "renameat", "renameat2",
    "symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "ftruncate", "flock", "connect",
    "sendto", "shutdown", "kill", "pidfd_send_signal",
)  # fmt: skip
"""Calls after which files, locks or other processes are not what they were."""
FAILED = {
    "openat": (errno.EMFILE, errno.ENOMEM, errno.EINTR, errno.EACCES),
    "mkdir": (errno.ENOSPC, errno.EDQUOT),
    "mkdirat": (errno.ENOSPC, errno.EDQUOT),
    "write": (errno.ENOSPC, errno.EIO, errno.EINTR),
    "fsync": (errno.EIO, errno.EDQUOT),
    "fdatasync": (errno.EIO,),
    "fchmod": (errno.EROFS,),
    "fchown": (errno.EPERM,),
    "rename": (errno.ENOSPC, errno.EROFS),
    "renameat": (errno.ENOSPC, errno.EROFS),
    "symlinkat": (errno.ENOSPC,),
    "unlinkat": (errno.EROFS,),
    "newfstatat": (errno.EIO, errno.ENOMEM),
    "getdents64": (errno.EIO,),
    "flock": (errno.EINTR, errno.ENOLCK),
    "socket": (errno.EMFILE,),
    "connect": (errno.ECONNREFUSED, errno.ENETUNREACH),
}
PATIENCE = 60.0
"""How long, in seconds, strace may take to attach, and a play to end."""
_AGAIN = re.compile("two generations|another certificate|mixed")
"""What a reader may see between two looks (G4), so that it counts if it is seen twice."""
_AFTERWARDS = "unfinished"
"""What counts when the play is over: who gives a finished generation up begins with MANIFEST."""
_TRACER = re.compile(r"^State:\s+t.*^TracerPid:\s+[1-9]", re.DOTALL | re.MULTILINE)


class NoTracing(Exception):
    """There is no strace here, or it may not trace."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What is played and who looks at it; what they return is what they find wrong.

    `told` compares what `act` returned with what is there; `look` is what a consumer sees at any
    time; `mend` lets a new process go on. strace writes to `record`.
    """

    name: str
    prepare: Callable[[], None]
    act: Callable[[], object]
    told: Callable[[Any], list[str]]
    look: Callable[[], list[str]]
    mend: Callable[[], list[str]]
    record: Path


def kills(stage: Stage, tally: Tally, stride: int) -> Tally:
    """Kill the process before every `stride`th of its calls.

    Raises:
        NoTracing: strace cannot be used.
    """
    for name, number in _points(stage, KILLED)[::stride]:
        stage.prepare()
        found, status = _play(stage, "-e", f"inject={name}:signal=KILL:when={number}")
        if status == 0 and not found:
            continue  # threads and sockets do not make as many calls each time: it came to its end
        if not os.WIFSIGNALED(status):
            found.append(f"its process was not killed and ended with status {status}")
        where = f"{stage.name}, killed before {name} number {number}"
        tally.add(where, [*found, *stage.look(), *stage.mend()])
    return tally


def errors(stage: Stage, tally: Tally, stride: int) -> Tally:
    """Let every `stride`th of its calls fail once.

    Raises:
        NoTracing: strace cannot be used.
    """
    points = [
        (name, number, code)
        for name, number in _points(stage, tuple(FAILED))
        for code in FAILED[name]
    ]
    for name, number, code in points[::stride]:
        stage.prepare()
        what = f"inject={name}:error={errno.errorcode[code]}:when={number}"
        found, status = _play(stage, "-e", what)
        where = f"{stage.name}, {errno.errorcode[code]} in {name} number {number}"
        if status:
            found.append(f"its process ended with status {status}")
        tally.add(where, [*found, *stage.look(), *stage.mend()])
    return tally


def _points(stage: Stage, names: tuple[str, ...]) -> list[tuple[str, int]]:
    """Play it undisturbed; return every call of these names, numbered for each name."""
    if why := lacking("strace", "strace"):
        raise NoTracing(why)
    # What is imported late is imported by then, so that no import is interrupted.
    stage.prepare()
    stage.act()
    stage.prepare()
    stage.record.unlink(missing_ok=True)
    found, status = _play(stage, "-e", f"trace={','.join(f'?{each}' for each in names)}")
    assert (found, status) == ([], 0), f"undisturbed: {found}, status {status}"
    counts: Counter[tuple[str, str]] = Counter()
    for line in stage.record.read_text().splitlines():
        if call := re.match(r"(\d+)\s+(\w+)\(", line):
            counts[call[2], call[1]] += 1
    most = {name: max(n for (each, _), n in counts.items() if each == name) for name, _ in counts}
    return [(name, n) for name in names for n in range(1, most.get(name, 0) + 1)]


def _play(stage: Stage, *options: str) -> tuple[list[str], int]:
    """Play it in a traced child; return what was seen or said wrongly, and how the child ended."""
    with mmap.mmap(-1, 1 << 20) as memory:
        child = os.fork()
        if child == 0:
            _be_played(stage, memory)
        os.waitpid(child, os.WUNTRACED)
        with _tracing(child, stage.record, *options):
            os.kill(child, signal.SIGCONT)
            found, status = _watched(stage, child)
        if status == 0:
            refused, said = pickle.loads(memory)
            found += [refused] if refused else stage.told(said)
    return found, status


def _be_played(stage: Stage, memory: mmap.mmap) -> None:
    """Be the child: wait to be traced, play, leave what was said in memory: that needs no call."""
    status = 1
    try:
        os.kill(os.getpid(), signal.SIGSTOP)
        memory.write(pickle.dumps(_played(stage)))
        status = 0
    finally:
        os._exit(status)  # a child must never return into pytest


def _played(stage: Stage) -> tuple[str, object]:
    try:
        return "", stage.act()
    except CertrotdError:
        return "", None
    except Exception as e:  # noqa: BLE001  # any other exception is what is looked for
        return f"not translated: {type(e).__name__}: {e}", None


@contextmanager
def _tracing(child: int, record: Path, *options: str) -> Iterator[None]:
    """Attach strace to a child that has stopped itself."""
    command = ["strace", "-f", "-qq", "-o", str(record), *options, "-p", str(child)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        status, deadline = Path(f"/proc/{child}/status"), time.monotonic() + PATIENCE
        # Attached and stopped by it: from here on no call escapes.
        while not _TRACER.search(status.read_text()):
            if tracer.poll() is not None or time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                tracer.kill()
                raise NoTracing(f"strace may not trace here: {tracer.communicate()[1].strip()}")
            time.sleep(0.001)
        yield


def _watched(stage: Stage, child: int) -> tuple[list[str], int]:
    """Look as a consumer until the child has ended; return what was seen and how it ended."""
    found: list[str] = []
    ended, deadline = os.pidfd_open(child), time.monotonic() + PATIENCE
    try:
        while not select.select([ended], [], [], 0.002)[0]:
            first = stage.look()
            second = stage.look() if first else []
            found += [
                each
                for each in first
                if _AFTERWARDS not in each and (each in second or not _AGAIN.search(each))
            ]
            if time.monotonic() > deadline:
                found.append(f"it has not ended after {PATIENCE:g} s")
                os.kill(child, signal.SIGKILL)
                deadline += PATIENCE
    finally:
        os.close(ended)
    return found, os.waitpid(child, 0)[1]
