"""A clock that stands still until it is told otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """Time passes only by `sleep`, `advance` and `set`; the sleeps are kept in `slept`."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._monotonic = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(timedelta(seconds=max(0.0, seconds)))

    def advance(self, duration: timedelta) -> None:
        """Let time pass."""
        self._now += duration
        self._monotonic += duration.total_seconds()

    def set(self, now: datetime) -> None:
        """Set the wall clock, as NTP or a person would; the other clock does not see it."""
        self._now = now
