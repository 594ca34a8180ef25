"""Waiting until new containers stand in the place of those that were there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from certrotd.adapters.cri.containers import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.adapters.cri.containers import Container, View

STEADY = 1.0
"""How long new containers must run, in seconds: one that refuses its certificate ends at once."""
POLL = 0.1
"""Seconds between two looks."""


class NotBack(Exception):
    """The component did not come back; the text says how far it got."""


class Deadline:
    """The end of one restart, `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; none if it has passed."""
        return max(0.0, self._end - time.monotonic())


def wait_for_successors(
    view: View, known: frozenset[str], names: frozenset[str], deadline: Deadline
) -> None:
    """Wait until none of the containers `known` by id runs, and others of all `names` do, steadily.

    Raises:
        NotBack: a new one ended again, or it took too long.
        Unreachable, Refused: the view's.
    """
    steady: frozenset[str] | None = None
    since = 0.0
    while True:
        seen = [each for each in view.containers() if each.name in names]
        for each in seen:
            if each.id not in known and each.phase is Phase.EXITED:
                raise NotBack(f"new {each} ended again: {view.ending(each)}")
        running = _replaced(seen, known, names)
        if running is None or running != steady:
            if not deadline.left():
                raise NotBack(f"after {deadline.seconds:g} s {_missing(seen, known, names)}")
            steady, since = running, time.monotonic()
        elif time.monotonic() - since >= STEADY:
            return
        time.sleep(POLL)


def _replaced(
    seen: Iterable[Container], known: frozenset[str], names: frozenset[str]
) -> frozenset[str] | None:
    """Return the ids of the new ones if all are there and no old one runs, else None."""
    running = [each for each in seen if each.phase is Phase.RUNNING]
    complete = {each.name for each in running if each.id not in known} == names
    if not complete or any(each.id in known for each in running):
        return None
    return frozenset(each.id for each in running)


def _missing(seen: Iterable[Container], known: frozenset[str], names: frozenset[str]) -> str:
    """Say which container is in the way of success."""
    latest = {each.name: each for each in seen if each.id not in known}
    for each in seen:
        if each.id in known and each.phase is Phase.RUNNING:
            return f"old {each} still runs"
    for name in sorted(names):
        if name not in latest:
            return (
                f"the kubelet has not started another container {name}; it waits 10 s to 5 min "
                "after one that ended repeatedly (CrashLoopBackOff)"
            )
        if latest[name].phase is not Phase.RUNNING:
            return f"new {latest[name]} is {latest[name].phase}"
    return "the new containers change again and again"
