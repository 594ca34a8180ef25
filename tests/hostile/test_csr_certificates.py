"""The CSR path: well-formed objects with the wrong certificate, or of the wrong request.

The proxy signs with the cluster's own CA key, or with an intermediate below it.
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509 as cx
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm
from tests.authorities import Flaws, key_usage
from tests.hostile import deeds, forgeries
from tests.hostile.csrpath import NAMES, changed, forged, unchanged, with_certificate
from tests.hostile.forgeries import with_extension, with_name, with_names, with_usages
from tests.hostile.proxy import Purpose
from tests.kubelets.lab import CSRS_PATH
from tests.unit.requests_of_kubelets import pem, subject

if TYPE_CHECKING:
    from tests.hostile.csrpath import AskingNode, Cluster
    from tests.hostile.forgeries import Authorities, Data, Forgery
    from tests.hostile.proxy import Exchange

pytestmark = pytest.mark.servers

REFUSED = 1
CN, ORGANIZATION, UNIT = (
    NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME,
)  # fmt: skip
_DAY = timedelta(days=1)
_LEAF = cx.BasicConstraints(ca=False, path_length=None)
_MASTERS = (ORGANIZATION, "system:masters")
_NODES = (ORGANIZATION, "system:nodes")
_ANYBODY = "system:node:somebody"


def _named(*names: cx.GeneralName) -> Forgery:
    return with_extension(cx.SubjectAlternativeName(names), critical=False)


CLIENT: dict[str, tuple[Forgery, str]] = {
    "another CN": (with_name(_NODES, (CN, _ANYBODY)), "common name: expected system:node:asking-"),
    "no subject": (forgeries.changed(subject=cx.Name([])), "got none"),
    "another O": (
        with_name(_MASTERS, (CN, _ANYBODY)),
        "organizations: expected",
    ),
    "one O more": (
        with_name(_NODES, _MASTERS, (CN, _ANYBODY)),
        "got system:masters,",
    ),
    "a unit": (with_name(_NODES, (UNIT, "x"), (CN, _ANYBODY)), "other names and extensions"),
    "a name to serve under": (_named(cx.DNSName("api.example")), "DNS names: expected none"),
    "a name that a terminal obeys": (_named(cx.DNSName("\x1b]0;owned\x07")), "DNS names"),
    "a name of 1 MB": (_named(cx.DNSName("x" * 10**6)), "DNS names: expected none, got xxx"),
    "a URI": (_named(cx.UniformResourceIdentifier("spiffe://x/y")), "URIs: expected none"),
    "EKU any": (with_usages(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE), "got any"),
    "EKU server too": (
        with_usages(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
        "extended key usages: expected client auth, got client auth, server auth",
    ),
    "no EKU": (forgeries.changed(without=(cx.ExtendedKeyUsage,)), "extended key usages"),
    "may sign": (with_extension(key_usage("digital_signature", "key_cert_sign")), "cert sign"),
    "a CA leaf": (
        with_extension(cx.BasicConstraints(ca=True, path_length=None)),
        "basic constraints: expected CA:FALSE",
    ),
    "a CA in place of a leaf": (forgeries.authority_for_leaf, "basic constraints"),
    "the root in place of a leaf": (forgeries.root_for_leaf, "basic constraints"),
    "the leaf last": (forgeries.leaf_last, "basic constraints: expected CA:FALSE"),
    "ten years": (forgeries.changed(ends=3650 * _DAY), "not after: expected at most"),
    "from the future": (forgeries.changed(begins=_DAY / 2), "not before: expected at most"),
    "expired": (forgeries.changed(begins=-9 * _DAY, ends=-9 * _DAY), "not after: expected"),
    "an RSA key": (forgeries.with_key(KeyAlgorithm.RSA_2048), "got rsa-2048"),
    "somebody else's key": (forgeries.with_key(KeyAlgorithm.ECDSA_P256), "public key: expected"),
    "an unknown critical extension": (
        with_extension(cx.UnrecognizedExtension(cx.ObjectIdentifier("1.2.3.4"), b"\x05\x00")),
        "critical extension 1.2.3.4",
    ),
    "a stranger's": (forgeries.by_stranger("stranger"), "no pinned trust anchor"),
    "a stranger's of the same name": (forgeries.by_stranger(), "the signature does not verify"),
    "a flipped bit": (forgeries.with_flipped_bit(-1), "the signature does not verify"),
    "below a leaf": (forgeries.below(Flaws(constraints=_LEAF)), "is no certificate authority"),
    "below an expired CA": (
        forgeries.below(Flaws(begins=-9 * _DAY, ends=-_DAY)),
        "which expired at",
    ),
    "without its chain": (forgeries.replaced(ca_chain=[]), "no pinned trust anchor"),
    "two that sign each other": (forgeries.looped(2), "leads round in a circle"),
    "twelve that sign each other": (forgeries.looped(12), "no path was found"),
    "rubbish": (forgeries.replaced(certificate="rubbish", ca_chain=[]), "no PEM certificate"),
    "a PEM block without end": (
        forgeries.replaced(certificate="-----BEGIN CERTIFICATE-----\nMII", ca_chain=[]),
        "has no end",
    ),
    "PEM of rubbish": (
        forgeries.replaced(
            certificate="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", ca_chain=[]
        ),
        "not a certificate",
    ),
}
SERVING: dict[str, tuple[Forgery, str]] = {
    "one DNS name more": (with_names(cx.DNSName("api.example")), "DNS names: expected node-9, got"),
    "a wildcard more": (with_names(cx.DNSName("*.example")), "DNS names: expected node-9, got"),
    "one address less": (with_names(without=NAMES["ip_addresses"][0]), "IP addresses: expected"),
    "no names": (forgeries.changed(without=(cx.SubjectAlternativeName,)), "IP addresses: expected"),
    "EKU client too": (
        with_usages(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
        "extended key usages: expected server auth, got client auth, server auth",
    ),
}


def with_stranger_key(_: Authorities, data: Data) -> Data:
    """A private key besides."""
    key = x509.key_pem(x509.new_key(KeyAlgorithm.ECDSA_P256)).reveal().decode()
    return data | {"certificate": key + data["certificate"]}


def with_crowd(site: Authorities, data: Data) -> Data:
    """Authorities nobody needs, more than the store holds."""
    return data | {"ca_chain": [*data["ca_chain"], *[site.root.pem.decode()] * 2500]}


HARMLESS: dict[str, Forgery] = forgeries.HARMLESS | {
    "a second leaf": forgeries.with_second_leaf,
    "a private key besides": with_stranger_key,
    "2,500 authorities besides": with_crowd,
}


def insist_on_refusal(node: AskingNode, message: str, kind: str = "client") -> None:
    with unchanged(node, kind=kind):
        node.write(answer_within="60s")
        outcome = node.renew()
        assert outcome.code == REFUSED, outcome.said
        assert message in outcome.said
        assert "defect" not in outcome.said
        assert "\x1b" not in outcome.said
        assert len(outcome.said) < 20_000
        assert node.proxy.count(Purpose.SUBMIT) == 1


@pytest.mark.parametrize("name", CLIENT)
def test_a_forgery_is_refused_and_named(cluster: Cluster, asking: AskingNode, name: str) -> None:
    forgery, message = CLIENT[name]
    asking.proxy.deeds[Purpose.LOOK] = forged(cluster, forgery)
    insist_on_refusal(asking, message)


@pytest.mark.parametrize("name", SERVING)
def test_a_forgery_to_serve_with_is_refused_and_named(
    cluster: Cluster, asking: AskingNode, name: str
) -> None:
    forgery, message = SERVING[name]
    asking.serve()
    asking.proxy.deeds[Purpose.LOOK] = forged(cluster, forgery)
    insist_on_refusal(asking, message, "server")


def test_a_life_that_was_not_asked_for_is_refused(cluster: Cluster, asking: AskingNode) -> None:
    asking.write(lifetime="1h")
    longer = forgeries.changed(ends=timedelta(hours=1))
    asking.proxy.deeds[Purpose.LOOK] = forged(cluster, longer)
    insist_on_refusal(asking, "time to live: expected about 1:00:00")


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_only_untidy_is_stored_tidily(
    cluster: Cluster, asking: AskingNode, name: str
) -> None:
    asking.write(answer_within="60s")
    asking.proxy.deeds[Purpose.LOOK] = forged(cluster, HARMLESS[name])
    outcome = asking.renew()
    assert outcome.code == 0, outcome.said
    assert asking.consistent()
    content = asking.current().read_bytes()
    _leaf, *authorities = x509.split_pem(content)
    assert authorities == [*x509.split_pem(cluster.authority.pem + cluster.root.pem)]
    assert content.count(b"PRIVATE KEY") == 2, "one key, its begin and end"
    asking.proxy.honest()
    asking.rest()
    assert asking.renew().code == 0


# Objects of other requests


def recorded(node: AskingNode) -> bytes:
    """Renew honestly; returns the last object that kube-apiserver showed."""
    shown: list[bytes] = []

    def record(exchange: Exchange) -> None:
        answer = exchange.forward()
        shown.append(answer.body)
        exchange.send(answer.status, answer.body)

    node.write(answer_within="60s")
    node.proxy.deeds[Purpose.LOOK] = record
    assert node.renew().code == 0
    node.rest()
    node.proxy.honest()
    assert json.loads(shown[-1])["status"]["certificate"]
    return shown[-1]


def of_another(cluster: Cluster) -> Any:
    """The object of another node's request, with its certificate."""
    lab, name = cluster.lab, "system:node:somebody-else"
    asked = lab.ask(lab.connection(name, "system:nodes"), pem(subject(name)))
    lab.until(lambda: lab.certificate(asked), "a certificate for another node")
    return lab.admin.call("GET", f"{CSRS_PATH}/{asked}")


