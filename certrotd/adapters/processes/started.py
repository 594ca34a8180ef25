"""The proof by age: a process that started after a publication has read what was published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.model import Evidence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from certrotd.core.model import CertificateName, Expectation


def compare(
    source: str,
    who: str,
    started: datetime,
    precision: timedelta,
    expected: Mapping[CertificateName, Expectation],
) -> Evidence:
    """Judge a process whose true start lies in [started, started + precision)."""
    published = max(each.published_at for each in expected.values())
    told = f"{who} started at {_moment(started)}"
    if started > published:
        return Evidence(source=source, holds=True, detail=f"{told}, after {_moment(published)}")
    if started + precision > published:
        detail = f"{told}, too close to the publication at {_moment(published)} to tell"
        return Evidence(source=source, holds=False, detail=detail)
    detail = f"{told}, before the publication at {_moment(published)}"
    return Evidence(source=source, holds=False, detail=detail, stale=True)


def nothing_expected(source: str) -> Evidence:
    """Say that there is nothing to prove yet."""
    return Evidence(source=source, holds=False, detail="nothing has been published yet")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
