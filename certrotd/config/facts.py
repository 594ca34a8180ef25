"""What differs between nodes: the `${facts}` of a layout."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REQUIRED = "required"
"""What a layout writes for a fact without a default."""

_REFERENCE = re.compile(r"\$\{([a-z_.]+)\}")


def flattened(given: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested facts under dotted names; those without a value are left out."""
    result: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, dict):
            result |= flattened(value, f"{above}{name}.")
        elif value is not None:
            result[f"{above}{name}"] = value
    return result


class Facts:
    """The facts of one node: those given, else the layout's defaults, and what follows from them.

    `used` are the names that were asked for, `missing` those of them that nobody gave.
    """

    def __init__(self, *, defaults: Any, given: Mapping[str, Any], node: str) -> None:
        self._values = {**flattened(defaults), **flattened(given)}
        self._node = node or os.uname().nodename
        self.used: set[str] = set()
        self.missing: dict[str, None] = {}

    def filled(self, value: Any) -> Any:
        """Return plain data with every `${fact}` replaced.

        A list item that is nothing but a fact with several values becomes several items; of
        items that are equal the first is kept.
        """
        if isinstance(value, dict):
            return {key: self.filled(each) for key, each in value.items()}
        if isinstance(value, list):
            items = [each for item in value for each in self._items(item)]
            by_meaning = {_meaning(each): each for each in reversed(items)}
            return [each for each in items if by_meaning.pop(_meaning(each), None) is not None]
        if isinstance(value, str):
            return _REFERENCE.sub(lambda match: str(self._value(match[1])), value)
        return value

    def _items(self, item: object) -> Iterator[object]:
        """Yield what one item of a list becomes."""
        match = _REFERENCE.fullmatch(item) if isinstance(item, str) else None
        value = self._value(match[1]) if match else None
        if isinstance(value, list):
            yield from value
        else:
            yield self.filled(item)

    def _value(self, name: str) -> str | list[str]:
        if (derived := self._derived(name)) is not None:
            return derived
        self.used.add(name)
        value = self._values[name]
        if value == REQUIRED:
            self.missing[name] = None
            return ""
        return [*map(str, value)] if isinstance(value, list) else str(self.filled(value))

    def _derived(self, name: str) -> str | list[str] | None:
        """Return what follows from other facts."""
        if name == "node":
            return self._node
        if name == "advertise_host":
            return _bracketed(str(self._value("advertise_address")))
        if name == "control_plane_dns_names":
            return [host for host in self._control_plane() if not _is_address(host)]
        if name == "control_plane_ip_addresses":
            return [host for host in self._control_plane() if _is_address(host)]
        return None

    def _control_plane(self) -> list[str]:
        endpoint = str(self._value("control_plane_endpoint"))
        host = endpoint.rpartition(":")[0].strip("[]")
        return [host] if host else []


def _meaning(item: object) -> object:
    """Return what makes items equal: an address may be written in several ways."""
    if isinstance(item, str) and _is_address(item):
        return ip_address(item)
    return item if isinstance(item, str) else id(item)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
