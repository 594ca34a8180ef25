"""Answers that a PKI engine would not give: certificates signed anew by its own CA, odd chains.

A forgery gets the authorities (`authority` below the pinned `root`) and the honest answer's `data`,
and returns what is answered instead.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from cryptography import x509 as cx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm
from tests.authorities import Authority, Flaws, key_usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from tests.hostile.proxy import Deed, Exchange

    Data = dict[str, Any]
    Forgery = Callable[["Authorities", Data], Data]


class Authorities(Protocol):
    """Who signs, and who is pinned; the keys of both are known."""

    authority: Authority
    root: Authority


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs from the honest leaf; None and nothing mean: as it was."""

    subject: cx.Name | None = None
    key: CertificatePublicKeyTypes | None = None
    serial: int | None = None
    begins: timedelta = timedelta(0)
    ends: timedelta = timedelta(0)
    extensions: tuple[tuple[cx.ExtensionType, bool], ...] = ()
    without: tuple[type[cx.ExtensionType], ...] = ()


def resigned(pem: str, by: Authority, changes: Changes) -> str:
    """Sign a certificate again, changed."""
    honest = cx.load_pem_x509_certificate(pem.encode())
    replaced = tuple(type(value) for value, _ in changes.extensions)
    builder = (
        cx.CertificateBuilder()
        .subject_name(honest.subject if changes.subject is None else changes.subject)
        .issuer_name(by.subject)
        .public_key(changes.key or honest.public_key())
        .serial_number(changes.serial or cx.random_serial_number())
        .not_valid_before(honest.not_valid_before_utc + changes.begins)
        .not_valid_after(honest.not_valid_after_utc + changes.ends)
    )
    for each in honest.extensions:
        if not isinstance(each.value, (*replaced, *changes.without)):
            builder = builder.add_extension(each.value, critical=each.critical)
    for value, critical in changes.extensions:
        builder = builder.add_extension(value, critical=critical)
    signed = builder.sign(by.key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def beginning(data: Data) -> datetime:
    """When the honest certificate begins to be valid: now, more or less."""
    return cx.load_pem_x509_certificate(data["certificate"].encode()).not_valid_before_utc


def changed(**fields: Any) -> Forgery:
    """The honest leaf with these changes, signed by the right CA."""

    def forge(site: Authorities, data: Data) -> Data:
        return data | {
            "certificate": resigned(data["certificate"], site.authority, Changes(**fields))
        }

    return forge


def with_name(*attributes: tuple[cx.ObjectIdentifier, str]) -> Forgery:
    """Another subject."""
    return changed(subject=cx.Name([cx.NameAttribute(*each) for each in attributes]))


def with_names(*names: cx.GeneralName, without: str = "") -> Forgery:
    """The honest SANs and these, or without one of them."""

    def forge(site: Authorities, data: Data) -> Data:
        leaf = cx.load_pem_x509_certificate(data["certificate"].encode())
        known = leaf.extensions.get_extension_for_class(cx.SubjectAlternativeName).value
        kept = [each for each in known if str(each.value) != without]
        san = cx.SubjectAlternativeName([*kept, *names])
        return changed(extensions=((san, False),))(site, data)

    return forge


def with_extension(value: cx.ExtensionType, *, critical: bool = True) -> Forgery:
    """This extension, in place of the honest one or besides."""
    return changed(extensions=((value, critical),))


def with_usages(*purposes: cx.ObjectIdentifier) -> Forgery:
    """These extended key usages."""
    return with_extension(cx.ExtendedKeyUsage(purposes), critical=False)


def with_key(algorithm: KeyAlgorithm) -> Forgery:
    """The public key of somebody else."""
    return changed(key=x509.new_key(algorithm).public_key())


def with_pair(algorithm: KeyAlgorithm) -> Forgery:
    """A certificate and private key that belong together (for the issue endpoint)."""

    def forge(site: Authorities, data: Data) -> Data:
        key = x509.new_key(algorithm)
        private = {"private_key": x509.key_pem(key).reveal().decode()}
        return changed(key=key.public_key())(site, data) | private

    return forge


def with_stranger_key(_: Authorities, data: Data) -> Data:
    """The honest certificate, and a private key that is not its own."""
    key = x509.key_pem(x509.new_key(KeyAlgorithm.ECDSA_P256))
    return data | {"private_key": key.reveal().decode()}


def below(flaws: Flaws) -> Forgery:
    """Signed by one more authority, whose certificate has these flaws."""

    def forge(site: Authorities, data: Data) -> Data:
        now = beginning(data)
        between = site.authority.issue_authority("between", now, flaws)
        leaf = resigned(data["certificate"], between, Changes(without=(cx.AuthorityKeyIdentifier,)))
        return data | {"certificate": leaf, "ca_chain": [between.pem.decode(), *data["ca_chain"]]}

    return forge


def by_stranger(name: str | None = None) -> Forgery:
    """Signed by a CA of its own, with the chain to it; perhaps under the right CA's name."""

    def forge(site: Authorities, data: Data) -> Data:
        now = beginning(data)
        called = name or site.authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        stranger = Authority.root(str(called), now)
        leaf = resigned(data["certificate"], stranger, Changes())
        chain = [stranger.pem.decode()] if name else data["ca_chain"]
        return data | {"certificate": leaf, "ca_chain": chain}

    return forge


def with_flipped_bit(place: int) -> Forgery:
    """One bit of the DER other than it was; negative places count from the end (signature)."""

    def forge(_: Authorities, data: Data) -> Data:
        der = bytearray(ssl.PEM_cert_to_DER_cert(data["certificate"].strip()))
        der[place] ^= 1
        return data | {"certificate": ssl.DER_cert_to_PEM_cert(bytes(der))}

    return forge


def replaced(**fields: object) -> Forgery:
    """These fields in place of the honest ones."""
    return lambda _, data: data | fields


def authority_for_leaf(site: Authorities, data: Data) -> Data:
    """The intermediate's own certificate."""
    return data | {"certificate": site.authority.pem.decode()}


def root_for_leaf(site: Authorities, data: Data) -> Data:
    """The root's own certificate."""
    return data | {"certificate": site.root.pem.decode()}


def leaf_last(_: Authorities, data: Data) -> Data:
    """The chain in wrong order: an authority first, the leaf after it."""
    first, *rest = data["ca_chain"]
    return data | {"certificate": first, "ca_chain": [*rest, data["certificate"]]}


def with_second_leaf(site: Authorities, data: Data) -> Data:
    """Another leaf in the chain."""
    other = resigned(data["certificate"], site.authority, Changes())
    return data | {"ca_chain": [*data["ca_chain"], other]}


def looped(number: int) -> Forgery:
    """Signed by one of some authorities that sign each other and lead nowhere."""

    def forge(_: Authorities, data: Data) -> Data:
        now = beginning(data)
        roots = [Authority.root(f"loop {n}", now) for n in range(number)]
        chain = [
            by.issue_authority(f"loop {n}", now, key=one.key).pem.decode()
            for n, one in enumerate(roots)
            for by in roots
            if by is not one
        ]
        leaf = resigned(data["certificate"], roots[0], Changes())
        # Vault gives a list of at most some; one entry may hold many.
        return data | {"certificate": leaf, "ca_chain": ["\n".join(chain)]}

    return forge


# Harmless


def reversed_chain(_: Authorities, data: Data) -> Data:
    """The authorities in wrong order."""
    return data | {"ca_chain": data["ca_chain"][::-1]}


def doubled_chain(_: Authorities, data: Data) -> Data:
    """Every certificate twice, the leaf too."""
    return data | {"ca_chain": [data["certificate"], *data["ca_chain"], *data["ca_chain"]]}


def with_loop_besides(_: Authorities, data: Data) -> Data:
    """The right chain, and a circle besides."""
    now = beginning(data)
    one, other = Authority.root("one", now), Authority.root("other", now)
    circle = [
        one.issue_authority("other", now, key=other.key).pem.decode(),
        other.issue_authority("one", now, key=one.key).pem.decode(),
    ]
    return data | {"ca_chain": [*circle, *data["ca_chain"]]}


def with_carriage_returns(_: Authorities, data: Data) -> Data:
    """PEM as Windows writes it, with text around."""
    text = "issued for you:\n" + data["certificate"] + "\nhave fun\n"
    return data | {"certificate": text.replace("\n", "\r\n")}


def forged(site: Authorities, forgery: Forgery) -> Deed:
    """Have real Vault sign, and give this instead."""

    def deed(exchange: Exchange) -> None:
        document = exchange.forward().document
        document["data"] = forgery(site, document["data"])
        exchange.send(200, json.dumps(document).encode())

    return deed


CN, ORGANIZATION, UNIT = (
    NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME,
)  # fmt: skip
NAME = "c0.example"
_DAY = timedelta(days=1)
_UNKNOWN = cx.UnrecognizedExtension(cx.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
_CA = cx.BasicConstraints(ca=True, path_length=None)
_LEAF = cx.BasicConstraints(ca=False, path_length=None)
_FOREIGN_NAMES = cx.NameConstraints([cx.DNSName("elsewhere.example")], None)

REFUSED: dict[str, tuple[Forgery, str]] = {
    "another CN": (with_name((CN, "evil.example")), "common name: expected c0.example, got evil"),
    "no CN": (changed(subject=cx.Name([])), "common name: expected c0.example, got none"),
    "two CNs": (with_name((CN, NAME), (CN, "evil")), "other names and extensions"),
    "an organization": (
        with_name((ORGANIZATION, "system:masters"), (CN, NAME)),
        "organizations: expected none, got system:masters",
    ),
    "a unit": (with_name((UNIT, "x"), (CN, NAME)), "other names and extensions"),
    "one DNS name more": (with_names(cx.DNSName("evil.example")), "DNS names: expected"),
    "a wildcard more": (with_names(cx.DNSName("*.example")), "DNS names: expected"),
    "one DNS name less": (with_names(without="localhost"), "DNS names: expected"),
    "no names": (changed(without=(cx.SubjectAlternativeName,)), "IP addresses: expected 127.0.0.1"),
    "one URI more": (with_names(cx.UniformResourceIdentifier("spiffe://x/y")), "URIs: expected"),
    "an e-mail address": (with_names(cx.RFC822Name("a@b.example")), "SAN RFC822Name"),
    "EKU any": (with_usages(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE), "got any"),
    "EKU client too": (
        with_usages(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
        "extended key usages: expected server auth, got client auth, server auth",
    ),
    "no EKU": (changed(without=(cx.ExtendedKeyUsage,)), "extended key usages: expected server"),
    "may sign": (with_extension(key_usage("digital_signature", "key_cert_sign")), "cert sign"),
    "no key usage": (changed(without=(cx.KeyUsage,)), "key usages: expected digital signature"),
    "a CA leaf": (with_extension(_CA), "basic constraints: expected CA:FALSE"),
    "a CA in place of a leaf": (authority_for_leaf, "basic constraints: expected CA:FALSE"),
    "the root in place of a leaf": (root_for_leaf, "basic constraints: expected CA:FALSE"),
    "ten years": (changed(ends=3650 * _DAY), "time to live: expected"),
    "one day less": (changed(ends=-_DAY), "time to live: expected"),
    "from the future": (changed(begins=_DAY, ends=_DAY), "not before: expected at most"),
    "expired": (changed(begins=-30 * _DAY, ends=-30 * _DAY), "not after: expected later"),
    "an RSA key": (with_key(KeyAlgorithm.RSA_2048), "key: expected ecdsa-p256, got rsa-2048"),
    "a P-384 key": (with_key(KeyAlgorithm.ECDSA_P384), "key: expected ecdsa-p256, got ecdsa-p384"),
    "somebody else's key": (with_key(KeyAlgorithm.ECDSA_P256), "public key: expected SHA-256"),
    "a short serial": (changed(serial=7), "serial: expected at least 64 bits"),
    "an unknown critical extension": (with_extension(_UNKNOWN), "critical extension 1.2.3.4"),
    "a stranger's": (by_stranger("stranger"), "no pinned trust anchor"),
    "a stranger's of the same name": (by_stranger(), "the signature does not verify"),
    "a flipped bit in the signature": (with_flipped_bit(-1), "the signature does not verify"),
    "a flipped bit in the middle": (with_flipped_bit(200), ""),
    "below a leaf": (below(Flaws(constraints=_LEAF)), "is no certificate authority"),
    "below an expired CA": (below(Flaws(begins=-9 * _DAY, ends=-_DAY)), "which expired at"),
    "below a CA for other names": (below(Flaws(names=_FOREIGN_NAMES)), "may not sign"),
    "below a CA that may not sign": (
        below(Flaws(usage=key_usage("crl_sign"))),
        "may not sign certificates",
    ),
    "without its chain": (replaced(ca_chain=[], issuing_ca=""), "no pinned trust anchor"),
    "the leaf last": (leaf_last, "basic constraints: expected CA:FALSE"),
    "a second leaf": (with_second_leaf, "certificates: expected one leaf"),
    "two that sign each other": (looped(2), "leads round in a circle"),
    "twelve that sign each other": (looped(12), "no path was found"),
    "no certificate": (replaced(certificate="rubbish"), "no PEM certificate"),
}
HARMLESS: dict[str, Forgery] = {
    "authorities in wrong order": reversed_chain,
    "everything twice": doubled_chain,
    "a circle besides": with_loop_besides,
    "carriage returns and text": with_carriage_returns,
}
