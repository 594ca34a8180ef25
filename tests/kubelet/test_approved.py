"""A real kubelet from its bootstrap token on: all it asks for goes through our approver and signer.

kube-controller-manager neither approves nor signs here.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from certrotd.adapters.ca import AuthorityIssuer
from certrotd.adapters.clock import SystemClock
from certrotd.core.model import Secret
from certrotd.core.x509 import key_pem, parse_certificate, split_pem
from tests.factories import make_client_spec, make_request
from tests.kubelets.approver import MANIFESTS, USER
from tests.kubelets.lab import BOOTSTRAPPERS, CSRS_PATH, RBAC
from tests.testbed.inventory import CONTROLLER_MANAGER, NODE
from tests.testbed.staticpods import ADDRESS, StaticPodNode, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certrotd.core.model import ParsedCertificate
    from tests.testbed.processes import ServerProcess

pytestmark = [pytest.mark.kubelet, pytest.mark.servers]
TTL = timedelta(seconds=100)
"""A kubelet renews after 70 to 90 % of a certificate's life."""
TOKEN = ("abcdef", "0123456789abcdef")
CONTROLLERS = (
    "*,bootstrapsigner,tokencleaner,-certificatesigningrequest-approving-controller,"
    "-certificatesigningrequest-signing-controller"
)
PKI = "/etc/kubernetes/pki"
CONFIG = "/etc/certrotd/certrotd.yaml"
PATIENCE = 240.0


