from __future__ import annotations

import functools
from datetime import timedelta
from ipaddress import ip_address, ip_network
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509 as cx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm
from tests.authorities import GOOD, Authority, Flaws, key_usage, name_of
from tests.factories import NOW, Lab, lab, make_client_spec, make_spec

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path("/etc/pki")
DAY = timedelta(days=1)
BEGIN = b"-----BEGIN CERTIFICATE-----"


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.root("root", NOW)


@functools.cache
def leaf_pem() -> bytes:
    return lab().issue(make_spec(HERE)).leaf.pem


def chain_of(root: Authority, length: int) -> tuple[list[Authority], bytes]:
    authorities = [root]
    for number in range(length):
        authorities.append(authorities[-1].issue_authority(f"ca {number}", NOW))
    return authorities[1:], authorities[-1].issue_leaf("leaf", NOW)


@pytest.mark.parametrize("algorithm", [a for a in KeyAlgorithm if not a.startswith("rsa-3")])
def test_every_algorithm_can_be_an_authority(algorithm: KeyAlgorithm) -> None:
    root = Authority.root("root", NOW, algorithm=algorithm)
    assert x509.build_path((root.issue_leaf("leaf", NOW),), (root.pem,), NOW)[1:] == (root.pem,)


def test_a_path_is_found_whatever_the_order_of_the_chain(root: Authority) -> None:
    authorities, leaf = chain_of(root, 3)
    pems = [each.pem for each in authorities]
    expected = (leaf, *reversed(pems), root.pem)
    for order in permutations([*pems, root.pem]):
        assert x509.build_path((leaf, *order), (root.pem,), NOW) == expected


def test_certificates_that_do_not_belong_are_passed_over(root: Authority) -> None:
    other = Lab(common_name="other")
    (middle,), leaf = chain_of(root, 1)
    path = x509.build_path((leaf, other.certificate, middle.pem), (root.pem,), NOW)
    assert path == (leaf, middle.pem, root.pem)


def test_an_intermediate_can_be_the_anchor(root: Authority) -> None:
    (first, second), leaf = chain_of(root, 2)
    assert x509.build_path((leaf, second.pem, root.pem), (first.pem,), NOW) == (
        leaf,
        second.pem,
        first.pem,
    )


def test_the_root_in_the_answer_is_worth_nothing(root: Authority) -> None:
    leaf = root.issue_leaf("leaf", NOW)
    problem = x509.chain_problem((leaf, root.pem), lab().anchors, NOW)
    assert problem == "CN=root signed itself and is no pinned trust anchor"


def test_a_missing_intermediate_is_named(root: Authority) -> None:
    _, leaf = chain_of(root, 1)
    assert x509.chain_problem((leaf,), (root.pem,), NOW) == (
        "CN=leaf was issued by CN=ca 0, which is no pinned trust anchor"
    )


def test_an_authority_of_the_same_name_but_another_key_is_refused(root: Authority) -> None:
    impostor = Authority.root("root", NOW)
    problem = x509.chain_problem((impostor.issue_leaf("leaf", NOW),), (root.pem,), NOW)
    assert problem == "CN=leaf is not signed by CN=root: the signature does not verify"


def test_after_a_change_of_key_the_anchor_that_verifies_is_found(root: Authority) -> None:
    old = Authority.root("root", NOW)
    leaf = root.issue_leaf("leaf", NOW)
    assert x509.build_path((leaf,), (old.pem, root.pem), NOW) == (leaf, root.pem)


def test_authorities_that_sign_each_other_lead_nowhere_and_end(root: Authority) -> None:
    a = Authority.root("a", NOW)
    b = Authority.root("b", NOW)
    a_by_b = b.issue_authority("a", NOW, key=a.key)
    b_by_a = a.issue_authority("b", NOW, key=b.key)
    leaf = a.issue_leaf("leaf", NOW)
    assert x509.chain_problem((leaf, a_by_b.pem, b_by_a.pem), (root.pem,), NOW) == (
        "CN=b leads round in a circle"
    )


def test_a_way_out_of_a_circle_is_found(root: Authority) -> None:
    a = Authority.root("a", NOW)
    b = Authority.root("b", NOW)
    a_by_b = b.issue_authority("a", NOW, key=a.key)
    b_by_a = a.issue_authority("b", NOW, key=b.key)
    a_by_root = root.issue_authority("a", NOW, key=a.key)
    leaf = a.issue_leaf("leaf", NOW)
    path = x509.build_path((leaf, a_by_b.pem, b_by_a.pem, a_by_root.pem), (root.pem,), NOW)
    assert path == (leaf, a_by_root.pem, root.pem)


