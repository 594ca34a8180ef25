"""When: daily slots and what remains of a certificate's life. UTC only; no clock of its own."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certrotd.core.model import Schedule

DAY = timedelta(days=1)

EXPIRING_SHARE = 1 / 3
"""Below this share of its life a certificate is replaced whatever the hour."""


def splay_offset(cluster: str, node: str, splay: timedelta) -> timedelta:
    """Return this node's fixed share of `splay`.

    A hash, not chance: the same after every restart, so that two nodes that do not meet today
    never do, and an operator can look the time up.
    """
    digest = hashlib.sha256(f"{cluster}\0{node}".encode()).digest()
    seconds = int(splay.total_seconds())
    return timedelta(seconds=int.from_bytes(digest[:8], "big") % seconds if seconds else 0)


def latest_slot(schedule: Schedule, offset: timedelta, now: datetime) -> datetime:
    """Return the last slot at or before `now`."""
    today = datetime.combine(now.astimezone(UTC).date(), schedule.daily_at, tzinfo=UTC) + offset
    while today > now:
        today -= DAY
    return today


def next_slot(schedule: Schedule, offset: timedelta, now: datetime) -> datetime:
    """Return the first slot after `now`."""
    return latest_slot(schedule, offset, now) + DAY


def expiring_at(not_before: datetime, not_after: datetime) -> datetime:
    """Return the moment from which a certificate is replaced without waiting for a slot."""
    return not_after - (not_after - not_before) * EXPIRING_SHARE
