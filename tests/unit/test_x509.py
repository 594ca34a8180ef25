from __future__ import annotations

import base64
import functools
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509 as cx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm, Secret
from tests.authorities import Authority, name_of
from tests.factories import NOW, lab, make_client_spec, make_request, make_spec

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
