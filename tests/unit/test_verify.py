from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509 as cx
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.core import x509
from certrotd.core.errors import Rejected
from certrotd.core.model import Issued, KeyAlgorithm, Secret, Usage
from certrotd.core.verify import verify
from tests.authorities import Authority, Flaws, key_usage
from tests.factories import CLIENT, NOW, SERVER, SKEW, Lab, lab, make_client_spec, make_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from certrotd.core.model import CertificateSpec

HERE = Path("/etc/pki")
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def mismatches(
    issued: Issued, anchors: tuple[bytes, ...] | None = None, now: datetime = NOW
) -> dict[str, str]:
    """The field and text of everything that differs."""
    with pytest.raises(Rejected) as caught:
        verify(issued, anchors or lab().anchors, now, SKEW)
    assert caught.value.certificate == issued.spec.name
    fields = [each.field for each in caught.value.mismatches]
    assert all(field in str(caught.value) for field in fields)
    return {each.field: str(each) for each in caught.value.mismatches}


def answered(asked: CertificateSpec, **changes: Any) -> Issued:
    """What an issuer answers that signs something else than was asked for."""
    return replace(lab().issued(replace(asked, **changes)), spec=asked)


# What is right


@pytest.mark.parametrize("make", [make_spec, make_client_spec])
@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_what_was_asked_for_is_accepted(
    make: Callable[..., CertificateSpec], algorithm: KeyAlgorithm
) -> None:
    issued = lab().issued(make(HERE, key=algorithm))
    verified = verify(issued, lab().anchors, NOW, SKEW)
    assert verified.chain == (issued.chain[0],)
    assert verified.anchors == lab().anchors
    assert verified.leaf.pem == issued.chain[0]
    assert verified.private_key == issued.private_key
    assert verified.issued_at == NOW


def test_the_published_chain_has_its_intermediates_and_not_its_anchor() -> None:
    below = Lab(intermediate=True)
    issued = below.issued(make_spec(HERE))
    shuffled = replace(issued, chain=(issued.chain[0], below.certificate, issued.chain[1]))
    assert verify(shuffled, below.anchors, NOW, SKEW).chain == issued.chain


def test_names_may_come_in_another_order_or_twice() -> None:
    asked = make_spec(
        HERE,
        dns_names=("a.example", "B.example"),
        ip_addresses=(ip_address("10.0.0.1"), ip_address("::1")),
        organizations=("one", "two"),
    )
    issued = answered(
        asked,
        dns_names=("b.EXAMPLE", "a.example", "a.example"),
        ip_addresses=(ip_address("::1"), ip_address("10.0.0.1")),
        organizations=("two", "one"),
    )
    verify(issued, lab().anchors, NOW, SKEW)


def test_without_key_usages_in_the_specification_the_role_decides() -> None:
    asked = make_spec(HERE, usages=(Usage.SERVER_AUTH,))
    usages = (Usage.DIGITAL_SIGNATURE, Usage.KEY_ENCIPHERMENT, Usage.SERVER_AUTH)
    verify(answered(asked, usages=usages), lab().anchors, NOW, SKEW)


def test_a_signer_whose_clock_is_ahead_within_the_skew_is_accepted() -> None:
    spec = make_spec(HERE)
    issued = lab().issued(spec, NOW + MINUTE)  # its not before lies 30 s back from there
    verify(issued, lab().anchors, NOW, MINUTE)


# Every single field


@pytest.mark.parametrize(
    ("field", "changes", "expected", "actual"),
    [
        ("common name", {"common_name": "evil"}, "server.example", "evil"),
        ("organizations", {"organizations": ("system:masters",)}, "none", "system:masters"),
        ("DNS names", {"dns_names": ()}, "localhost", "none"),
        ("DNS names", {"dns_names": ("localhost", "x")}, "localhost", "localhost, x"),
        ("IP addresses", {"ip_addresses": ()}, "127.0.0.1", "none"),
        ("IP addresses", {"ip_addresses": (ip_address("10.0.0.1"),)}, "127.0.0.1", "10.0.0.1"),
        ("URIs", {"uris": ("spiffe://a/b",)}, "none", "spiffe://a/b"),
        ("key", {"key": KeyAlgorithm.ECDSA_P384}, "ecdsa-p256", "ecdsa-p384"),
        ("key", {"key": KeyAlgorithm.ED25519}, "ecdsa-p256", "ed25519"),
        ("extended key usages", {"usages": CLIENT}, "server auth", "client auth"),
        (
            "extended key usages",
            {"usages": (*SERVER, Usage.CLIENT_AUTH)},
            "server auth",
            "client auth, server auth",
        ),
        (
            "key usages",
            {"usages": (*SERVER, Usage.KEY_ENCIPHERMENT)},
            "digital signature",
            "digital signature, key encipherment",
        ),
        ("key usages", {"usages": (Usage.KEY_AGREEMENT, Usage.SERVER_AUTH)}, "digital", "agree"),
        ("time to live", {"ttl": DAY}, "7 days", "1 day"),
        ("time to live", {"ttl": 30 * DAY}, "7 days", "30 days"),
    ],
)
def test_one_difference_is_named_and_nothing_else(
    field: str, changes: dict[str, Any], expected: str, actual: str
) -> None:
    found = mismatches(answered(make_spec(HERE), **changes))
    assert list(found) == [field]
    assert expected in found[field].partition("got")[0]
    assert actual in found[field].partition("got")[2]


