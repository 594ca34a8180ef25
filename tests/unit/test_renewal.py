"""When: daily slots and the share of a life that is left."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from certrotd.core import renewal
from certrotd.core.model import Schedule

DAY = timedelta(days=1)
schedules = st.builds(
    Schedule,
    daily_at=st.times().map(lambda each: each.replace(second=0, microsecond=0, fold=0)),
    splay=st.timedeltas(timedelta(0), DAY - timedelta(seconds=1)),
)
offsets = st.timedeltas(timedelta(0), DAY - timedelta(seconds=1))
moments = st.timedeltas(timedelta(0), timedelta(days=60_000)).map(
    lambda each: datetime(1980, 1, 1, tzinfo=UTC) + each
)


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(schedules, offsets, moments)
def test_now_lies_between_the_latest_slot_and_the_next(
    schedule: Schedule, offset: timedelta, now: datetime
) -> None:
    latest = renewal.latest_slot(schedule, offset, now)
    following = renewal.next_slot(schedule, offset, now)
    assert latest <= now < following
    assert following - latest == DAY


@given(schedules, offsets, moments)
def test_a_slot_is_its_own_latest_slot(
    schedule: Schedule, offset: timedelta, now: datetime
) -> None:
    latest = renewal.latest_slot(schedule, offset, now)
    following = renewal.next_slot(schedule, offset, now)
    assert renewal.latest_slot(schedule, offset, latest) == latest
    assert renewal.latest_slot(schedule, offset, following) == following
    assert renewal.latest_slot(schedule, offset, following - timedelta(microseconds=1)) == latest


@given(schedules, offsets, moments)
def test_a_slot_keeps_its_time_of_day_all_year(
    schedule: Schedule, offset: timedelta, now: datetime
) -> None:
    latest = renewal.latest_slot(schedule, offset, now)
    begin = latest - offset
    assert begin.time() == schedule.daily_at
    assert latest.tzinfo is UTC


@given(schedules, offsets, moments, st.integers(-23, 23))
def test_the_zone_that_now_is_told_in_does_not_matter(
    schedule: Schedule, offset: timedelta, now: datetime, hours: int
) -> None:
    elsewhere = now.astimezone(timezone(timedelta(hours=hours)))
    assert renewal.latest_slot(schedule, offset, elsewhere) == renewal.latest_slot(
        schedule, offset, now
    )


@given(schedules, offsets, moments, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_time_passing_never_brings_an_earlier_slot(
    schedule: Schedule, offset: timedelta, now: datetime, later: timedelta
) -> None:
    first = renewal.latest_slot(schedule, offset, now)
    second = renewal.latest_slot(schedule, offset, now + later)
    assert second >= first
    assert (second - first) % DAY == timedelta(0)
    assert abs((second - first) - later) < DAY


@pytest.mark.parametrize(
    ("now", "offset", "expected"),
    [
        ("2028-02-29T03:16:59", 0, "2028-02-28T03:17:00"),  # leap day
        ("2028-02-29T03:17:00", 0, "2028-02-29T03:17:00"),
        ("2028-03-01T03:16:00", 0, "2028-02-29T03:17:00"),
        ("2027-03-01T00:00:00", 0, "2027-02-28T03:17:00"),
        ("2027-01-01T00:00:00", 0, "2026-12-31T03:17:00"),  # year end
        ("2027-01-01T02:00:00", 23, "2026-12-31T02:17:00"),  # an offset over midnight
        ("2027-01-01T02:17:00", 23, "2027-01-01T02:17:00"),
        ("2026-03-29T01:30:00", 0, "2026-03-28T03:17:00"),  # the night clocks change in Europe
        ("2026-03-29T03:17:00", 0, "2026-03-29T03:17:00"),
        ("2026-10-25T03:17:00", 0, "2026-10-25T03:17:00"),
    ],
)
def test_the_calendar_s_corners(now: str, offset: int, expected: str) -> None:
    schedule = Schedule(daily_at=time(3, 17), splay=timedelta(0))
    assert renewal.latest_slot(schedule, timedelta(hours=offset), at(now)) == at(expected)


@given(st.text(), st.text(), st.timedeltas(timedelta(0), DAY))
@example("kubernetes", "master-1", timedelta(0))
@example("kubernetes", "master-1", timedelta(milliseconds=999))
def test_a_node_s_offset_lies_inside_the_splay_and_never_changes(
    cluster: str, node: str, splay: timedelta
) -> None:
    offset = renewal.splay_offset(cluster, node, splay)
    assert timedelta(0) <= offset <= splay
    assert offset < splay or offset == timedelta(0)
    assert renewal.splay_offset(cluster, node, splay) == offset


def test_an_offset_is_the_same_in_every_release() -> None:
    splay = timedelta(minutes=30)
    told = [renewal.splay_offset("production", f"master-{n}", splay) for n in (1, 2, 3)]
    assert [each.total_seconds() for each in told] == [502.0, 1102.0, 536.0]


def test_nodes_and_clusters_are_kept_apart() -> None:
    splay = timedelta(hours=12)
    names = [("a", "bc"), ("ab", "c"), ("", "abc"), *(("x", f"node-{n}") for n in range(100))]
    assert len({renewal.splay_offset(*each, splay) for each in names}) > 100


@given(moments, st.timedeltas(timedelta(seconds=1), timedelta(days=3650)))
def test_a_third_of_its_life_before_its_end_a_certificate_is_expiring(
    begin: datetime, life: timedelta
) -> None:
    moment = renewal.expiring_at(begin, begin + life)
    assert begin < moment < begin + life
    assert abs((begin + life - moment) - life / 3) < timedelta(milliseconds=1)
