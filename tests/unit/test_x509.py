from __future__ import annotations

import base64
import functools
from datetime import timedelta
from ipaddress import ip_address, ip_network
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509 as cx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm, Secret
from tests.authorities import GOOD, Authority, Flaws, key_usage, name_of
from tests.factories import NOW, Lab, lab, make_client_spec, make_request, make_spec

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


# PEM


def test_certificates_are_split_in_their_order_with_text_and_keys_passed_over() -> None:
    verified = lab().issue(make_spec(HERE))
    first, second = verified.leaf.pem, lab().certificate
    text = b"# leaf\n" + first + verified.private_key.reveal() + b"subject=/CN=root\r\n" + second
    assert x509.split_pem(text) == (first, second)


def test_windows_line_ends_and_indentation_give_the_same_certificate() -> None:
    pem = leaf_pem()
    assert x509.split_pem(pem.replace(b"\n", b"\r\n")) == (pem,)
    assert x509.split_pem(pem.replace(b"\n", b"\n    ")) == (pem,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "no PEM certificate"),
        (b"\x00\xff rubbish", "no PEM certificate"),
        (BEGIN, "has no end"),
        (BEGIN + b"\nAAAA\n" + BEGIN + b"\nAAAA\n-----END CERTIFICATE-----\n", "1 has no end"),
        (BEGIN + b"\n-----END CERTIFICATE-----\n", "is empty"),
        (BEGIN + b"\n!!!!\n-----END CERTIFICATE-----\n", "is not base64"),
        (BEGIN + b"\nAAA\n-----END CERTIFICATE-----\n", "is not base64"),
        (BEGIN + b"\nAAAA\n-----END PRIVATE KEY-----\n", "has no end"),
    ],
)
def test_broken_pem_is_refused_with_its_cause(text: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        x509.split_pem(text)


def test_a_broken_block_after_a_good_one_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="certificate 2"):
        x509.split_pem(leaf_pem() + BEGIN + b"\nAAAA\n")


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [BEGIN, b"-----END CERTIFICATE-----", b"-----BEGIN ", b"AAAA", b"\n", b"-----"]
            ),
        ),
        max_size=12,
    )
)
def test_rubbish_is_split_or_refused_and_never_anything_else(parts: list[bytes]) -> None:
    try:
        found = x509.split_pem(b"".join(parts))
    except ValueError:
        return
    for pem in found:
        with pytest.raises(ValueError, match="certificate"):
            x509.parse_certificate(pem)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.data())
@settings(max_examples=300)
def test_a_damaged_certificate_is_parsed_or_refused_and_never_anything_else(
    data: st.DataObject,
) -> None:
    der = bytearray(
        cx.load_pem_x509_certificate(leaf_pem()).public_bytes(serialization.Encoding.DER)
    )
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    pem = BEGIN + b"\n" + base64.encodebytes(bytes(der)) + b"-----END CERTIFICATE-----\n"
    try:
        x509.chain_problem((pem,), lab().anchors, NOW)
        x509.parse_certificate(pem)
    except ValueError:
        return


@given(st.text(max_size=30))
def test_text_between_certificates_changes_nothing(text: str) -> None:
    pem = leaf_pem()
    rubbish = text.encode().replace(b"-----", b"")
    assert x509.split_pem(rubbish + b"\n" + pem + rubbish + b"\n" + pem) == (pem, pem)


# Keys


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_every_algorithm_makes_a_key_that_owns_its_certificate(algorithm: KeyAlgorithm) -> None:
    verified = lab().issue(make_spec(HERE, key=algorithm))
    assert verified.leaf.key == algorithm
    assert x509.owns(verified.private_key, verified.leaf.pem)
    assert x509.public_key_of(verified.private_key) == verified.leaf.public_key
    assert not x509.owns(verified.private_key, lab().certificate)


def test_two_keys_of_one_algorithm_do_not_own_each_others_certificate() -> None:
    first, second = lab().issue(make_spec(HERE)), lab().issue(make_spec(HERE))
    assert not x509.owns(first.private_key, second.leaf.pem)


