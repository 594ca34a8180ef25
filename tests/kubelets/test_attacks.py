"""Everything a certificate could be stolen with, submitted to a real kube-apiserver.

What it lets in must stay unapproved, and say in its Event which rule decided.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certrotd.core.errors import ApiRefused
from tests.kubelets.approver import ApproverProcess
from tests.kubelets.lab import BOOTSTRAPPERS
from tests.unit.requests_of_kubelets import CLIENT, KEY, SERVING, dns, ips, pem, subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kubelets.lab import KubeletLab

pytestmark = pytest.mark.servers
SERVER = {"signer": "kubernetes.io/kubelet-serving", "usages": SERVING}
NODE, BOOTSTRAP, PERSON = "system:node:node-1", "system:bootstrap:abcdef", "jane"
WEAK = rsa.generate_private_key(65537, 1024)
OF_NODE_1 = (*dns("node-1"), *ips("10.0.0.11"))


@dataclass(frozen=True)
class Attack:
    """A request, who makes it, and what comes of it: the reason of an Event, or `refused`."""

    csr: bytes
    comes: str
    who: str = NODE
    more: dict[str, Any] | None = None


def twice() -> bytes:
    """The SAN extension twice: the library refuses to make that, so another is renamed."""
    names = x509.SubjectAlternativeName(dns("node-1"))
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), names.public_bytes())
    builder = x509.CertificateSigningRequestBuilder(subject())
    builder = builder.add_extension(names, critical=False).add_extension(other, critical=False)
    made = builder.sign(KEY, hashes.SHA256())
    body = made.tbs_certrequest_bytes.replace(b"\x55\x1d\x63", b"\x55\x1d\x11")
    signature = KEY.sign(body, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    bits = b"\x03" + bytes([len(signature) + 1]) + b"\x00" + signature
    whole = body + algorithm + bits
    der = b"\x30\x82" + len(whole).to_bytes(2, "big") + whole
    return _pem(der)


def _pem(der: bytes) -> bytes:
    lines = base64.encodebytes(der)
    head, tail = b"-----BEGIN CERTIFICATE REQUEST-----\n", b"-----END CERTIFICATE REQUEST-----\n"
    return head + lines + tail


def replayed() -> bytes:
    """A request whose key was replaced by another, so that its signature is somebody else's."""
    der = x509.load_pem_x509_csr(pem()).public_bytes(serialization.Encoding.DER)
    kind, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    other = ec.generate_private_key(ec.SECP256R1())
    mine, theirs = (k.public_key().public_bytes(kind, form) for k in (KEY, other))
    return _pem(der.replace(mine, theirs))


