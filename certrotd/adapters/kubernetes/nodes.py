"""What the cluster knows of nodes: Node objects."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote

from certrotd.core.errors import ApiRefused, ApiUnavailable
from certrotd.core.model.kubelets import NodeFacts

if TYPE_CHECKING:
    from certrotd.adapters.kubernetes.connection import ApiConnection, Json
    from certrotd.ports import Clock

FRESH = 5.0
"""Seconds for which what was learnt of a node is told again."""
MOST = 1000
"""How many nodes are remembered."""
_ADDRESSES = ("InternalIP", "ExternalIP")


class ApiNodes:
    """Asks for one Node at a time: in a large cluster all of them are tens of megabytes.

    Whether a kubelet is there is the node controller's word (the condition Ready), since a Lease
    carries the clock of a node, and nodes' clocks are what may be wrong here.
    """

    def __init__(self, connection: ApiConnection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, NodeFacts]] = OrderedDict()
        self._lock = threading.Lock()

    def facts(self, name: str) -> NodeFacts:
        """Return what is known of one node.

        Raises:
            ApiUnavailable, ApiRefused: it cannot be learnt whether it exists.
        """
        now = self._clock.monotonic()
        if (kept := self._kept.get(name)) and now - kept[0] < FRESH:
            return kept[1]
        found = self._read(name)
        if found.exists:  # if not, it may be about to be made
            with self._lock:
                self._kept[name] = (now, found)
                self._kept.move_to_end(name)
                if len(self._kept) > MOST:
                    self._kept.popitem(last=False)
        return found

    def _read(self, name: str) -> NodeFacts:
        try:
            node = self._connection.call("GET", f"/api/v1/nodes/{quote(name, safe='')}")
        except ApiRefused as e:
            if e.status == HTTPStatus.NOT_FOUND:
                return NodeFacts(name=name, exists=False)
            raise
        try:
            return _facts(name, node, self._clock.now())
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as e:
            told = self._connection.quoted(repr(e))
            raise ApiUnavailable(f"kube-apiserver sent no Node {name}: {told}") from e


def _facts(name: str, node: Json, now: datetime) -> NodeFacts:
    status = node.get("status") or {}
    dns: set[str] = set()
    addresses: set[IPv4Address | IPv6Address] = set()
    for each in status.get("addresses") or ():
        address = each["address"]
        if not (isinstance(address, str) and address.isascii() and address.isprintable()):
            raise ValueError(f"{address!r} is no address")
        # A host name may be an address, and then belongs among the addresses.
        try:
            addresses.add(ip_address(address))
        except ValueError:
            if each["type"] not in _ADDRESSES:
                dns.add(address)
    return NodeFacts(
        name=name,
        exists=True,
        dns_names=frozenset(dns),
        ip_addresses=frozenset(addresses),
        last_seen=_last_seen(node, status, now),
    )


def _last_seen(node: Json, status: Json, now: datetime) -> datetime:
    """Return when the kubelet was last there: Ready turns Unknown when it is seen no more."""
    ready = next((e for e in status.get("conditions") or () if e.get("type") == "Ready"), None)
    if ready is None:
        return _moment(node["metadata"]["creationTimestamp"])
    return _moment(ready["lastTransitionTime"]) if ready["status"] == "Unknown" else now


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