def test_a_key_is_written_as_unencrypted_pkcs8() -> None:
    pem = x509.key_pem(x509.new_key(KeyAlgorithm.ECDSA_P256)).reveal()
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hunter2",
        b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN EC PRIVATE KEY-----\naHVudGVyMg==\n-----END EC PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(content: bytes) -> None:
    with pytest.raises(ValueError, match="private key") as caught:
        x509.load_key(Secret(content))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_encrypted_keys_and_foreign_algorithms_are_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hunter2"),
    )
    foreign = ed448.Ed448PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for each in (encrypted, foreign):
        with pytest.raises(ValueError, match="private key"):
            x509.load_key(Secret(each))


# CSRs and the facts of a certificate


@settings(max_examples=50)
@given(
    dns=st.lists(st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,3}", fullmatch=True), max_size=5),
    addresses=st.lists(st.ip_addresses(), max_size=5),
    uris=st.lists(st.from_regex(r"spiffe://[a-z]{1,8}/[a-z]{1,8}", fullmatch=True), max_size=3),
    organizations=st.lists(st.from_regex(r"[a-z:]{1,20}", fullmatch=True), max_size=3),
)
def test_all_names_go_through_csr_and_certificate_unchanged(
    dns: list[str], addresses: list[object], uris: list[str], organizations: list[str]
) -> None:
    spec = make_spec(
        HERE,
        dns_names=tuple(dns),
        ip_addresses=tuple(addresses),
        uris=tuple(uris),
        organizations=tuple(organizations),
    )
    csr = cx.load_pem_x509_csr(make_request(spec)[1].csr_pem)
    assert csr.is_signature_valid
    assert csr.subject == x509.subject_of(spec)
    facts = x509.parse_certificate(lab().issued(spec).chain[0])
    assert facts.dns_names == spec.dns_names
    assert facts.ip_addresses == spec.ip_addresses
    assert facts.uris == spec.uris
    assert facts.organizations == spec.organizations
    assert facts.common_name == spec.common_name
    assert facts.foreign == ()


def test_a_csr_without_names_has_no_empty_san_extension() -> None:
    csr = cx.load_pem_x509_csr(make_request(make_client_spec(HERE))[1].csr_pem)
    assert len(csr.extensions) == 0


def test_foreign_attributes_names_and_extensions_are_listed(root: Authority) -> None:
    pem = root.issue_leaf(
        "leaf",
        NOW,
        names=(cx.RFC822Name("a@b.example"), cx.RegisteredID(cx.ObjectIdentifier("1.2.3"))),
        extra=((cx.UnrecognizedExtension(cx.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),),
    )
    assert x509.parse_certificate(pem).foreign == (
        "SAN RFC822Name",
        "SAN RegisteredID",
        "critical extension 1.2.3.4",
    )


def test_a_second_common_name_and_other_attributes_are_foreign() -> None:
    name = cx.Name(
        [
            cx.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            cx.NameAttribute(NameOID.COMMON_NAME, "first"),
            cx.NameAttribute(NameOID.COMMON_NAME, "second"),
        ]
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        cx.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + DAY)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    facts = x509.parse_certificate(certificate)
    assert facts.common_name == "first"
    assert facts.foreign == ("subject C=DE", "subject CN=second")


def test_a_certificate_without_subject_or_extensions_has_empty_facts() -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    pem = (
        cx.CertificateBuilder(cx.Name([]), cx.Name([]), key.public_key(), 10, NOW, NOW + DAY)
        .sign(key, hashes.SHA512())
        .public_bytes(serialization.Encoding.PEM)
    )
    facts = x509.parse_certificate(pem)
    assert (facts.subject, facts.common_name, facts.dns_names) == ("", "", ())
    assert (facts.usages, facts.extended_usages, facts.is_ca) == ((), (), False)
    assert (facts.key, facts.serial) == ("ecdsa-p521", "a")


def test_unknown_key_types_and_usages_keep_their_own_names(root: Authority) -> None:
    dsa_key = dsa.generate_private_key(1024)
    pem = (
        cx.CertificateBuilder(name_of("a"), root.subject, dsa_key.public_key(), 1, NOW, NOW + DAY)
        .add_extension(
            cx.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, cx.ObjectIdentifier("1.2.3")]),
            critical=False,
        )
        .sign(root.key, x509.digest_for(root.key))
        .public_bytes(serialization.Encoding.PEM)
    )
    facts = x509.parse_certificate(pem)
    assert facts.key == "dsa"
    assert facts.extended_usages == ("server auth", "1.2.3")


# Chains


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
