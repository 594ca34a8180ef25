"""A process that says of itself what the test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certrotd.core.model import RuntimeFacts, SeenFile

if TYPE_CHECKING:
    from datetime import datetime

    from certrotd.core.model import ReadFile


@dataclass(slots=True)
class FakeRuntime:
    """Tells `told`; `seen` holds files by path, all others are old and well."""

    told: RuntimeFacts
    old: datetime
    seen: dict[str, SeenFile] = field(default_factory=dict)
    asked: int = 0

    def facts(self) -> RuntimeFacts:
        self.asked += 1
        return self.told

    def files(self, reads: tuple[ReadFile, ...]) -> tuple[SeenFile, ...]:
        default = {each.path: SeenFile(file=each, changed_at=self.old) for each in reads}
        return tuple((default | self.seen)[each.path] for each in reads)
