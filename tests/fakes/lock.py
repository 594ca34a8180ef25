"""A lock in memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certrotd.core.errors import LockHeld

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class FakeLock:
    """`holder` is who has it now; a test may set it to play somebody else."""

    holder: str | None = None
    purposes: list[str] = field(default_factory=list)

    @contextmanager
    def hold(self, purpose: str) -> Iterator[None]:
        """Hold it for a block."""
        if self.holder is not None:
            raise LockHeld(f"another certrotd is at work: {self.holder}", holder=self.holder)
        self.holder = f"this test ({purpose})"
        self.purposes.append(purpose)
        try:
            yield
        finally:
            self.holder = None
