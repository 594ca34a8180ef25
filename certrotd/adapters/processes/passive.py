"""Components that need no telling."""

from __future__ import annotations

from certrotd.core.model import ServiceState


class PassiveService:
    """For `reload` and `none`: the process looks after itself, the proofs show whether it did."""

    def state(self) -> ServiceState:
        """Return UNKNOWN: nobody keeps it."""
        return ServiceState.UNKNOWN

    def activate(self) -> None:
        """Do nothing."""
