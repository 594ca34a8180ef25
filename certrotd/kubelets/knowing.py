"""What is known of the node that a request is about, from all who may say so."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.core import approval, x509
from certrotd.core.model.kubelets import KnownNames, NodeFacts, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from certrotd.core.model.kubelets import SubmittedRequest
    from certrotd.ports.kubelets import Inventory, Nodes, Resolver

MEMORY = timedelta(hours=1)
"""How long approvals are remembered at least; the cluster keeps issued requests for as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Who says what is a node's.

    `trusts_nodes`: whether the addresses of Node objects count, which kubelets report themselves.
    """

    nodes: Nodes
    inventory: Inventory | None = None
    resolver: Resolver | None = None
    trusts_nodes: bool = True

    def facts(
        self, name: str, submitted: SubmittedRequest, approved: tuple[datetime, ...]
    ) -> NodeFacts:
        """Return all that is known of a node, as far as it matters for a request.

        Raises:
            TransientError, PermanentError: something cannot be learnt.
        """
        facts = self.nodes.facts(name)
        listed = self.inventory.of(name) if self.inventory else KnownNames()
        addresses = listed.ip_addresses | (facts.ip_addresses if self.trusts_nodes else set())
        names = listed.dns_names | (facts.dns_names if self.trusts_nodes else set())
        known = replace(facts, dns_names=names, ip_addresses=addresses, approved=approved)
        return replace(known, dns_names=names | set(self._resolved(submitted, known)))

    def _resolved(self, submitted: SubmittedRequest, known: NodeFacts) -> Iterator[str]:
        """Yield names that nobody vouches for but which resolve to the node's addresses alone."""
        if self.resolver is None or submitted.signer != Purpose.SERVING or not known.exists:
            return
        try:
            asked = x509.parse_request(submitted.request).dns_names
        except ValueError:
            return  # the rules will say so
        vouched = {each.lower() for each in known.dns_names}
        # The rules decide how many names there may be; no more are looked up than any need.
        for name in [each for each in asked if each.lower() not in vouched][:_MOST_LOOK_UPS]:
            found = self.resolver.addresses(name)
            if found and found <= known.ip_addresses:
                yield name


_MOST_LOOK_UPS = 8


@dataclass(slots=True)
class Approvals:
    """When certificates were approved for which node: seen here, or read from the cluster.

    Safe for several threads.
    """

    keep: timedelta = MEMORY
    _times: dict[tuple[str, str], dict[str, datetime]] = field(default_factory=dict)
    _swept: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, node: str, signer: str) -> tuple[datetime, ...]:
        """Return the times for one node and signer, oldest first."""
        with self._lock:
            return tuple(sorted(self._times.get((node, signer), {}).values()))

    def add(self, request: SubmittedRequest, now: datetime) -> None:
        """Remember an approved request, once however often it is seen."""
        node = approval.node_name(request)
        if node is None or request.approved_at is None or now - request.approved_at > self.keep:
            return
        with self._lock:
            self._times.setdefault((node, request.signer), {})[request.uid] = request.approved_at
            if self._swept is None or now - self._swept > self.keep / 10:
                self._sweep(now)

    def _sweep(self, now: datetime) -> None:
        self._swept = now
        for key, times in list(self._times.items()):
            kept = {uid: at for uid, at in times.items() if now - at <= self.keep}
            if kept:
                self._times[key] = kept
            else:
                del self._times[key]
