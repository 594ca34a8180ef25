"""A journal in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.core.errors import CertrotdError
    from certrotd.core.model import Entry


@dataclass(slots=True)
class FakeJournal:
    """`entries` is what was recorded; what is in `failures` is raised by the next appends."""

    entries: list[Entry] = field(default_factory=list)
    failures: list[CertrotdError] = field(default_factory=list)

    def append(self, *entries: Entry) -> None:
        """Record all or none."""
        if self.failures:
            raise self.failures.pop(0)
        self.entries += entries

    def replay(self) -> Iterable[Entry]:
        """Return everything."""
        return tuple(self.entries)