def test_an_older_object_is_refused(asking: AskingNode) -> None:
    older = recorded(asking)
    asking.proxy.deeds[Purpose.LOOK] = deeds.status(200, older)
    with unchanged(asking):
        outcome = asking.renew()
        assert outcome.code == REFUSED
        assert "is another" in outcome.said
        assert asking.proxy.count(Purpose.SUBMIT) == 0


def test_an_older_certificate_is_refused(asking: AskingNode) -> None:
    older = json.loads(recorded(asking))["status"]["certificate"]
    asking.proxy.deeds[Purpose.LOOK] = with_certificate(base64.b64decode(older))
    insist_on_refusal(asking, "public key: expected ours, got another")


def test_an_object_from_before_its_answer_is_waited_with_and_does_no_harm(
    asking: AskingNode,
) -> None:
    first: list[bytes] = []

    def stuck(exchange: Exchange) -> None:
        answer = exchange.forward()
        if answer.status == 200:
            first.append(answer.body)
            document = json.loads(first[0]) | {"status": {}}
            exchange.send(200, json.dumps(document).encode())
        else:
            exchange.send(answer.status, answer.body)

    asking.proxy.deeds[Purpose.LOOK] = stuck
    with unchanged(asking):
        outcome = asking.renew()
        assert outcome.code == REFUSED
        assert "waits for approval" in outcome.said


