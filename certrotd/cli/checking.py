"""The monitoring check: one line, performance data, a Nagios exit code.

OK 0, WARNING 1, CRITICAL 2, UNKNOWN 3 (Monitoring Plugins Development Guidelines).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING

from certrotd.cli.tables import moment, span
from certrotd.core import policy, renewal
from certrotd.core.model import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from certrotd.core.model import Observation, Plan

SLOT_GRACE = timedelta(hours=1)
"""A certificate may stay due for so long after its slot before it is worth a warning."""


class Level(IntEnum):
    """How bad it is; the value is the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing a monitoring system should know."""

    level: Level
    text: str


def remarks(
    plan: Plan, held: tuple[str, datetime] | None, warning: timedelta, critical: timedelta
) -> tuple[Remark, ...]:
    """Judge a plan: what is worse than fresh, served and not on hold."""
    found = [each for seen in plan.observations for each in _of(plan, seen, warning, critical)]
    if held:
        found.append(Remark(level=Level.CRITICAL, text=f"on hold since {moment(held[1])}"))
    found += [
        Remark(
            level=Level.WARNING,
            text=f"{step.component.name} was not shown to use what is published",
        )
        for step in plan.steps
        if step.owed
    ]
    return tuple(sorted(found, key=lambda each: -each.level))


def _of(plan: Plan, seen: Observation, warning: timedelta, critical: timedelta) -> Iterator[Remark]:
    if seen.leaf is not None:
        remaining = seen.leaf.not_after - plan.created_at
        for limit, level in ((critical, Level.CRITICAL), (warning, Level.WARNING)):
            if remaining < limit:
                yield Remark(level=level, text=f"{seen.spec.name} ends in {span(remaining)}")
                break
    late = plan.created_at - (plan.next_slot - renewal.DAY) > SLOT_GRACE
    for finding in seen.findings:
        if finding.reason in policy.BROKEN or finding.reason is Reason.NOT_SERVED:
            level = Level.CRITICAL
        elif finding.reason is Reason.DUE and not late:
            continue
        else:
            level = Level.WARNING
        yield Remark(level=level, text=f"{seen.spec.name} is {finding.reason}: {finding.detail}")


def check_data(found: tuple[Remark, ...]) -> dict[str, object]:
    """Return the verdict as data."""
    worst = found[0].level if found else Level.OK
    return {
        "state": worst.name,
        "remarks": [{"state": each.level.name, "text": each.text} for each in found],
    }


def line(plan: Plan, found: tuple[Remark, ...]) -> str:
    """Return the line: state, the worst things, performance data."""
    worst = found[0].level if found else Level.OK
    leaves = [each.leaf for each in plan.observations if each.leaf]
    nearest = min((leaf.not_after - plan.created_at for leaf in leaves), default=timedelta(0))
    text = "; ".join(each.text for each in found) or (
        f"{len(plan.observations)} certificates are fresh, the first ends in {span(nearest)}"
    )
    data = (
        f"certificates={len(plan.observations)} due={len(plan.replacements)}"
        f" remaining={int(nearest.total_seconds())}s"
    )
    return f"CERTROTD {worst.name} - {text} | {data}"
