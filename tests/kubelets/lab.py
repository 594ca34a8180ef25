"""A real cluster to ask for certificates in, and identities of all kinds."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from certrotd.adapters.kubernetes import ApiConnection, ApiServer, ApiSigningRequests
from tests.testbed.controlplane import ControlPlane
from tests.testbed.dayzero import issue_all
from tests.testbed.inventory import Domain
from tests.testbed.throwaway import key_pem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from certrotd.adapters.kubernetes.connection import Json

_numbers = itertools.count(1)
NODES_PATH = "/api/v1/nodes"
CSRS_PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


class KubeletLab:
    """etcd and kube-apiserver (RBAC, Node authorizer, NodeRestriction); more is started on demand.

    Its CA signs whoever is wanted: nodes, bootstrappers, administrators, the approver.
    """

    def __init__(
        self, directory: Path, extra_arguments: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.directory = directory
        self.plane = ControlPlane(directory, extra_arguments=extra_arguments)
        self.authority = issue_all(self.plane.inventory())[Domain.KUBERNETES]
        self.ca_file = self.plane.layout.authorities[Domain.KUBERNETES]
        self.ca_key = self.ca_file.with_name("kubernetes-ca.key")
        self.ca_key.touch(mode=0o600)
        self.ca_key.write_bytes(key_pem(self.authority.key))
        self.admin = self.connection("lab-admin", "system:masters")

    @property
    def url(self) -> str:
        """The API server."""
        return f"https://127.0.0.1:{self.plane.ports.apiserver}"

    def server(self, user: str, *groups: str) -> ApiServer:
        """How to connect as anybody, by a client certificate."""
        pair = self.authority.issue(user, organizations=groups, server=False, client=True)
        base = self.directory / "identities" / f"{next(_numbers)}"
        certificate, key = base.with_suffix(".crt"), base.with_suffix(".key")
        pair.write(certificate, key)
        return ApiServer(
            server=self.url, ca_file=str(self.ca_file), certificate=str(certificate), key=str(key)
        )

    def connection(self, user: str, *groups: str) -> ApiConnection:
        """Calls as anybody."""
        return ApiConnection(self.server(user, *groups))

    def node(self, name: str) -> ApiSigningRequests:
        """The requests of a node."""
        return ApiSigningRequests(self.connection(f"system:node:{name}", "system:nodes"))

    def make_node(self, name: str, *addresses: tuple[str, str], ready: str | None = "True") -> None:
        """Create a Node with addresses (type, address) and a word of the node controller's."""
        node = self.admin.call(
            "POST", NODES_PATH,
            body={"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}},
        )  # fmt: skip
        node["status"] = {"addresses": [{"type": t, "address": a} for t, a in addresses]}
        if ready:
            since = "2026-11-24T06:00:00Z"
            node["status"]["conditions"] = [
                {"type": "Ready", "status": ready, "lastTransitionTime": since}
            ]
        self.admin.call("PUT", f"{NODES_PATH}/{name}/status", body=node)

    def events(self, name: str) -> list[Json]:
        """The events about a request, as `kubectl describe` finds them."""
        query = {
            "fieldSelector": f"involvedObject.name={name},"
            "involvedObject.kind=CertificateSigningRequest"
        }
        found = self.admin.call("GET", "/api/v1/namespaces/default/events", query=query)
        items: list[Json] = found["items"]
        return items
