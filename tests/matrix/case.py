"""A row of the matrix as something that can be published and looked for on a real server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.matrix.publishing import Edition, Material, Publication


class Case(Protocol):
    """One material of one program.

    `process` is the one of the bed that reads it, `evidence` what is looked at, `interval` how
    many seconds lie between two looks.
    """

    program: str
    material: str
    process: str
    evidence: str
    interval: float

    def publish(self) -> Publication | None:
        """Give it something new; None where nothing is on disk."""

    def uses_new(self) -> bool:
        """Whether the process was seen to use what was published last; OSError means no."""

    def uses_old(self) -> bool:
        """Whether the process was seen to use what was published before that."""


@dataclass(kw_only=True)
class FileCase:
    """Files that certrotd's store writes; `used` says whether an edition is in use."""

    program: str
    material: str
    process: str = ""
    evidence: str
    files: Material
    used: Callable[[Edition], bool]
    interval: float = 0.02
    before: Edition = field(init=False)

    def __post_init__(self) -> None:
        self.process = self.process or self.program
        self.before = self.files.edition

    def publish(self) -> Publication:
        """Publish the next edition."""
        self.before = self.files.edition
        return self.files.renew()

    def uses_new(self) -> bool:
        """Whether the newest edition is used."""
        return self.used(self.files.edition)

    def uses_old(self) -> bool:
        """Whether the one before is."""
        return self.used(self.before)


@dataclass(kw_only=True)
class MemoryCase:
    """What a process makes for itself at its start: nothing is published, `shown` is looked at.

    `before` is what it showed when a publication would have been; empty until then.
    """

    program: str
    material: str
    process: str = ""
    evidence: str
    shown: Callable[[], str]
    interval: float = 0.1
    before: str = ""

    def __post_init__(self) -> None:
        self.process = self.process or self.program

    def publish(self) -> None:
        """Remember what there is."""
        self.before = self.shown()

    def uses_new(self) -> bool:
        """Whether it is another than remembered."""
        return self.shown() != self.before

    def uses_old(self) -> bool:
        """Whether it is the remembered one."""
        return not self.uses_new()
