"""A real cluster to ask for certificates in, and identities of all kinds."""

from __future__ import annotations

import base64
import itertools
import time
from typing import TYPE_CHECKING

import yaml

from certrotd.adapters.kubernetes import ApiConnection, ApiServer, ApiSigningRequests
from certrotd.adapters.kubernetes.connection import MERGE
from tests.testbed.controlplane import ControlPlane
from tests.testbed.dayzero import issue_all
from tests.testbed.inventory import CONTROLLER_MANAGER, Domain
from tests.testbed.throwaway import key_pem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from certrotd.adapters.kubernetes.connection import Json

_numbers = itertools.count(1)
NODES_PATH = "/api/v1/nodes"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
BOOTSTRAPPERS = "system:bootstrappers:kubeadm:default-node-token"
PATIENCE = 60.0
CSRS_PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


class KubeletLab:
    """etcd and kube-apiserver (RBAC, Node authorizer, NodeRestriction); more is started on demand.

    Its CA signs whoever is wanted: nodes, bootstrappers, administrators, the approver.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plane = ControlPlane(directory)
        self.authority = issue_all(self.plane.inventory())[Domain.KUBERNETES]
        self.ca_file = self.plane.layout.authorities[Domain.KUBERNETES]
        self.ca_key = self.ca_file.with_name("kubernetes-ca.key")
        self.ca_key.touch(mode=0o600)
        self.ca_key.write_bytes(key_pem(self.authority.key))
        self.admin = self.connection("lab-admin", "system:masters")

    def controller_manager(
        self, controllers: str, *, signs: bool, more: Sequence[str] = ()
    ) -> None:
        """Say, before it starts, which controllers run, and whether it has a CA to sign with."""
        flags = [f"--controllers={controllers}", *more]
        if signs:
            flags += [f"--cluster-signing-cert-file={self.ca_file}"]
            flags += [f"--cluster-signing-key-file={self.ca_key}"]
        self.plane.extra_arguments[CONTROLLER_MANAGER] = flags

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
        body: Json = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        self.admin.call("POST", NODES_PATH, body=body)
        status: Json = {"addresses": [{"type": t, "address": a} for t, a in addresses]}
        if ready:
            since = "2026-11-24T06:00:00Z"
            status["conditions"] = [{"type": "Ready", "status": ready, "lastTransitionTime": since}]
        self.node_status(name, status)

    def node_status(self, name: str, status: Json) -> None:
        """Change the status of a Node, whatever controllers do to it meanwhile."""
        path = f"{NODES_PATH}/{name}/status"
        self.admin.call("PATCH", path, body={"status": status}, content=MERGE)

    def events(self, name: str) -> list[Json]:
        """The events about a request, as `kubectl describe` finds them."""
        query = {
            "fieldSelector": f"involvedObject.name={name},"
            "involvedObject.kind=CertificateSigningRequest"
        }
        found = self.admin.call("GET", "/api/v1/namespaces/default/events", query=query)
        items: list[Json] = found["items"]
        return items

    def ask(
        self,
        who: ApiConnection,
        csr: bytes,
        *,
        name: str | None = None,
        signer: str = "kubernetes.io/kube-apiserver-client-kubelet",
        usages: Sequence[str] = ("digital signature", "client auth"),
        lifetime: int | None = None,
    ) -> str:
        """Create a request of any kind; returns its name."""
        called = name or f"csr-{next(_numbers)}"
        spec: Json = {
            "request": base64.b64encode(csr).decode(),
            "signerName": signer,
            "usages": list(usages),
        }
        if lifetime:
            spec["expirationSeconds"] = lifetime
        body = {
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": called}, "spec": spec,
        }  # fmt: skip
        who.call("POST", CSRS_PATH, body=body)
        return called

    def conditions(self, name: str) -> dict[str, str]:
        """The conditions of a request: type and message."""
        status = self.admin.call("GET", f"{CSRS_PATH}/{name}").get("status") or {}
        return {each["type"]: each["message"] for each in status.get("conditions") or ()}

    def certificate(self, name: str) -> bytes:
        """The certificate of a request, PEM; nothing if it has none yet."""
        status = self.admin.call("GET", f"{CSRS_PATH}/{name}").get("status") or {}
        return base64.b64decode(status.get("certificate") or "")

    def apply(self, manifest: Path) -> None:
        """Create what a manifest of RBAC objects holds."""
        for each in yaml.safe_load_all(manifest.read_text()):
            namespace = each["metadata"].get("namespace")
            place = f"/namespaces/{namespace}" if namespace else ""
            self.admin.call("POST", f"{RBAC}{place}/{each['kind'].lower()}s", body=each)

    def put_token(self, name: str, ends: datetime | None, groups: Sequence[str]) -> None:
        """Create a bootstrap token, as kubeadm does."""
        data = {
            "token-id": name,
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": ",".join(groups),
        }
        if ends:
            data["expiration"] = f"{ends:%Y-%m-%dT%H:%M:%SZ}"
        body = {
            "metadata": {"name": f"bootstrap-token-{name}"},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": data,
        }
        self.admin.call("POST", "/api/v1/namespaces/kube-system/secrets", body=body)

    def bind(self, role: str, group: str) -> None:
        """Bind a ClusterRole to a group, as kubeadm does."""
        names = {"apiGroup": "rbac.authorization.k8s.io"}
        body = {
            "metadata": {"name": f"lab-{next(_numbers)}"},
            "roleRef": names | {"kind": "ClusterRole", "name": role},
            "subjects": [names | {"kind": "Group", "name": group}],
        }
        self.admin.call("POST", f"{RBAC}/clusterrolebindings", body=body)

    def until(self, holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + patience
        while not holds():
            assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
            time.sleep(0.1)
