"""Certificates that are not as certrotd makes them: what is kept, and what is said about it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certrotd.adapters.clock import SystemClock
from certrotd.config import load
from certrotd.core.model import Reason
from certrotd.core.planning import Wish
from tests.discovery.looked import data_of, loaded, text_of, words_of
from tests.discovery.planned import rotator

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from tests.discovery.kubeadm import KubeadmNode

pytestmark = pytest.mark.servers
PEER = "etcd-peer"


@pytest.fixture
def node(master: KubeadmNode, tmp_path: Path) -> KubeadmNode:
    return master.copied(tmp_path / "kubernetes")


def put(
    node: KubeadmNode,
    *extensions: x509.ExtensionType,
    subject: tuple[tuple[x509.ObjectIdentifier, str], ...] = ((NameOID.COMMON_NAME, "peer"),),
    curve: ec.EllipticCurve | None = None,
    signed: bool = True,
) -> None:
    """Put another pair in the place of etcd's peer pair, signed by etcd's CA or by itself."""
    folder = node.pki / "etcd"
    key = ec.generate_private_key(curve or ec.SECP256R1())
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    signer: Any = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    now = SystemClock().now()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority.subject if signed else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=300))
    )
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    by: CertificateIssuerPrivateKeyTypes = signer if signed else key
    certificate = builder.sign(by, hashes.SHA256())
    (folder / "peer.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "peer.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def usage(**given: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{each: given.get(each, False) for each in names})


BOTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
NAMES = x509.SubjectAlternativeName([x509.DNSName("peer.example")])


def peer_of(node: KubeadmNode) -> dict[str, Any]:
    found: dict[str, Any] = data_of(node)["components"]["etcd"]["certificates"][PEER]
    return found


def reasons(node: KubeadmNode, folder: Path) -> set[Reason]:
    """What `plan` finds for the peer pair the day after tomorrow."""
    now = SystemClock().now() + timedelta(days=2)
    plan = rotator(loaded(node, folder), folder / "state", now).plan(Wish())
    (seen,) = (each for each in plan.observations if each.spec.name == PEER)
    return {each.reason for each in seen.findings}


def test_every_name_a_configuration_can_have_is_kept(node: KubeadmNode, tmp_path: Path) -> None:
    names = x509.SubjectAlternativeName(
        [x509.DNSName("*.example"), x509.UniformResourceIdentifier("spiffe://cluster/etcd")]
    )
    subject = (
        (NameOID.COMMON_NAME, "a: peer #1 'x'"),
        (NameOID.ORGANIZATION_NAME, "system:masters"),
        (NameOID.ORGANIZATION_NAME, "Ünï"),
    )
    put(node, names, BOTH, usage(digital_signature=True), subject=subject)
    peer = peer_of(node)
    assert peer["common_name"] == "a: peer #1 'x'"
    assert set(peer["organizations"]) == {"system:masters", "Ünï"}
    assert peer["dns_names"] == ["*.example"]
    assert peer["uris"] == ["spiffe://cluster/etcd"]
    assert peer["usages"] == ["digital signature", "server auth", "client auth"]
    assert reasons(node, tmp_path) == {Reason.DUE}


def test_what_cannot_be_kept_is_told(node: KubeadmNode, tmp_path: Path) -> None:
    names = x509.SubjectAlternativeName(
        [x509.DNSName("peer.example"), x509.RFC822Name("root@example")]
    )
    subject = (
        (NameOID.COMMON_NAME, "peer"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "team\n# a line of its own"),
    )
    extended = x509.ExtendedKeyUsage([*BOTH, ExtendedKeyUsageOID.CODE_SIGNING])
    put(
        node,
        names,
        extended,
        usage(digital_signature=True, content_commitment=True),
        subject=subject,
    )
    words = words_of(node)
    assert "not kept of the certificate in place: subject OU=team" in words
    assert "SAN RFC822Name" in words
    assert "key usages are left to the role: content commitment cannot be asked for" in words
    assert "extended key usage code signing is not kept" in words
    assert peer_of(node)["usages"] == ["server auth", "client auth"]
    assert "\n# a line of its own" not in text_of(node)
    assert loaded(node, tmp_path).components


def test_without_extended_usages_those_of_its_purpose_are_asked_for(
    node: KubeadmNode, tmp_path: Path
) -> None:
    put(node, NAMES, usage(digital_signature=True))
    assert peer_of(node)["usages"] == ["digital signature", "server auth", "client auth"]
    assert "`certrotd plan` says spec_changed once" in words_of(node)
    assert reasons(node, tmp_path) == {Reason.SPEC_CHANGED, Reason.DUE}


def test_a_key_that_certrotd_does_not_make_is_told(node: KubeadmNode, tmp_path: Path) -> None:
    put(node, NAMES, BOTH, usage(digital_signature=True), curve=ec.SECP521R1())
    assert "key" not in peer_of(node)
    assert "the key in place is ecdsa-p521, which certrotd does not make" in words_of(node)
    assert reasons(node, tmp_path) == {Reason.SPEC_CHANGED, Reason.DUE}


def test_a_key_of_another_kind_than_most_is_written_where_it_belongs(
    node: KubeadmNode, tmp_path: Path
) -> None:
    put(node, NAMES, BOTH, usage(digital_signature=True), curve=ec.SECP384R1())
    data = data_of(node)
    assert data["defaults"]["key"] == "ecdsa-p256"
    assert peer_of(node)["key"] == "ecdsa-p384"
    assert reasons(node, tmp_path) == {Reason.DUE}


def test_a_certificate_without_a_common_name_gets_one(node: KubeadmNode, tmp_path: Path) -> None:
    put(node, NAMES, BOTH, usage(digital_signature=True), subject=())
    assert peer_of(node)["common_name"] == PEER
    assert "has no common name, which certrotd needs" in words_of(node)
    assert reasons(node, tmp_path) == {Reason.SPEC_CHANGED, Reason.DUE}


def test_a_ca_that_is_not_on_the_node_is_left_to_be_filled_in(
    node: KubeadmNode, tmp_path: Path
) -> None:
    put(node, NAMES, BOTH, usage(digital_signature=True), signed=False)
    data = data_of(node, issuer="ca")
    assert peer_of(node)["issuer"] == "unknown"
    assert data["issuers"]["unknown"]["trust_anchors"] == "/etc/certrotd/anchors/unknown.pem"
    assert f"the CA that signed {PEER}; fill in its file" in words_of(node)
    assert reasons(node, tmp_path) == {Reason.WRONG_ISSUER, Reason.DUE}


def test_an_old_certificate_is_found_with_its_issuer(node: KubeadmNode, tmp_path: Path) -> None:
    path = tmp_path / "certrotd.yaml"
    path.write_text(text_of(node))
    now = SystemClock().now() + timedelta(days=4000)
    plan = rotator(load(path), tmp_path / "state", now).plan(Wish())
    assert all(
        Reason.EXPIRED in {each.reason for each in seen.findings} for seen in plan.observations
    )
    assert not any(
        Reason.SPEC_CHANGED in {each.reason for each in seen.findings} for seen in plan.observations
    )
