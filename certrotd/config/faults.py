"""Where checks put what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from certrotd.config.validation import nearest

if TYPE_CHECKING:
    from collections.abc import Collection

    from certrotd.config.source import Location, Source
    from certrotd.config.validation import Validated
    from certrotd.core.errors import Problem


class Table(NamedTuple):
    """Names that may be referred to: what they name, and where they stand."""

    kind: str
    names: Collection[str]
    at: Location


class Faults:
    """Gathers problems; says nothing about places where validation had to put a stand-in."""

    def __init__(self, source: Source, validated: Validated) -> None:
        self._source = source
        self._validated = validated
        self.problems: list[Problem] = [*validated.problems]

    def add(self, at: Location, message: str, *because: Location) -> None:
        """Record a fault at a location; `because` names others it was concluded from."""
        if not any(self._validated.stands_in(each) for each in (at, *because)):
            self.problems.append(self._source.problem(at, message))

    def reference(self, at: Location, name: str, table: Table, *because: Location) -> bool:
        """Make sure that a name is known; tell the nearest one if not."""
        if name in table.names:
            return True
        if table.at not in self._validated.places:
            self.add(at, f"'{name}' names no {table.kind}{nearest(name, table.names)}", *because)
        return False

    def twice(self, at: Location, values: Collection[object]) -> None:
        """Make sure that a list names nothing twice."""
        seen = set()
        for i, value in enumerate(values):
            if value in seen:
                self.add((*at, i), f"names {value} a second time")
            seen.add(value)
