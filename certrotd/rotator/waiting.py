"""Looking: at several things at once, and again and again until what should hold holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from certrotd.core.model import Evidence
    from certrotd.rotator.world import World

_T = TypeVar("_T")

LONGEST_POLL = 1.0
"""No pause between two looks is longer, in seconds."""


def wait_until_held(
    world: World, checks: tuple[Callable[[], Evidence], ...], limit: float, settle: float = 0.0
) -> tuple[Evidence, ...]:
    """Look until everything has held for `settle` seconds, or does not hold after `limit` seconds.

    Returns what was seen last; pauses grow from the poll bound to LONGEST_POLL.
    """
    clock, pause = world.clock, world.bounds.poll
    deadline = clock.monotonic() + limit
    held_since: float | None = None
    while True:
        evidence = tuple(check() for check in checks)
        now = clock.monotonic()
        if all(each.holds for each in evidence):
            held_since = now if held_since is None else held_since
            if not checks or now - held_since >= settle:
                return evidence
        elif now >= deadline:
            return evidence
        else:
            held_since = None
        clock.sleep(pause)
        pause = min(pause * 1.5, LONGEST_POLL)


def together(calls: Sequence[Callable[[], _T]], name: str) -> tuple[_T, ...]:
    """Make calls that wait for others at the same time; return what they return, in order."""
    if len(calls) < 2:  # noqa: PLR2004  # one needs no threads
        return tuple(call() for call in calls)
    # Imported here because a node without proofs need not wait for it.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor(len(calls), thread_name_prefix=name) as pool:
        return tuple(pool.map(lambda call: call(), calls))
