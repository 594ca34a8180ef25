"""Nodes that ask a real kube-apiserver for certificates through a hostile proxy.

The proxy is what Kubernetes calls an authenticating proxy: kube-apiserver believes it who asks. It
knows the key of the cluster's CA, so that it can sign as it likes.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import ssl
from typing import TYPE_CHECKING, Any

from cryptography.x509 import AuthorityKeyIdentifier

from certrotd.adapters.clock import SystemClock
from certrotd.core import x509
from certrotd.core.model import Secret
from tests.authorities import Authority
from tests.hostile.forgeries import Changes, resigned
from tests.hostile.node import files_below, run_apart, run_here
from tests.hostile.proxy import HOST, HostileProxy, Purpose
from tests.kubelets.lab import PATIENCE
from tests.kubelets.nodeside import NodeSide, grant
from tests.testbed.throwaway import key_pem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from tests.hostile.forgeries import Forgery
    from tests.hostile.node import Files, Outcome
    from tests.hostile.proxy import Answer, Deed, Exchange, Upstream
    from tests.kubelets.lab import KubeletLab
    from tests.testbed.throwaway import ThrowawayCA

_numbers = itertools.count(1)
SHORT = "200ms"
"""How long somebody is waited for who does not become honest."""
NAMES = {"dns_names": ["node-9"], "ip_addresses": ["10.0.0.19"]}


class Cluster:
    """A running control plane: its CA is the root, `authority` an intermediate of the proxy's."""

    def __init__(self, lab: KubeletLab, directory: Path) -> None:
        self.lab, self.directory = lab, directory
        self.token = grant(lab)
        self.root = Authority.adopt(lab.authority.pem, Secret(key_pem(lab.authority.key)))
        self.authority = self.root.issue_authority("between", SystemClock().now())

    def proxy(
        self, name: str = "proxy", ca: ThrowawayCA | None = None, **pair: Any
    ) -> HostileProxy:
        """A proxy with a serving certificate of its own; enter it to start it."""
        given = {"ip_addresses": [HOST]} | pair
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        (ca or self.lab.authority).issue(name, **given).write(certificate, key)
        return HostileProxy(apiserver_behind(self.lab), certificate, key, self.lab.ca_file)


def apiserver_behind(lab: KubeletLab) -> Upstream:
    """Forward to a real kube-apiserver, in the name of whoever asks."""
    place = (HOST, lab.plane.ports.apiserver)
    trust, trusted = (ssl.create_default_context(cafile=str(lab.ca_file)) for _ in range(2))
    pki = lab.plane.layout.pki
    trusted.load_cert_chain(pki / "front-proxy-client.crt", pki / "front-proxy-client.key")

    def ask(exchange: Exchange) -> Answer:
        headers = {"Content-Type": "application/json"}
        if bearer := exchange.headers.get("Authorization"):
            return exchange.ask(place, trust, headers | {"Authorization": bearer})
        who = _subject(exchange.channel)
        headers |= {"X-Remote-User": who["commonName"], "X-Remote-Group": who["organizationName"]}
        return exchange.ask(place, trusted, headers)

    return ask


def _subject(channel: object) -> dict[str, str]:
    assert isinstance(channel, ssl.SSLSocket)
    shown = channel.getpeercert()
    assert shown
    subject: Any = shown["subject"]
    return {name: value for relative in subject for name, value in relative}