class ApprovedNode(StaticPodNode):
    """It joins with a bootstrap token; the approver runs inside."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            directory,
            (
                "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
                "--rotate-server-certificates=true",
            ),
        )
        self.approver: ServerProcess | None = None

    def _start_kubelet(self) -> None:
        manifest = self.manifest(CONTROLLER_MANAGER)
        pod = yaml.safe_load(manifest.read_text())
        command = pod["spec"]["containers"][0]["command"]
        command[:] = [each for each in command if not each.startswith("--controllers")]
        command.append(f"--controllers={CONTROLLERS}")
        manifest.write_text(yaml.safe_dump(pod))
        kubelet = self.kubernetes / "kubelet.conf"
        content = yaml.safe_load(kubelet.read_text())
        kubelet.unlink()
        content["users"][0]["user"] = {"token": ".".join(TOKEN)}
        bootstrap = self.kubernetes / "bootstrap-kubelet.conf"
        bootstrap.touch(mode=0o600)
        bootstrap.write_text(yaml.safe_dump(content))
        super()._start_kubelet()

    def _join(self) -> None:
        self._allow()
        self._start_approver()
        super()._join()

    def _allow(self) -> None:
        """What `kubeadm init` and an administrator do: a token, who may ask, who may approve."""
        api = self.client("super-admin")
        names = {"apiGroup": "rbac.authorization.k8s.io"}
        body: dict[str, Any] = {
            "metadata": {"name": "kubeadm:kubelet-bootstrap"},
            "roleRef": names | {"kind": "ClusterRole", "name": "system:node-bootstrapper"},
            "subjects": [names | {"kind": "Group", "name": BOOTSTRAPPERS}],
        }
        api.request("POST", f"{RBAC}/clusterrolebindings", body)
        for manifest in ("kubelet-approver.yaml", "kubelet-signer.yaml"):
            for each in yaml.safe_load_all((MANIFESTS / manifest).read_text()):
                namespace = each["metadata"].get("namespace")
                place = f"/namespaces/{namespace}" if namespace else ""
                api.request("POST", f"{RBAC}{place}/{each['kind'].lower()}s", each)
        data = {
            "token-id": TOKEN[0],
            "token-secret": TOKEN[1],
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": BOOTSTRAPPERS,
        }
        secret = {
            "metadata": {"name": f"bootstrap-token-{TOKEN[0]}"},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": data,
        }
        api.request("POST", "/api/v1/namespaces/kube-system/secrets", secret)

    def _start_approver(self) -> None:
        pki = self.kubernetes / "pki"
        ca = Secret((pki / "ca.key").read_bytes())
        issuer = AuthorityIssuer((pki / "ca.crt").read_bytes(), ca, SystemClock().now)
        spec = make_client_spec(pki, common_name=USER, organizations=())
        key, request = make_request(spec)
        self._put("/etc/certrotd/approver.crt", b"".join(issuer.sign(request).chain))
        self._put("/etc/certrotd/approver.key", key_pem(key).reveal())
        api = {
            "server": f"https://{ADDRESS}:6443",
            "ca_file": f"{PKI}/ca.crt",
            "certificate": "/etc/certrotd/approver.crt",
            "key": "/etc/certrotd/approver.key",
        }
        authority = {"certificate": f"{PKI}/ca.crt", "key": f"{PKI}/ca.key"}
        config = {
            "log": {"format": "json"},
            "issuers": {"disk": {"ca": authority}},
            "kubelet_approver": {
                "api": api,
                "policy": {"bootstrap_groups": [BOOTSTRAPPERS], "per_hour": 100},
                "signers": {
                    "client": {"issuer": "disk", "role": "x", "ttl": f"{TTL.seconds}s"},
                    "serving": {"issuer": "disk", "role": "x", "ttl": "1d"},
                },
            },
        }
        self._put(CONFIG, yaml.safe_dump(config).encode())
        self.approver = self.namespaces.process(
            "approver", "/usr/bin/env", f"PYTHONPATH={Path(__file__).parents[2]}",
            sys.executable, "-m", "certrotd", "kubelet", "approve", "-c", CONFIG,
        ).start()  # fmt: skip

    def _put(self, inside: str, data: bytes) -> None:
        path = self.namespaces.path(inside)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(data)

    def told(self, event: str) -> list[dict[str, Any]]:
        """What the approver logged of one event."""
        assert self.approver is not None
        lines = self.approver.log.read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [each for each in told if each["event"] == event]

    def certificate(self, purpose: str) -> ParsedCertificate | None:
        """What the kubelet has in its store."""
        path = self.namespaces.path(f"/var/lib/kubelet/pki/kubelet-{purpose}-current.pem")
        folder = self.namespaces.path("/var/lib/kubelet/pki")
        if not path.is_symlink():
            return None
        content = (folder / path.readlink().name).read_bytes()
        return parse_certificate(split_pem(content[: content.index(b"-----BEGIN EC")])[0])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApprovedNode]:
    if reason := unavailable():
        pytest.skip(reason)
    with ApprovedNode(tmp_path_factory.mktemp("node")) as node:
        yield node


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.5)


def test_a_node_joined_with_a_token_and_was_signed_for(node: ApprovedNode) -> None:
    first = node.told("request_approved")[0]
    assert first["requester"] == f"system:bootstrap:{TOKEN[0]}"
    assert first["detail"] == f"node {NODE}, a client certificate"
    leaf = node.certificate("client")
    assert leaf is not None
    assert leaf.common_name == f"system:node:{NODE}"
    assert leaf.organizations == ("system:nodes",)
    assert node.node_is_ready()


def test_it_serves_with_the_certificate_that_was_approved_for_its_addresses(
    node: ApprovedNode,
) -> None:
    serving = partial(_of, node, "kubernetes.io/kubelet-serving")
    until(lambda: serving("request_signed"), "a serving certificate")
    signed = serving("request_signed")[-1]
    address = (ADDRESS, 10250)

    def served() -> ParsedCertificate:
        pem = node.namespaces.call(ssl.get_server_certificate, address, timeout=10)
        return parse_certificate(pem.encode())

    until(lambda: served().serial == signed["serial"], "the kubelet to serve it")
    leaf = served()
    assert leaf.dns_names == (NODE,)
    assert list(map(str, leaf.ip_addresses)) == [ADDRESS]
    api = node.client()
    events = api.request("GET", "/apis/events.k8s.io/v1/namespaces/default/events")["items"]
    mine = [e for e in events if e["regarding"].get("name") == signed["request"]]
    assert "Approved" in {each["reason"] for each in mine}


def test_it_renews_as_itself_before_its_certificate_ends(node: ApprovedNode) -> None:
    def renewed() -> list[dict[str, Any]]:
        found = _of(node, "kubernetes.io/kube-apiserver-client-kubelet", "request_approved")
        return [each for each in found if each["requester"] == f"system:node:{NODE}"]

    until(renewed, "a renewal")
    until(node.node_is_ready, "the node")
    last = renewed()[-1]["request"]
    until(lambda: last in {e["request"] for e in node.told("request_signed")}, "its signature")
    certificate = node.client().request("GET", f"{CSRS_PATH}/{last}")["status"]["certificate"]
    assert certificate
    assert node.told("request_denied") == []


def test_the_guard_sees_the_path_and_what_the_kubelet_presents(node: ApprovedNode) -> None:
    done = node.namespaces.run(
        sys.executable, "-m", "certrotd", "kubelet", "guard", "-c", CONFIG, "-o", "json",
        "--kubeconfig", "/etc/kubernetes/admin.conf", check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["figures"]["kubelets"], found["figures"]["unread"]) == (1, 0)
    assert found["figures"]["pending"] == 0
    # The token of this test has no end, and nobody said which CA signs.
    assert {each["state"] for each in found["concerns"]} == {"WARNING"}, found


def _of(node: ApprovedNode, signer: str, event: str) -> list[dict[str, Any]]:
    return [each for each in node.told(event) if each["signer"] == signer]
