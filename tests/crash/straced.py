"""Publishing, killed or failed by strace at the real system calls of a real process.

The in-process sweeps see what Python asks the os module for; here the kernel's own calls count.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.adapters.store import GenerationStore
from tests.crash import oracle
from tests.factories import NOW, Lab, make_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.sweeps import Tally

PUBLISHER = (sys.executable, "-B", "-m", "tests.crash.publisher")
KILLED = (
    "openat", "mkdirat", "write", "fsync", "fchmod", "renameat", "symlinkat", "unlinkat", "close",
)  # fmt: skip
FAILED = {
    "openat": (errno.EMFILE, errno.ENOMEM, errno.EINTR),
    "mkdirat": (errno.ENOSPC, errno.EDQUOT),
    "write": (errno.ENOSPC, errno.EIO, errno.EINTR),
    "fsync": (errno.EIO, errno.EDQUOT),
    "fchmod": (errno.EROFS,),
    "renameat": (errno.ENOSPC, errno.EROFS),
    "symlinkat": (errno.ENOSPC,),
}
LATER = NOW + timedelta(hours=2)


class NoTracing(Exception):
    """There is no strace here, or it may not trace."""


def sweep(root: Path, tally: Tally, stride: int) -> Tally:
    """Kill and fail at every `stride`th system call after the mark.

    Raises:
        NoTracing: strace cannot be used.
    """
    before, total = _counts(root)
    after = {name: range(before[name] + 1, total[name] + 1) for name in total}
    points = [(name, f"signal=KILL:when={n}") for name in KILLED for n in after.get(name, ())]
    points += [
        (name, f"error={errno.errorcode[code]}:when={n}")
        for name, codes in FAILED.items()
        for code in codes
        for n in after.get(name, ())
    ]
    points += [("write", f"retval=1:when={n}") for n in range(before["write"] + 1, total["write"])]
    for name, what in points[::stride]:
        _prepare(root)
        ended = _trace(root, "-e", f"trace={name}", "-e", f"inject={name}:{what}")
        where = f"publish, {name}:{what}"
        if not (root / "mark").exists():
            tally.add(where, ["it ended before the mark"])
        elif "KILL" in what and (root / "end").exists():
            tally.add(where, ["nothing was killed"])
        else:
            lied = "retval" in what
            tally.add(where, _faults(root, killed_or_lied=lied or ended.returncode != 0))
    return tally


def _faults(root: Path, *, killed_or_lied: bool) -> list[str]:
    spec = make_spec(root / "pki")
    found = [*oracle.held(spec).faults, *oracle.exposed(root, [spec])]
    if not killed_or_lied and not (root / "end").exists():
        found.append("it ended well without its end")
    store = GenerationStore(str(root / "state" / "history"), keep=3)
    published = store.publish(Lab().issue(spec), LATER)
    store.retire(spec, LATER)
    found += [*oracle.held(spec).faults, *oracle.litter(root)]
    if oracle.serial_of(oracle.held(spec).leaf) != published.serial:
        found.append("the next publication is not shown")
    return found


def _counts(root: Path) -> tuple[Counter[str], Counter[str]]:
    """Count the calls before the mark and to the end."""
    if shutil.which("strace") is None:
        raise NoTracing("strace is not installed")
    _prepare(root)
    record = root.with_name("record")
    _trace(root, "-e", f"trace={','.join({*KILLED, *FAILED})}", record=str(record))
    if not (root / "end").exists():
        raise NoTracing("strace may not trace here")
    before: Counter[str] = Counter()
    total: Counter[str] = Counter()
    marked = False
    for line in record.read_text().splitlines():
        marked = marked or f'"{root}/mark"' in line
        if call := re.match(r"(?:\d+\s+)?(\w+)\(", line):
            total[call[1]] += 1
            before[call[1]] += not marked
    # The call that makes the mark is before it, and so is closing it.
    before["openat"] += 1
    before["close"] += 1
    return before, total


def _trace(root: Path, *options: str, record: str = os.devnull) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["strace", "-f", "-qq", "-o", record, *options, *PUBLISHER, str(root), "publish"],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


def _prepare(root: Path) -> None:
    saved = root.with_name("saved-publisher")
    shutil.rmtree(root, ignore_errors=True)
    if not saved.exists():
        # At its final place, which the manifests name.
        subprocess.run([*PUBLISHER, str(root), "prepare"], check=True)
        root.rename(saved)
    shutil.copytree(saved, root, symlinks=True)
