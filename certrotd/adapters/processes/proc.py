"""Processes as the kernel shows them: proc(5) and pidfd_open(2)."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAME_LENGTH = 15
"""The kernel keeps no more of a process's name (TASK_COMM_LEN without its null byte)."""
TICK = timedelta(seconds=1 / os.sysconf("SC_CLK_TCK"))
"""Start times are cut off to this: the true one lies in [started, started + TICK)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A live process; `started` is exact to TICK and moves with the wall clock when it is set."""

    pid: int
    name: str
    started: datetime

    def is_named(self, name: str) -> bool:
        """Whether this is its name, as far as the kernel keeps names."""
        return self.name == name[:NAME_LENGTH]


def look_up(pid: int) -> Process | None:
    """Return the process with this id, or None if there is none or only its exit status.

    Raises:
        OSError: this process may not see it.
    """
    try:
        # surrogateescape: a process may call itself anything.
        stat = Path(f"/proc/{pid}/stat").read_text(errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may itself hold parentheses and blanks.
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    if fields[0] in "ZX":
        return None
    ticks = int(fields[19])  # field 22, starttime: since boot
    # The difference of two clocks rather than btime of /proc/stat, which has whole seconds only.
    boot = time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME)
    started = datetime.fromtimestamp(boot, UTC) + ticks * TICK
    return Process(pid=pid, name=head.partition("(")[2], started=started)


def in_control_group(group: str, name: str) -> tuple[int, ...]:
    """Return the processes called `name` in the control group `group` or below it.

    Read process by process, as that is the same for both versions of control groups.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        process = look_up(int(entry.name))
        if process is not None and process.is_named(name) and _belongs(process.pid, group):
            found.append(process.pid)
    return tuple(sorted(found))


def _belongs(pid: int, group: str) -> bool:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # `number:controllers:path`; systemd's own hierarchy is `0::` (v2) or `n:name=systemd:` (v1).
    ours = [line.split(":", 2) for line in lines]
    return any(
        path == group or path.startswith(f"{group.rstrip('/')}/")
        for _, controllers, path in ours
        if controllers in ("", "name=systemd")
    )


def number(signal_name: str) -> signal.Signals:
    """Return the signal of this name, e.g. `HUP`.

    Raises:
        KeyError: there is none of this name.
    """
    return signal.Signals[f"SIG{signal_name}"]
