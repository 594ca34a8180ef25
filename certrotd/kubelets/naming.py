"""Under which names and addresses this node's kubelet serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.core.errors import ApiUnavailable

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from certrotd.ports import Clock
    from certrotd.ports.kubelets import Nodes

ASKED_EVERY = 600.0
"""Seconds after which the Node object is looked at again: a tick reads files only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a serving certificate is for."""

    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[IPv4Address | IPv6Address, ...] = ()


class ServingNames:
    """Fixed ones, or those of the Node object, which the kubelet itself certifies."""

    def __init__(self, node: str, clock: Clock, fixed: Names | None = None) -> None:
        self._node = node
        self._clock = clock
        self._fixed = fixed
        self._known: tuple[float, Names] | None = None

    def remembered(self) -> Names | None:
        """Return them where nobody need be asked; None where somebody must."""
        if self._fixed is not None:
            return self._fixed
        now = self._clock.monotonic()
        return self._known[1] if self._known and now - self._known[0] < ASKED_EVERY else None

    def ask(self, nodes: Nodes) -> Names:
        """Ask for the Node object.

        Raises:
            TransientError, PermanentError: they cannot be learnt.
        """
        facts = nodes.facts(self._node)
        if not facts.exists:
            raise ApiUnavailable(
                f"there is no Node {self._node} yet",
                hint="the kubelet registers it once it has its client certificate; or give "
                "kubelet.dns_names and kubelet.ip_addresses",
            )
        if not facts.ip_addresses:
            raise ApiUnavailable(f"Node {self._node} has no address yet")
        found = Names(
            dns_names=tuple(sorted(facts.dns_names)),
            ip_addresses=tuple(sorted(facts.ip_addresses, key=lambda a: (a.version, a.packed))),
        )
        self._known = (self._clock.monotonic(), found)
        return found
