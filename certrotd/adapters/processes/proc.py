"""Processes as the kernel shows them: proc(5) and pidfd_open(2)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NAME_LENGTH = 15
"""The kernel keeps no more of a process's name (TASK_COMM_LEN without its null byte)."""
TICK = timedelta(seconds=1 / os.sysconf("SC_CLK_TCK"))
"""Start times are cut off to this: the true one lies in [started, started + TICK)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A live process; `started` is exact to TICK and moves with the wall clock when it is set.

    `ticks` is the same since the machine was started, and does not.
    """

    pid: int
    name: str
    started: datetime
    ticks: int

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
    return Process(pid=pid, name=head.partition("(")[2], started=started, ticks=ticks)


def in_control_group(group: str, name: str) -> tuple[int, ...]:
    """Return the processes called `name` in the control group `group` or below it.

    Read process by process, as that is the same for both versions of control groups.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):  # ended meanwhile, or hidden from us (hidepid=)
            process = look_up(int(entry.name))
            if process is not None and process.is_named(name) and _belongs(process.pid, group):
                found.append(process.pid)
    return tuple(sorted(found))


def _belongs(pid: int, group: str) -> bool:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    # `number:controllers:path`; systemd's own hierarchy is `0::` (v2) or `n:name=systemd:` (v1).
    ours = [line.split(":", 2) for line in lines]
    return any(
        path == group or path.startswith(f"{group.rstrip('/')}/")
        for _, controllers, path in ours
        if controllers in ("", "name=systemd")
    )


def send(pid: int, signal_name: str, is_right: Callable[[], bool]) -> None:
    """Send the signal called `HUP`, `USR1`, … to a process, if `is_right` then says so.

    Asked after the process was pinned by a descriptor: whatever happens to the id later, the
    signal goes to the process that was looked at or to none.

    Raises:
        ProcessLookupError: the process is gone, or not the right one.
        OSError: it may not be told.
    """
    descriptor = os.pidfd_open(pid)
    try:
        if not is_right():
            raise ProcessLookupError
        signal.pidfd_send_signal(descriptor, signal.Signals[f"SIG{signal_name}"])
    finally:
        os.close(descriptor)
