"""The effective configuration with the origin of each value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from certrotd.config.source import Location


class Leaf(NamedTuple):
    """One value: its dotted key, and where it comes from."""

    key: str
    value: object
    origin: str


def leaves(data: Any, origins: Mapping[Location, str]) -> Iterator[Leaf]:
    """Yield every value with its origin, in the order of the data."""
    from certrotd.config.source import dotted

    for at, origin in origins.items():
        value = data
        for part in at:
            value = value[part]
        yield Leaf(dotted(at), value, origin)


def commented(data: object, origins: Mapping[Location, str]) -> str:
    """Return YAML in which every value has its origin as a comment."""
    import yaml

    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=float("inf"))
    lines = text.splitlines()
    for at, line in _ends(yaml.compose(text), ()):
        if at in origins:
            lines[line] += f"  # {origins[at]}"
    return "".join(f"{line}\n" for line in lines)


def _ends(node: Any, at: Location) -> Iterator[tuple[Location, int]]:
    """Yield where each value of a document ends: its place and its line, from 0."""
    if node.id == "mapping" and node.value:
        for key, value in node.value:
            yield from _ends(value, (*at, key.value))
    elif node.id == "sequence" and node.value:
        for i, value in enumerate(node.value):
            yield from _ends(value, (*at, i))
    else:
        yield at, node.end_mark.line
