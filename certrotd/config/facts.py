"""What differs between nodes: the `${facts}` of a layout."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.config.source import Location

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

    `used` are the names that were asked for, `missing` those of them that nobody gave; `given_at`
    tells for each place in what was filled which of the given facts went into it, `item_of` for
    each single value in a list which item of the layout's list it comes from.
    """

    def __init__(self, *, defaults: Any, given: Mapping[str, Any], node: str) -> None:
        self._given = flattened(given)
        self._values = {**flattened(defaults), **self._given}
        self._node = node or os.uname().nodename
        self._consulted: dict[str, None] = {}
        self.used: set[str] = set()
        self.missing: dict[str, None] = {}
        self.given_at: dict[Location, tuple[str, ...]] = {}
        self.item_of: dict[Location, Location] = {}

    def filled(self, value: Any, at: Location) -> Any:
        """Return plain data with every `${fact}` replaced; `at` is where it will stand.

        A list item that is nothing but a fact with several values becomes several items; of
        items that are equal the first is kept.
        """
        if isinstance(value, dict):
            return {key: self.filled(each, (*at, key)) for key, each in value.items()}
        if isinstance(value, list):
            return self._list(value, at)
        self._consulted = {}
        result = self._replaced(value)
        self._note(at)
        return result

    def _list(self, given: list[Any], at: Location) -> list[Any]:
        result: list[Any] = []
        met: set[object] = set()
        for i, item in enumerate(given):
            if isinstance(item, dict | list):
                result.append(self.filled(item, (*at, len(result))))
                continue
            self._consulted = {}
            for each in self._items(item):
                if (meaning := _meaning(each)) not in met:
                    met.add(meaning)
                    self._note((*at, len(result)))
                    self.item_of[(*at, len(result))] = (*at, i)
                    result.append(each)
        return result

    def _items(self, item: Any) -> list[Any]:
        """Return what a single value in a list becomes."""
        match = _REFERENCE.fullmatch(item) if isinstance(item, str) else None
        value = self._value(match[1]) if match else self._replaced(item)
        return value if isinstance(value, list) else [value]

    def _note(self, at: Location) -> None:
        if self._consulted:
            self.given_at[at] = (*self._consulted,)

    def _replaced(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return _REFERENCE.sub(lambda match: str(self._value(match[1])), value)

    def _value(self, name: str) -> str | list[str]:
        if (derived := self._derived(name)) is not None:
            return derived
        self.used.add(name)
        if name in self._given:
            self._consulted[name] = None
        value = self._values[name]
        if value == REQUIRED:
            self.missing[name] = None
            return ""
        return [*map(str, value)] if isinstance(value, list) else str(self._replaced(value))

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
    return ip_address(item) if isinstance(item, str) and _is_address(item) else item


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
