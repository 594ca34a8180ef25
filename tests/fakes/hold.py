"""A hold in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(slots=True)
class FakeHold:
    """`present` is reason and time."""

    present: tuple[str, datetime] | None = None

    def place(self, reason: str, at: datetime) -> None:
        """Hold; the first reason stays."""
        if self.present is None:
            self.present = (reason, at)

    def placed(self) -> tuple[str, datetime] | None:
        """Return the present hold."""
        return self.present

    def lift(self) -> None:
        """Go on."""
        self.present = None
