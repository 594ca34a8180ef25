"""Where each value of the effective configuration comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certrotd.config.source import Location, Marks

DEFAULT = "default"
HOST_NAME = "host name"

_FROM_DEFAULTS = {"key", "ttl", "owner", "group"}
"""What certificates and outputs take from the section `defaults`."""


def origins(data: object, marks: Marks) -> dict[Location, str]:
    """Return the origin of every single value (and empty list or mapping) in plain data."""
    return {at: _origin(at, marks) for at in _leaves(data, ())}


def _leaves(data: object, at: Location) -> Iterator[Location]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _leaves(value, (*at, key))
    elif isinstance(data, list) and data:
        for i, value in enumerate(data):
            yield from _leaves(value, (*at, i))
    else:
        yield at


def _origin(at: Location, marks: Marks) -> str:
    mark = marks.get(at)
    if mark is None and isinstance(at[-1], int):  # an item that came of a fact with several
        mark = marks.get(at[:-1])
    if mark is None and at[0] == "components" and at[-1] in _FROM_DEFAULTS:
        mark = marks.get(("defaults", at[-1]))
    if mark is None:
        return HOST_NAME if at == ("node",) else DEFAULT
    return "{}:{}".format(*mark)
