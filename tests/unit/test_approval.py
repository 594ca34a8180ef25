"""Default-deny: what is approved is exactly what the policy allows, and every attack is named."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from certrotd.core import approval
from certrotd.core.model import KeyAlgorithm
from certrotd.core.model.kubelets import ApprovalPolicy, NodeFacts, Purpose, Ruling
from certrotd.core.x509 import parse_request
from tests.factories import NOW
from tests.unit.attacks import ATTACKS, BOOTSTRAPPER
from tests.unit.requests_of_kubelets import (
    CLIENT,
    NODE,
    SERVING,
    dns,
    ips,
    pem,
    serving,
    subject,
    submitted,
)

if TYPE_CHECKING:
    from certrotd.core.model.kubelets import SubmittedRequest, Verdict

POLICY = ApprovalPolicy()
BOOTSTRAP = replace(POLICY, bootstrap_groups=frozenset({"system:bootstrappers"}))
RSA_2048 = rsa.generate_private_key(65537, 2048)


def judge(
    request: SubmittedRequest, policy: ApprovalPolicy = POLICY, node: NodeFacts = NODE
) -> Verdict:
    return approval.judge(request, node, policy, NOW)


@pytest.mark.parametrize(
    "request_",
    [
        submitted(pem()),
        submitted(pem(key=RSA_2048), usages=(*CLIENT, "key encipherment")),
        submitted(pem(), lifetime=timedelta(hours=24)),
        serving(),
        serving(*dns("NODE-1.example")),
        serving(*ips("fd00::11")),
    ],
)
def test_what_a_kubelet_asks_for_is_approved(request_: SubmittedRequest) -> None:
    assert judge(request_).ruling is Ruling.APPROVED


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_stays_unapproved_and_is_named(attack: str) -> None:
    request, ruling, rule = ATTACKS[attack]
    verdict = judge(request)
    assert (verdict.ruling, verdict.rule) == (ruling, rule)
    assert verdict.detail


@pytest.mark.parametrize(
    "signer",
    [
        "kubernetes.io/kube-apiserver-client",
        "kubernetes.io/kubelet-serving ",
        "kubernetes.io/Kubelet-serving",
        "kubernetes.io/kubelet-servinɡ",  # noqa: RUF001  # the last letter is another alphabet's
        "example.com/kubelet-serving",
        "",
    ],
)
def test_other_signers_are_not_touched(signer: str) -> None:
    assert judge(serving(signer=signer)).ruling is Ruling.PASSED_OVER


def test_only_purposes_of_the_policy_are_its_concern() -> None:
    policy = replace(POLICY, purposes=frozenset({Purpose.SERVING}))
    assert judge(submitted(pem()), policy).ruling is Ruling.PASSED_OVER


def test_a_request_signed_by_another_key_is_denied() -> None:
    der = bytearray(base64.b64decode(b"".join(pem().splitlines()[1:-1])))
    der[-1] ^= 1
    text = base64.encodebytes(bytes(der))
    verdict = judge(submitted(
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + text + b"-----END CERTIFICATE REQUEST-----\n"
    ))  # fmt: skip
    assert (verdict.ruling, verdict.rule) == (Ruling.DENIED, "request")


def test_an_extension_twice_is_denied() -> None:
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x00")
    der = base64.b64decode(b"".join(pem(None, dns("node-1"), other).splitlines()[1:-1]))
    twice = der.replace(b"\x06\x03\x55\x1d\x63", b"\x06\x03\x55\x1d\x11")
    assert twice != der
    verdict = judge(submitted(labelled(twice)))
    assert verdict.ruling is Ruling.DENIED
    assert "uplicate" in verdict.detail


def labelled(der: bytes) -> bytes:
    """Put the PEM label of a request around it."""
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"


def test_a_weak_digest_is_denied() -> None:
    request = submitted(pem())
    case = approval.Case(
        submitted=request,
        purpose=Purpose.CLIENT,
        parsed=replace(parse_request(request.request), digest="sha1"),
        node=NODE,
        policy=POLICY,
        now=NOW,
    )
    assert approval.key(case) == "it is signed with sha1"


def test_a_first_certificate_is_for_a_node_that_nobody_is() -> None:
    request = submitted(pem(), **BOOTSTRAPPER)
    assert judge(request, BOOTSTRAP, NodeFacts(name="node-1", exists=False)).ruling is (
        Ruling.APPROVED
    )
    verdict = judge(request, BOOTSTRAP)
    assert (verdict.ruling, verdict.rule) == (Ruling.PENDING, "existence")
    away = replace(NODE, last_seen=NOW - timedelta(hours=2))
    assert judge(request, BOOTSTRAP, away).ruling is Ruling.APPROVED


def test_a_node_that_is_not_there_yet_waits() -> None:
    verdict = judge(serving(), node=replace(NODE, exists=False))
    assert (verdict.ruling, verdict.rule) == (Ruling.PENDING, "existence")


def test_addresses_must_lie_in_the_allowed_networks() -> None:
    policy = replace(POLICY, networks=(ip_network("192.168.0.0/16"),))
    assert judge(serving(), policy).rule == "shapes"


def test_too_many_in_an_hour_wait() -> None:
    many = tuple(NOW - timedelta(minutes=m) for m in range(POLICY.per_hour))
    verdict = judge(submitted(pem()), node=replace(NODE, approved=many))
    assert (verdict.ruling, verdict.rule) == (Ruling.PENDING, "rate")
    older = tuple(each - timedelta(hours=1) for each in many)
    assert judge(submitted(pem()), node=replace(NODE, approved=older)).ruling is Ruling.APPROVED


def test_a_second_one_waits_while_the_first_is_young() -> None:
    policy = replace(POLICY, not_within=timedelta(minutes=10))
    young = replace(NODE, approved=(NOW - timedelta(minutes=9),))
    assert judge(submitted(pem()), policy, young).rule == "rate"


def test_facts_of_another_node_approve_nothing() -> None:
    verdict = judge(submitted(pem()), node=replace(NODE, name="node-2"))
    assert (verdict.ruling, verdict.rule) == (Ruling.PENDING, "about")


def test_the_node_is_who_asks_not_who_is_asked_for() -> None:
    request = submitted(pem(subject("system:node:node-2")))
    assert approval.node_name(request) == "node-1"
    assert approval.node_name(submitted(pem(), **BOOTSTRAPPER)) == "node-1"
    assert approval.node_name(submitted(b"", **BOOTSTRAPPER)) is None


_NAMES = st.sampled_from(
    ["node-1", "node-1.example", "node-2", "*.example", "kubernetes", "a" * 70]
)
_ADDRESSES = st.sampled_from(["10.0.0.11", "fd00::11", "10.0.0.12", "127.0.0.1"])
_SUBJECTS = st.sampled_from(["system:node:node-1", "system:node:node-2", "kubernetes-admin"])
_GROUPS = st.lists(st.sampled_from(["system:nodes", "system:masters"]), max_size=3)
_USAGES = st.lists(
    st.sampled_from(
        ["digital signature", "client auth", "server auth", "key encipherment", "cert sign"]
    ),
    max_size=4,
)


@given(
    common_name=_SUBJECTS,
    organizations=_GROUPS,
    names=st.lists(_NAMES, max_size=3),
    addresses=st.lists(_ADDRESSES, max_size=3),
    usages=_USAGES,
    purpose=st.sampled_from(Purpose),
    hours=st.none() | st.integers(0, 20_000),
    username=st.sampled_from(
        ["system:node:node-1", "system:node:node-2", "system:bootstrap:a", "kubernetes-admin"]
    ),
    exists=st.booleans(),
)
def test_nothing_approved_ever_has_more_than_the_policy_allows(  # noqa: PLR0913
    *,
    common_name: str,
    organizations: list[str],
    names: list[str],
    addresses: list[str],
    usages: list[str],
    purpose: Purpose,
    hours: int | None,
    username: str,
    exists: bool,
) -> None:
    lifetime = None if hours is None else timedelta(hours=hours)
    request = submitted(
        pem(subject(common_name, *organizations), (*dns(*names), *ips(*addresses))),
        purpose,
        username=username,
        groups=("system:nodes", "system:bootstrappers"),
        usages=tuple(usages),
        lifetime=lifetime,
    )
    node = replace(NODE, exists=exists, last_seen=NOW if exists else None)
    if judge(request, BOOTSTRAP, node).ruling is not Ruling.APPROVED:
        return
    assert common_name == "system:node:node-1"
    assert organizations in ([], ["system:nodes"])  # none given: the nodes' group
    expected = CLIENT if purpose is Purpose.CLIENT else SERVING
    assert sorted(usages) == sorted(expected)
    assert lifetime is None or POLICY.shortest <= lifetime <= POLICY.longest
    assert set(names) <= NODE.dns_names
    assert {ip_address(each) for each in addresses} <= NODE.ip_addresses
    if purpose is Purpose.CLIENT:
        assert not names
        assert not addresses
    else:
        assert username == common_name
    assert username == common_name or not exists


@given(st.binary(max_size=2000))
def test_no_bytes_break_the_parser(raw: bytes) -> None:
    for each in (raw, labelled(raw)):
        assert judge(submitted(each)).ruling is Ruling.DENIED


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_request_with_one_byte_changed_is_never_approved(at: int, flip: int) -> None:
    der = bytearray(base64.b64decode(b"".join(pem().splitlines()[1:-1])))
    signed = x509.load_der_x509_csr(bytes(der)).tbs_certrequest_bytes
    der[at % len(der)] ^= flip
    verdict = judge(submitted(labelled(bytes(der))))
    # Of a signature with an even last byte, DER allows to call the last bit unused.
    if verdict.ruling is Ruling.APPROVED:
        assert x509.load_der_x509_csr(bytes(der)).tbs_certrequest_bytes == signed


def test_every_key_of_the_configuration_may_be_allowed() -> None:
    assert POLICY.keys == frozenset(KeyAlgorithm)


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_denied_is_never_signed_whoever_approved_it(attack: str) -> None:
    request, ruling, rule = ATTACKS[attack]
    objection = approval.objection(replace(request, approved="a person said so"), POLICY)
    if ruling is Ruling.PENDING:
        assert objection is None  # a person may know more of the node
    else:
        assert objection is not None
        assert (objection.ruling, objection.rule) == (ruling, rule)


def test_nothing_is_against_what_a_kubelet_asks_for() -> None:
    assert approval.objection(submitted(pem()), POLICY) is None
    assert approval.objection(serving(), POLICY) is None


def test_what_somebody_else_wrote_is_shown_short_and_printable() -> None:
    evil = pem(subject("system:node:node-1", *["\x1b[2J" + "x" * 50] * 20))
    verdict = judge(submitted(evil))
    assert verdict.rule == "subject"
    assert verdict.detail.isprintable()
    assert len(verdict.detail) <= 500


def test_networks_that_are_given_are_the_only_ones() -> None:
    loopback = replace(NODE, ip_addresses=frozenset({ip_address("127.0.0.1")}))
    policy = replace(POLICY, networks=(ip_network("127.0.0.0/8"),))
    assert judge(serving(*ips("127.0.0.1")), policy, loopback).ruling is Ruling.APPROVED