def test_all_differences_are_named_at_once() -> None:
    found = mismatches(
        answered(
            make_spec(HERE),
            common_name="evil",
            dns_names=("evil",),
            usages=CLIENT,
            key=KeyAlgorithm.ED25519,
            ttl=DAY,
        )
    )
    assert set(found) == {
        "common name",
        "DNS names",
        "extended key usages",
        "key",
        "time to live",
    }


_VALUES: dict[str, tuple[Any, ...]] = {
    "common_name": ("a", "b"),
    "organizations": ((), ("one",), ("one", "two")),
    "dns_names": ((), ("a.example",), ("a.example", "b.example")),
    "ip_addresses": ((), (ip_address("10.0.0.1"),), (ip_address("::1"),)),
    "uris": ((), ("spiffe://a/b",)),
    "usages": (SERVER, CLIENT, (*SERVER, Usage.CLIENT_AUTH)),
    "key": (KeyAlgorithm.ECDSA_P256, KeyAlgorithm.ED25519),
    "ttl": (DAY, 7 * DAY),
}
_NAMED = {
    "common_name": "common name",
    "organizations": "organizations",
    "dns_names": "DNS names",
    "ip_addresses": "IP addresses",
    "uris": "URIs",
    "usages": "extended key usages",
    "key": "key",
    "ttl": "time to live",
}
_specs = st.fixed_dictionaries({name: st.sampled_from(each) for name, each in _VALUES.items()})


@given(asked=_specs, given_=_specs)
@settings(max_examples=80)
def test_exactly_what_differs_is_named(asked: dict[str, Any], given_: dict[str, Any]) -> None:
    issued = answered(make_spec(HERE, **asked), **given_)
    differing = {_NAMED[name] for name in _VALUES if asked[name] != given_[name]}
    if differing:
        assert set(mismatches(issued)) == differing
    else:
        verify(issued, lab().anchors, NOW, SKEW)


# The key


def test_a_certificate_for_another_key_is_refused() -> None:
    spec = make_spec(HERE)
    mine, theirs = lab().issued(spec), lab().issued(spec)
    assert list(mismatches(replace(mine, chain=theirs.chain))) == ["public key"]


def test_what_is_no_key_is_refused_without_showing_it() -> None:
    issued = replace(lab().issued(make_spec(HERE)), private_key=Secret(b"hunter2"))
    assert "hunter2" not in str(mismatches(issued))


# The chain


def test_another_authority_of_the_same_name_is_refused() -> None:
    found = mismatches(Lab().issued(make_spec(HERE)))
    assert list(found) == ["chain"]
    assert "signature does not verify" in found["chain"]


def test_a_missing_intermediate_is_refused() -> None:
    below = Lab(intermediate=True)
    issued = below.issued(make_spec(HERE))
    found = mismatches(replace(issued, chain=issued.chain[:1]), below.anchors)
    assert list(found) == ["chain"]
    assert "CN=lab intermediate" in found["chain"]


@pytest.mark.parametrize("chain", [(), (b"",), (b"rubbish",)])
def test_an_answer_without_certificates_is_refused(chain: tuple[bytes, ...]) -> None:
    issued = replace(lab().issued(make_spec(HERE)), chain=chain)
    assert list(mismatches(issued)) == ["answer"]


def test_a_second_leaf_in_the_answer_is_refused() -> None:
    issued = lab().issued(make_spec(HERE))
    other = lab().issued(make_client_spec(HERE))
    found = mismatches(replace(issued, chain=(*issued.chain, other.chain[0])))
    assert list(found) == ["certificates"]
    assert "system:client" in found["certificates"]


def test_a_certificate_authority_is_no_leaf() -> None:
    issued = lab().issued(make_spec(HERE))
    assert "basic constraints" in mismatches(replace(issued, chain=(lab().certificate,)))


def test_an_authority_that_ends_before_the_leaf_is_refused() -> None:
    root = Authority.root("root", NOW)
    middle = root.issue_authority("middle", NOW, Flaws(ends=6 * DAY))
    found = mismatches(odd_leaf(middle, extra_chain=(middle.pem,)), (root.pem,))
    assert list(found) == ["not after"]
    assert "CN=middle ends" in found["not after"]


# Odd certificates


