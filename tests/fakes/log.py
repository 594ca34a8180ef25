"""A log that remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certrotd.ports import Event


class RecordingLog:
    """Keeps every event and its facts, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[Event, dict[str, Any]]] = []

    def __call__(self, event: Event, /, **facts: object) -> None:
        self.lines.append((event, facts))

    @property
    def events(self) -> list[Event]:
        """The events alone."""
        return [event for event, _ in self.lines]

    def of(self, event: Event) -> list[dict[str, Any]]:
        """The facts of each time `event` happened."""
        return [facts for each, facts in self.lines if each is event]
