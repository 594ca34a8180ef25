"""Components that need no telling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.model import ServiceState

if TYPE_CHECKING:
    from datetime import datetime


class PassiveService:
    """For `reload` and `none`: the process looks after itself, the proofs show whether it did."""

    def state(self) -> ServiceState:
        """Return UNKNOWN: nobody keeps it."""
        return ServiceState.UNKNOWN

    def started(self) -> datetime | None:
        """Return None: its process is not known."""

    def activate(self) -> None:
        """Do nothing."""