def test_another_nodes_object_is_refused(cluster: Cluster, asking: AskingNode) -> None:
    other = json.dumps(of_another(cluster)).encode()
    asking.proxy.deeds[Purpose.SUBMIT] = deeds.status(201, other)
    with unchanged(asking):
        outcome = asking.renew()
        assert outcome.code == REFUSED
        assert "is another" in outcome.said


def test_another_nodes_certificate_is_refused(cluster: Cluster, asking: AskingNode) -> None:
    other = base64.b64decode(of_another(cluster)["status"]["certificate"])
    asking.proxy.deeds[Purpose.LOOK] = with_certificate(other)
    insist_on_refusal(asking, "public key: expected ours, got another")


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("metadata", "name", "certrotd-kubelet-client-00000000000000000000000000000000"),
        ("metadata", "name", "\x1b]0;owned\x07"),
        ("spec", "request", base64.b64encode(pem()).decode()),
        ("spec", "request", ""),
        ("spec", "signerName", "kubernetes.io/kubelet-serving"),
    ],
)
def test_an_object_that_is_not_what_was_submitted_is_refused(
    asking: AskingNode, part: str, field: str, value: str
) -> None:
    def other(document: Any) -> None:
        document[part][field] = value

    asking.proxy.deeds[Purpose.LOOK] = changed(other)
    insist_on_refusal(asking, "is another")


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_what_nobody_asked_for_in_an_object_does_no_harm(asking: AskingNode, field: str) -> None:
    def other(document: Any) -> None:
        document["metadata"][field] = "4711"

    asking.write(answer_within="60s")
    asking.proxy.deeds[Purpose.LOOK] = changed(other)
    assert asking.renew().code == 0
    assert asking.consistent()
