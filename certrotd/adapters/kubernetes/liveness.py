"""Whether a node is well in the eyes of the cluster: Ready, and its Lease renewed meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from certrotd.core.errors import CertrotdError
from certrotd.core.model import Evidence

if TYPE_CHECKING:
    from certrotd.adapters.kubernetes.connection import ApiConnection

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class NodeGate:
    """The Node is Ready and its kubelet has renewed its Lease since the first look.

    Ready alone says little after a restart: it stays as it was until the node controller misses
    the kubelet, 40 s later. Times in a Lease are its holder's and only compared with each other.
    """

    def __init__(self, connection: ApiConnection, node: str) -> None:
        self._connection = connection
        self._node = node
        self._first: str | None = None

    def check(self) -> Evidence:
        """Look once."""
        name = quote(self._node, safe="")
        try:
            node = self._connection.call("GET", f"/api/v1/nodes/{name}")
            lease = self._connection.call("GET", f"{_LEASES}/{name}")
            renewed = str(lease["spec"].get("renewTime") or "")
            conditions = {each["type"]: each for each in node["status"].get("conditions") or ()}
            ready = conditions.get("Ready") or {}
            status = self._connection.quoted(str(ready.get("status")))
            message = self._connection.quoted(str(ready.get("message") or ""))
        except CertrotdError as e:
            return self._evidence(str(e), reachable=False)
        except (KeyError, TypeError, AttributeError) as e:
            return self._evidence(f"kube-apiserver sent no Node and Lease: {e!r}")
        if self._first is None:
            self._first = renewed
        if status != "True":
            return self._evidence(f"Ready is {status}: {message[:200]}")
        if renewed == self._first:
            return self._evidence("its Lease was not renewed since the kubelet was restarted")
        return self._evidence("Ready, and its Lease is renewed", holds=True)

    def _evidence(self, detail: str, *, holds: bool = False, reachable: bool = True) -> Evidence:
        return Evidence(
            source=f"node {self._node}",
            holds=holds,
            detail=f"Node {self._node}: {detail}",
            reachable=reachable,
        )