def odd_leaf(  # noqa: PLR0913  # each is one thing a test varies
    authority: Authority,
    *,
    serial: int = 2**126,
    usage: cx.KeyUsage | None = None,
    subject: cx.Name | None = None,
    names: tuple[cx.GeneralName, ...] = (cx.DNSName("localhost"),),
    extra: tuple[tuple[cx.ExtensionType, bool], ...] = (),
    extra_chain: tuple[bytes, ...] = (),
    usages: tuple[Usage, ...] = SERVER,
    begins: timedelta = timedelta(0),
) -> Issued:
    """A leaf that no issuer of ours makes, for a specification that it fits otherwise."""
    spec = make_spec(HERE, ip_addresses=(), usages=usages)
    key = x509.new_key(spec.key)
    builder = (
        cx.CertificateBuilder()
        .subject_name(x509.subject_of(spec) if subject is None else subject)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOW + begins)
        .not_valid_after(NOW + spec.ttl)
        .add_extension(cx.SubjectAlternativeName(names), critical=False)
        .add_extension(usage or key_usage("digital_signature"), critical=True)
        .add_extension(cx.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    pem = builder.sign(authority.key, x509.digest_for(authority.key)).public_bytes(
        serialization.Encoding.PEM
    )
    return Issued(
        spec=spec, private_key=x509.key_pem(key), chain=(pem, *extra_chain), issued_at=NOW
    )


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.root("root", NOW)


@pytest.mark.parametrize(
    ("leaf", "field"),
    [
        ({"serial": 2**63 - 1}, "serial"),
        ({"serial": 1}, "serial"),
        ({"names": (cx.DNSName("localhost"), cx.RFC822Name("a@b"))}, "other names and extensions"),
        (
            {"extra": ((cx.UnrecognizedExtension(cx.ObjectIdentifier("1.2.3"), b"\0"), True),)},
            "other names and extensions",
        ),
        ({"usage": key_usage("key_agreement"), "usages": (Usage.SERVER_AUTH,)}, "key usages"),
        (
            {
                "usage": key_usage("digital_signature", "key_cert_sign"),
                "usages": (Usage.SERVER_AUTH,),
            },
            "key usages",
        ),
        ({"usage": key_usage("digital_signature", "crl_sign")}, "key usages"),
        ({"subject": cx.Name([])}, "common name"),
    ],
)
def test_an_odd_leaf_is_refused_for_its_oddness(
    root: Authority, leaf: dict[str, Any], field: str
) -> None:
    assert field in mismatches(odd_leaf(root, **leaf), (root.pem,))


def test_a_leaf_without_oddness_is_accepted(root: Authority) -> None:
    verify(odd_leaf(root), (root.pem,), NOW, SKEW)
    verify(odd_leaf(root, serial=2**63), (root.pem,), NOW, SKEW)


def test_a_foreign_subject_attribute_is_refused(root: Authority) -> None:
    subject = cx.Name(
        [
            cx.NameAttribute(NameOID.COMMON_NAME, "server.example"),
            cx.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "unit"),
        ]
    )
    found = mismatches(odd_leaf(root, subject=subject), (root.pem,))
    assert list(found) == ["other names and extensions"]
    assert "OU=unit" in found["other names and extensions"]


# Time


@pytest.mark.parametrize(
    ("signed", "fields"),
    [
        (timedelta(0), []),
        (-MINUTE, []),
        (-MINUTE - SKEW, []),
        (-MINUTE - SKEW - 2 * SECOND, ["time to live"]),
        (SKEW, []),
        (SKEW + 2 * SECOND, ["time to live"]),
        (2 * SKEW + 2 * SECOND, ["not before", "time to live", "chain"]),
        (-7 * DAY, ["not after"]),
        (-8 * DAY, ["not after", "chain"]),
    ],
)
def test_the_life_of_a_leaf_stays_within_bounds(signed: timedelta, fields: list[str]) -> None:
    old = Lab(NOW - 30 * DAY)
    issued = old.issued(make_spec(HERE), NOW + signed)
    if not fields:
        verify(issued, old.anchors, NOW, SKEW)
        return
    assert list(mismatches(issued, old.anchors)) == fields


def test_a_leaf_that_would_be_replaced_at_once_is_refused(root: Authority) -> None:
    verify(odd_leaf(root, begins=-14 * DAY + SECOND), (root.pem,), NOW, SKEW)
    found = mismatches(odd_leaf(root, begins=-14 * DAY), (root.pem,))
    assert list(found) == ["not before"]


def test_nothing_of_the_key_stands_in_a_rejection() -> None:
    issued = answered(make_spec(HERE), common_name="evil")
    with pytest.raises(Rejected) as caught:
        verify(issued, lab().anchors, NOW, SKEW)
    body = issued.private_key.reveal().splitlines()[1].decode()
    assert body not in f"{caught.value!r} {caught.value} {issued!r}"
