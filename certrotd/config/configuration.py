"""What the rest of certrotd gets to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.config.settings import Root
    from certrotd.core.model import Component, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A complete, checked configuration.

    `settings` is what the composition root builds adapters from; `components` is what the
    rotator works on, in the order of the file.
    """

    path: Path
    node: str
    settings: Root
    components: tuple[Component, ...]
    schedule: Schedule
