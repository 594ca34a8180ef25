"""A stop event that nobody waits for in real time."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes.clock import FakeClock


class FakeStop(threading.Event):
    """Waiting moves the clock; the waits are kept. `after` ends them by setting itself."""

    def __init__(self, clock: FakeClock, after: int | None = None) -> None:
        super().__init__()
        self._clock = clock
        self._after = after
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self._clock.advance(timedelta(seconds=timeout or 0.0))
        if self._after is not None and len(self.waits) >= self._after:
            self.set()
        return self.is_set()
