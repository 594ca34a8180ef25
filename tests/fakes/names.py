"""An inventory and a DNS in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certrotd.core.model.kubelets import KnownNames

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address


@dataclass
class FakeInventory:
    """`broken` is what every look fails with."""

    nodes: dict[str, KnownNames] = field(default_factory=dict)
    broken: Exception | None = None

    def of(self, node: str) -> KnownNames:
        if self.broken:
            raise self.broken
        return self.nodes.get(node, KnownNames())


@dataclass
class FakeResolver:
    """`broken` is what every look-up fails with; `asked` are the names that were looked up."""

    names: dict[str, frozenset[IPv4Address | IPv6Address]] = field(default_factory=dict)
    broken: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def addresses(self, name: str) -> frozenset[IPv4Address | IPv6Address]:
        self.asked.append(name)
        if self.broken:
            raise self.broken
        return self.names.get(name, frozenset())