ATTACKS = {
    "another node's name": Attack(pem(subject("system:node:node-2")), "refused"),
    "another node's name by a token, while that node is there": Attack(
        pem(), "LeftPendingByExistence", BOOTSTRAP
    ),
    "a serving certificate by a token": Attack(
        pem(None, OF_NODE_1), "DeniedByRequester", BOOTSTRAP, SERVER
    ),
    "a person": Attack(pem(), "DeniedByRequester", PERSON),
    "system:masters besides": Attack(
        pem(subject(NODE, "system:nodes", "system:masters")), "DeniedBySubject"
    ),
    "system:masters alone, by a token": Attack(
        pem(subject("kubernetes-admin", "system:masters")), "DeniedBySubject", BOOTSTRAP
    ),
    "a name that is not the node's": Attack(
        pem(None, (*OF_NODE_1, *dns("node-2.example"))), "LeftPendingByAddresses", more=SERVER
    ),
    "an address that is not the node's": Attack(
        pem(None, ips("10.0.0.11", "10.0.0.12")), "LeftPendingByAddresses", more=SERVER
    ),
    "the API server's name": Attack(
        pem(None, (*OF_NODE_1, *dns("kubernetes.default.svc"))), "DeniedByShapes", more=SERVER
    ),
    "a wildcard": Attack(pem(None, dns("*.example")), "DeniedByShapes", more=SERVER),
    "a URI": Attack(
        pem(None, (*OF_NODE_1, x509.UniformResourceIdentifier("spiffe://cluster/admin"))),
        "DeniedByForeign", more=SERVER,
    ),
    "an email address": Attack(
        pem(None, (*OF_NODE_1, x509.RFC822Name("root@example.com"))),
        "DeniedByForeign", more=SERVER,
    ),
    "CA:TRUE": Attack(
        pem(None, (), x509.BasicConstraints(ca=True, path_length=None)), "DeniedByForeign"
    ),
    "extended usages inside": Attack(
        pem(None, (), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])), "DeniedByForeign"
    ),
    "usages of both kinds": Attack(
        pem(), "DeniedByUsages", more={"usages": (*CLIENT, "server auth")}
    ),
    "usages that sign": Attack(pem(), "DeniedByUsages", more={"usages": (*CLIENT, "cert sign")}),
    "RSA-1024": Attack(
        pem(key=WEAK), "DeniedByKey", more={"usages": (*CLIENT, "key encipherment")}
    ),
    "an extension twice": Attack(twice(), "refused", more=SERVER),
    "another key under an old signature": Attack(replayed(), "refused"),
    "ten years": Attack(pem(), "DeniedByLifetime", more={"lifetime": 3650 * 86400}),
    "no PEM": Attack(b"-----BEGIN CERTIFICATE REQUEST-----\nQUJD\n", "refused"),
    "two requests in one": Attack(pem() + pem(), "DeniedByRequest"),
    "a megabyte": Attack(pem() + b"#" * 1_000_000, "DeniedByRequest"),
}  # fmt: skip


@pytest.fixture(scope="module")
def approver(
    signing_cluster: KubeletLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApproverProcess]:
    policy = {"bootstrap_groups": [BOOTSTRAPPERS]}
    made = ApproverProcess(signing_cluster, tmp_path_factory.mktemp("approver"), policy=policy)
    signing_cluster.bind("system:node-bootstrapper", "people")
    with made:
        yield made


def connection(lab: KubeletLab, who: str) -> Any:
    groups = {NODE: "system:nodes", BOOTSTRAP: BOOTSTRAPPERS, PERSON: "people"}
    return lab.connection(who, groups[who])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_stays_unapproved_and_its_event_says_why(
    name: str, approver: ApproverProcess
) -> None:
    lab, attack = approver.lab, ATTACKS[name]
    who = connection(lab, attack.who)
    if attack.comes == "refused":
        with pytest.raises(ApiRefused):
            lab.ask(who, attack.csr, **(attack.more or {}))
        return
    called = lab.ask(who, attack.csr, **(attack.more or {}))
    lab.until(lambda: lab.events(called), f"an event about {name}")
    assert {each["reason"] for each in lab.events(called)} == {attack.comes}
    found = lab.conditions(called)
    assert "Approved" not in found
    assert ("Denied" in found) == attack.comes.startswith("Denied")
    assert lab.certificate(called) == b""


@pytest.mark.parametrize("signer", [
    "kubernetes.io/kubelet-serving-", "kubernetes.io/kubelet-serving.example",
    "example.com/kube-apiserver-client-kubelet", "kubernetes.io/kube-apiserver-client",
])  # fmt: skip
def test_signers_that_look_alike_are_not_touched(signer: str, approver: ApproverProcess) -> None:
    lab = approver.lab
    who = connection(lab, BOOTSTRAP)
    try:
        called = lab.ask(who, pem(subject("system:node:new")), signer=signer)
    except ApiRefused:
        return  # not a name that a signer could have
    after = lab.ask(connection(lab, PERSON), pem())
    lab.until(lambda: lab.events(after), "an event about a later request")
    assert lab.conditions(called) == {}
    assert lab.events(called) == []