def test_many_cross_signed_authorities_do_not_take_for_ever(root: Authority) -> None:
    tangle = [Authority.root("tangle", NOW) for _ in range(6)]
    crossed = [
        signer.issue_authority("tangle", NOW, key=each.key).pem
        for signer in tangle
        for each in tangle
    ]
    leaf = tangle[0].issue_leaf("leaf", NOW)
    assert x509.chain_problem((leaf, *crossed), (root.pem,), NOW) == (
        "no path was found in 100 steps"
    )


@pytest.mark.parametrize(
    ("flaws", "problem"),
    [
        (Flaws(ends=timedelta(seconds=-1)), "which expired at 2026-11-24T11:59:59Z"),
        (Flaws(begins=DAY), "which is not valid before 2026-11-25T12:00:00Z"),
        (Flaws(constraints=None), "is no certificate authority"),
        (
            Flaws(constraints=cx.BasicConstraints(ca=False, path_length=None)),
            "is no certificate authority",
        ),
        (Flaws(usage=key_usage("crl_sign")), "may not sign certificates"),
        (
            Flaws(extra=((cx.UnrecognizedExtension(cx.ObjectIdentifier("1.2.3"), b"\0"), True),)),
            "critical extension 1.2.3",
        ),
    ],
)
@pytest.mark.parametrize("anchor", [True, False], ids=["anchor", "intermediate"])
def test_an_authority_with_a_flaw_is_refused(
    root: Authority, flaws: Flaws, problem: str, *, anchor: bool
) -> None:
    flawed = root.issue_authority("flawed", NOW, flaws)
    leaf = flawed.issue_leaf("leaf", NOW, ends=DAY)
    anchors = (flawed.pem,) if anchor else (root.pem,)
    found = x509.chain_problem((leaf, flawed.pem), anchors, NOW)
    assert found
    assert "CN=flawed" in found
    assert problem in found


def test_an_authority_without_key_usage_may_sign(root: Authority) -> None:
    old_style = root.issue_authority("old", NOW, Flaws(usage=None))
    leaf = old_style.issue_leaf("leaf", NOW)
    assert x509.chain_problem((leaf, old_style.pem), (root.pem,), NOW) is None


def test_an_expired_intermediate_gives_way_to_its_renewed_twin(root: Authority) -> None:
    expired = root.issue_authority("middle", NOW, Flaws(ends=timedelta(seconds=-1)))
    renewed = root.issue_authority("middle", NOW, GOOD, key=expired.key)
    leaf = renewed.issue_leaf("leaf", NOW)
    path = x509.build_path((leaf, expired.pem, renewed.pem), (root.pem,), NOW)
    assert path == (leaf, renewed.pem, root.pem)


@pytest.mark.parametrize(("length", "below", "holds"), [(0, 0, True), (0, 1, False), (1, 1, True)])
def test_the_path_length_counts_authorities_below(length: int, below: int, *, holds: bool) -> None:
    limited = Authority.root(
        "limited", NOW, Flaws(constraints=cx.BasicConstraints(ca=True, path_length=length))
    )
    authorities, leaf = chain_of(limited, below)
    found = x509.chain_problem((leaf, *(a.pem for a in authorities)), (limited.pem,), NOW)
    assert (found is None) == holds
    assert holds or "allows only 0 authorities below it" in str(found)


@pytest.mark.parametrize(
    ("ends", "begins", "problem"),
    [
        (timedelta(seconds=-1), -DAY, "CN=leaf expired at 2026-11-24T11:59:59Z"),
        (DAY, timedelta(seconds=1), "CN=leaf is not valid before 2026-11-24T12:00:01Z"),
        (timedelta(0), -DAY, None),
        (DAY, timedelta(0), None),
    ],
)
def test_a_leaf_counts_from_its_first_to_its_last_second(
    root: Authority, ends: timedelta, begins: timedelta, problem: str | None
) -> None:
    leaf = root.issue_leaf("leaf", NOW, begins=begins, ends=ends)
    assert x509.chain_problem((leaf,), (root.pem,), NOW) == problem


def test_a_self_signed_leaf_is_no_chain() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = name_of("lonely")
    pem = (
        cx.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + DAY)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    assert x509.chain_problem((pem,), lab().anchors, NOW)


