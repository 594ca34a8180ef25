"""The system's clock; the only module that reads it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading


class SystemClock:
    """Wall clock in UTC, a clock that never jumps, and waiting."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        """`stop` cuts short the sleep during which it is set."""
        self._stop = stop

    def now(self) -> datetime:
        """Return the present time, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251  # this is the one place

    def monotonic(self) -> float:
        """Return seconds of a clock that never jumps."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; returns early when the process is asked to stop meanwhile.

        A stop that was asked for before does not shorten it: the step in hand is still finished,
        and its waits must not turn into a busy loop.
        """
        if self._stop is None or self._stop.is_set():
            time.sleep(max(0.0, seconds))
        else:
            self._stop.wait(max(0.0, seconds))
