"""One document laid over another: mappings merge, lists and single values replace, null removes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certrotd.config import section
from certrotd.config.section import is_section, kinds
from certrotd.config.settings import Nothing, Root
from certrotd.config.source import Source

if TYPE_CHECKING:
    from certrotd.config.source import Location


class Overlay:
    """A base and what is laid over it.

    Where kinds exclude one another (`one_of`), a kind named above takes the place of the base's.
    """

    def __init__(self, base: Source, over: Source) -> None:
        self._base = base
        self._over = over
        self._gone: set[Location] = set()

    def result(self) -> Source:
        """Return one document with the places of both; neither of the two is changed."""
        data = self._merged(self._base.data, self._over.data, ())
        kept = {at: mark for at, mark in self._base.marks.items() if not self._is_gone(at)}
        return Source(data, {**kept, **self._over.marks}, self._over.problems)

    def _merged(self, base: dict[str, Any], over: dict[str, Any], at: Location) -> dict[str, Any]:
        result = {**base}
        for key in self._excluded(base, over, at):
            self._drop(result, (*at, key))
        for key, value in over.items():
            here = (*at, key)
            if key not in base:
                result[key] = value
            elif value is None and section.kind_at(Root, here) is not Nothing:
                self._drop(result, here)
            elif isinstance(value, dict) and isinstance(result.get(key), dict):
                result[key] = self._merged(result[key], value, here)
            else:
                self._gone.add(here)
                result[key] = value
        return result

    def _excluded(self, base: dict[str, Any], over: dict[str, Any], at: Location) -> list[str]:
        """Return the keys of the base that a kind named above excludes."""
        kind = section.kind_at(Root, at)
        if not is_section(kind):
            return []
        named = [
            key
            for key in kind.one_of
            if key in over and (over[key] is not None or section.bare(kinds(kind)[key]) is Nothing)
        ]
        return [key for key in kind.one_of if named and key in base and key not in named]

    def _drop(self, result: dict[str, Any], at: Location) -> None:
        result.pop(str(at[-1]), None)
        self._gone.add(at)

    def _is_gone(self, at: Location) -> bool:
        return any(at[:length] in self._gone for length in range(1, len(at) + 1))
