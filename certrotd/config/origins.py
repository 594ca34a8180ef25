"""Where each value of the effective configuration comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certrotd.config.source import Location, Source

DEFAULT = "default"
HOST_NAME = "host name"
FROM_PRESET = "preset "
"""How the places of a preset begin, where others name a file."""

_FROM_DEFAULTS = {"key", "ttl", "owner", "group"}
"""What certificates and outputs take from the section `defaults`."""


def origins(data: object, source: Source) -> dict[Location, str]:
    """Return the origin of every single value (and empty list or mapping) in plain data.

    A value of a preset also names the facts of this node that went into it.
    """
    return {at: _origin(at, source) for at in _leaves(data, ())}


def _leaves(data: object, at: Location) -> Iterator[Location]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _leaves(value, (*at, key))
    elif isinstance(data, list) and data:
        for i, value in enumerate(data):
            yield from _leaves(value, (*at, i))
    else:
        yield at


def _origin(at: Location, source: Source) -> str:
    marks = source.marks
    mark = marks.get(at)
    if mark is None and at[0] == "components" and at[-1] in _FROM_DEFAULTS:
        mark = marks.get(("defaults", at[-1]))
    if mark is None:
        return HOST_NAME if at == ("node",) else DEFAULT
    facts = source.facts.get(at, ()) if mark[0].startswith(FROM_PRESET) else ()
    given = (f"{'.'.join(map(str, fact[1:]))} of {_place(marks[fact])}" for fact in facts)
    return ", ".join((_place(mark), *given))


def _place(mark: tuple[str, int]) -> str:
    return "{}:{}".format(*mark)