class AskingNode(NodeSide):
    """A node with a client certificate and a bootstrap token, whose cluster is the proxy."""

    def __init__(
        self,
        cluster: Cluster,
        proxy: HostileProxy,
        directory: Path,
        capture: pytest.CaptureFixture[str],
    ) -> None:
        super().__init__(
            cluster.lab, directory, f"asking-{next(_numbers)}", server=proxy.address,
            answer_within=SHORT, connect_timeout="1s", read_timeout="1s",
        )  # fmt: skip
        self.cluster, self.proxy, self._capture = cluster, proxy, capture
        self.give_token(cluster.token)
        self.put(
            cluster.lab.authority.issue(
                f"system:node:{self.name}", organizations=["system:nodes"], server=False,
                client=True,
            )
        )  # fmt: skip

    def renew(self, command: str = "renew") -> Outcome:
        """Run `certrotd kubelet renew` in this process."""
        return run_here(self._capture, "kubelet", command, "-c", str(self.config))

    def renew_apart(self, command: str = "renew") -> Outcome:
        """Run it as a process of its own, for a minute at most; measure it."""
        arguments = ("kubelet", command, "-c", str(self.config))
        return run_apart(self.directory / "output", *arguments)

    def rest(self) -> None:
        """Let the pause after the last requests be over."""
        for record in (self.directory / "state" / "kubelet").glob("*.json"):
            record.write_text(json.dumps(json.loads(record.read_text()) | {"requests": []}))

    def files(self) -> Files:
        """What the kubelet would find, all of it."""
        kubeconfig = {"kubeconfig": (0, 0, 0, "")} if self.kubeconfig.exists() else {}
        return files_below(self.pki) | kubeconfig

    def strip(self) -> None:
        """Leave it nothing but its bootstrap token."""
        for each in (*self.pki.iterdir(),):
            each.unlink()

    def serve(self) -> None:
        """Let it ask for a serving certificate, which the proxy has approved at once."""
        self.write(purposes=["serving"], **NAMES)
        self.put(self.lab.authority.issue(f"system:node:{self.name}"), "server")

        def approved(exchange: Exchange) -> None:
            answer = exchange.forward()
            self.rule(answer.document["metadata"]["name"], "Approved")
            exchange.send(answer.status, answer.body)

        self.proxy.deeds[Purpose.SUBMIT] = approved

    def consistent(self, kind: str = "client") -> bool:
        """Whether what the kubelet would find is a pair below the cluster's CA."""
        content = self.current(kind).read_bytes()
        chain, key = x509.split_pem(content), content[content.index(b"-----BEGIN PRIVATE") :]
        now = SystemClock().now()
        return (
            x509.owns(Secret(key), chain[0])
            and x509.chain_problem(chain, (self.cluster.root.pem,), now) is None
        )


@contextlib.contextmanager
def unchanged(node: AskingNode, *, kind: str = "client", command: str = "renew") -> Iterator[None]:
    """What happens in between must change nothing and make one request at most.

    The run after it, against the honest server, must replace the certificate.
    """
    before = node.files()
    asked = len(node.requests())
    yield
    assert node.files() == before
    assert len(node.requests()) <= asked + 1
    approving = {e: d for e, d in node.proxy.deeds.items() if d.__name__ == "approved"}
    node.proxy.honest()
    node.proxy.deeds |= approving
    node.rest()
    node.write(answer_within=f"{PATIENCE:.0f}s")
    last = node.renew(command)
    assert last.code == 0, last.said
    assert node.files() != before
    assert node.consistent(kind)


def changed(change: Any) -> Deed:
    """Give the real object, once it has its certificate, with a change."""

    def deed(exchange: Exchange) -> None:
        answer = exchange.forward()
        document = answer.document
        status = document.get("status")
        if isinstance(status, dict) and status.get("certificate"):
            change(document)
        exchange.send(answer.status, json.dumps(document).encode())

    return deed


def with_certificate(pem: bytes) -> Deed:
    """Give the real object with this for its certificate."""

    def change(document: Any) -> None:
        document["status"]["certificate"] = base64.b64encode(pem).decode()

    return changed(change)


def forged(cluster: Cluster, forgery: Forgery) -> Deed:
    """Have the real signer sign, and give this instead of leaf, intermediate and root."""

    def change(document: Any) -> None:
        signed = base64.b64decode(document["status"]["certificate"]).decode()
        without = Changes(without=(AuthorityKeyIdentifier,))
        honest = {
            "certificate": resigned(signed, cluster.authority, without),
            "ca_chain": [cluster.authority.pem.decode(), cluster.root.pem.decode()],
        }
        found = forgery(cluster, honest)
        text = "\n".join((found["certificate"], *found["ca_chain"]))
        document["status"]["certificate"] = base64.b64encode(text.encode()).decode()

    return changed(change)