def test_sha1_signatures_are_refused() -> None:
    # The library makes no SHA-1 signature any more; the name of the digest decides first.
    rsa_root = Authority.root("old", NOW, algorithm=KeyAlgorithm.RSA_2048)
    leaf = rsa_root.issue_leaf("leaf", NOW)
    sha256, sha1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    der = cx.load_pem_x509_certificate(leaf).public_bytes(serialization.Encoding.DER)
    weak = cx.load_der_x509_certificate(der.replace(sha256, sha1))
    pem = weak.public_bytes(serialization.Encoding.PEM)
    assert x509.chain_problem((pem,), (rsa_root.pem,), NOW) == (
        "CN=leaf is signed with sha1, which is broken"
    )


def test_no_certificate_is_no_chain() -> None:
    with pytest.raises(ValueError, match="no certificate"):
        x509.build_path((), lab().anchors, NOW)


def dns(name: str) -> cx.GeneralName:
    return cx.DNSName(name)


def net(text: str) -> cx.GeneralName:
    return cx.IPAddress(ip_network(text))


def ip(text: str) -> cx.GeneralName:
    return cx.IPAddress(ip_address(text))


def uri(text: str) -> cx.GeneralName:
    return cx.UniformResourceIdentifier(text)


@pytest.mark.parametrize(
    ("permitted", "excluded", "names", "holds"),
    [
        ((dns("example"),), (), (dns("example"),), True),
        ((dns("example"),), (), (dns("a.b.EXAMPLE"),), True),
        ((dns("example"),), (), (dns("badexample"),), False),
        ((dns("example"),), (), (dns("a.example"), dns("other")), False),
        ((dns("example"),), (), (ip("10.0.0.1"),), True),
        ((dns("example"),), (), (), True),
        ((), (dns("example"),), (dns("a.example"),), False),
        ((), (dns("example"),), (dns("other"),), True),
        ((), (dns(""),), (dns("any"),), False),
        ((dns("example"),), (dns("a.example"),), (dns("b.a.example"),), False),
        ((net("10.0.0.0/8"),), (), (ip("10.9.9.9"),), True),
        ((net("10.0.0.0/8"),), (), (ip("11.0.0.1"),), False),
        ((net("10.0.0.0/8"),), (), (ip("::1"),), False),
        ((net("fd00::/8"),), (), (ip("fd00::1"),), True),
        ((), (net("10.0.0.0/8"),), (ip("10.0.0.1"),), False),
        ((uri("example"),), (), (uri("spiffe://example/a"),), True),
        ((uri("example"),), (), (uri("spiffe://a.example/a"),), False),
        ((uri(".example"),), (), (uri("https://a.example:1/a"),), True),
    ],
)
def test_name_constraints_hold(
    root: Authority,
    permitted: tuple[cx.GeneralName, ...],
    excluded: tuple[cx.GeneralName, ...],
    names: tuple[cx.GeneralName, ...],
    *,
    holds: bool,
) -> None:
    limits = cx.NameConstraints(list(permitted) or None, list(excluded) or None)
    limited = root.issue_authority("limited", NOW, Flaws(names=limits))
    leaf = limited.issue_leaf("leaf", NOW, names=names)
    found = x509.chain_problem((leaf, limited.pem), (root.pem,), NOW)
    assert (found is None) == holds
    assert holds or "which CN=limited may not sign" in str(found)


def test_name_constraints_of_any_authority_of_the_path_hold(root: Authority) -> None:
    limited = root.issue_authority(
        "limited", NOW, Flaws(names=cx.NameConstraints([dns("example")], None))
    )
    below = limited.issue_authority("below", NOW)
    leaf = below.issue_leaf("leaf", NOW, names=(dns("other"),))
    assert x509.chain_problem((leaf, below.pem, limited.pem), (root.pem,), NOW)


def test_constraints_on_names_that_are_not_understood_are_refused(root: Authority) -> None:
    limits = cx.NameConstraints([cx.DirectoryName(name_of("x"))], None)
    limited = root.issue_authority("limited", NOW, Flaws(names=limits))
    leaf = limited.issue_leaf("leaf", NOW)
    found = x509.chain_problem((leaf, limited.pem), (root.pem,), NOW)
    assert "not understood" in str(found)


@pytest.mark.parametrize("make", [make_spec, make_client_spec])
def test_a_whole_chain_of_the_ca_issuer_builds(make: Callable[..., object]) -> None:
    spec = make(HERE)
    verified = Lab(intermediate=True).issue(spec)  # type: ignore[arg-type]  # both make a spec
    assert len(verified.chain) == 2
