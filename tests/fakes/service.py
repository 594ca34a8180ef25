"""A component's process that does as the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.errors import ActivationFailed
from certrotd.core.model import ServiceState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class FakeService:
    """Counts its activations and calls `on_activate` for each; `failures` next ones fail."""

    def __init__(
        self,
        state: ServiceState = ServiceState.RUNNING,
        on_activate: Callable[[], None] | None = None,
    ) -> None:
        self.is_now = state
        self.on_activate = on_activate
        self.failures = 0
        self.activations = 0
        self.started_at: datetime | None = None

    def state(self) -> ServiceState:
        return self.is_now

    def started(self) -> datetime | None:
        return self.started_at

    def activate(self) -> None:
        if self.failures:
            self.failures -= 1
            raise ActivationFailed("the fake service was told to fail", component="fake")
        self.activations += 1
        if self.on_activate:
            self.on_activate()
