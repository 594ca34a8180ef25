"""PEM to facts (RFC 7468, RFC 5280): what a certificate says, in the model's words.

Reads no file and no clock, and judges nothing.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certrotd.core.model import ParsedCertificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address, IPv6Address

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

_CURVES = {"secp256r1": "p256", "secp384r1": "p384", "secp521r1": "p521"}
_KEY_USAGES = {
    "digital_signature": "digital signature",
    "content_commitment": "content commitment",
    "key_encipherment": "key encipherment",
    "data_encipherment": "data encipherment",
    "key_agreement": "key agreement",
    "key_cert_sign": "cert sign",
    "crl_sign": "crl sign",
}
_EXTENDED_USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "server auth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "client auth",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any",
    ExtendedKeyUsageOID.CODE_SIGNING: "code signing",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "email protection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timestamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "ocsp signing",
}
_BLOCK = re.compile(
    rb"-----BEGIN CERTIFICATE-----(.*?)-----(BEGIN|END)([ A-Z0-9]*)-----", re.DOTALL
)
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_KEPT = 64
"""So many parsed certificates are kept: the same authorities stand above all leaves."""


def split_pem(data: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a PEM text in their order, each in canonical form (RFC 7468).

    Text and other blocks between them are passed over.

    Raises:
        ValueError: there is no certificate, or a block is broken.
    """
    found = tuple(_canonical(number, match) for number, match in enumerate(_blocks(data), 1))
    if len(found) != data.count(_BEGIN):
        raise ValueError(f"PEM certificate {len(found) + 1} has no end")
    if not found:
        raise ValueError("there is no PEM certificate in it")
    return found


def _blocks(data: bytes) -> Iterator[re.Match[bytes]]:
    return _BLOCK.finditer(data) if _BEGIN in data else iter(())


def _canonical(number: int, match: re.Match[bytes]) -> bytes:
    body, boundary, label = match.groups()
    if (boundary, label) != (b"END", b" CERTIFICATE"):
        raise ValueError(f"PEM certificate {number} has no end")
    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as e:
        raise ValueError(f"PEM certificate {number} is not base64: {e}") from e
    if not der:
        raise ValueError(f"PEM certificate {number} is empty")
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([_BEGIN, *lines, b"-----END CERTIFICATE-----", b""])


@functools.lru_cache(_KEPT)
def load(pem: bytes) -> x509.Certificate:
    """Parse one certificate, its extensions included.

    Raises:
        ValueError: it is none, or breaks RFC 5280 too badly to be understood.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        # These are parsed when asked for only; here their faults are told from ours.
        _ = certificate.extensions
        _ = certificate.signature_hash_algorithm
        certificate.public_key()
    except (
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as e:
        raise ValueError(f"unsupported certificate: {e}") from e
    except ValueError as e:
        raise ValueError(f"not a certificate: {e}") from e
    return certificate


@functools.lru_cache(_KEPT)
def parse_certificate(pem: bytes) -> ParsedCertificate:
    """Read the facts of one certificate.

    Raises:
        ValueError: it is none, or breaks RFC 5280 too badly to be understood.
    """
    certificate = load(pem)
    names = _texts(certificate.subject, NameOID.COMMON_NAME)
    dns, addresses, uris, foreign_names = _alternative_names(certificate)
    usages, extended = _usages(certificate)
    return ParsedCertificate(
        pem=pem,
        subject=certificate.subject.rfc4514_string(),
        common_name=names[0] if names else "",
        organizations=_texts(certificate.subject, NameOID.ORGANIZATION_NAME),
        dns_names=dns,
        ip_addresses=addresses,
        uris=uris,
        foreign=(*_foreign_attributes(certificate.subject), *foreign_names, *_unknown(certificate)),
        usages=usages,
        extended_usages=extended,
        is_ca=_is_ca(certificate),
        key=key_name(certificate.public_key()),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        issuer=certificate.issuer.rfc4514_string(),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        public_key=public_key_fingerprint(certificate.public_key()),
    )


def extension(
    certificate: x509.Certificate, kind: type[x509.extensions.ExtensionTypeVar]
) -> x509.extensions.ExtensionTypeVar | None:
    """Return the extension of this kind, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    values = (attribute.value for attribute in name.get_attributes_for_oid(oid))
    return tuple(v if isinstance(v, str) else v.hex() for v in values)


def _foreign_attributes(subject: x509.Name) -> tuple[str, ...]:
    """Name what is neither the first CN nor an O."""
    foreign = [each for each in subject if each.oid != NameOID.ORGANIZATION_NAME]
    common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if common:
        foreign.remove(common[0])
    return tuple(f"subject {each.rfc4514_string()}" for each in foreign)


def _alternative_names(
    certificate: x509.Certificate,
) -> tuple[
    tuple[str, ...], tuple[IPv4Address | IPv6Address, ...], tuple[str, ...], tuple[str, ...]
]:
    """Return DNS names, IP addresses, URIs, and all others as text."""
    dns: list[str] = []
    addresses: list[IPv4Address | IPv6Address] = []
    uris: list[str] = []
    foreign: list[str] = []
    for name in extension(certificate, x509.SubjectAlternativeName) or ():
        if isinstance(name, x509.DNSName):
            dns.append(name.value)
        elif isinstance(name, x509.IPAddress):
            addresses.append(name.value)  # type: ignore[arg-type]  # networks occur in name constraints only
        elif isinstance(name, x509.UniformResourceIdentifier):
            uris.append(name.value)
        else:
            foreign.append(f"SAN {type(name).__name__}")
    return tuple(dns), tuple(addresses), tuple(uris), tuple(foreign)


def _unknown(certificate: x509.Certificate) -> tuple[str, ...]:
    """Name critical extensions a verifier must refuse (RFC 5280 section 4.2)."""
    return tuple(
        f"critical extension {each.oid.dotted_string}"
        for each in certificate.extensions
        if each.critical and isinstance(each.value, x509.UnrecognizedExtension)
    )


def _usages(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    usage = extension(certificate, x509.KeyUsage)
    extended = extension(certificate, x509.ExtendedKeyUsage) or ()
    return (
        tuple(word for field, word in _KEY_USAGES.items() if usage and getattr(usage, field)),
        tuple(_EXTENDED_USAGES.get(oid, oid.dotted_string) for oid in extended),
    )


def _is_ca(certificate: x509.Certificate) -> bool:
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def key_name(key: CertificatePublicKeyTypes) -> str:
    """Return type and size as the configuration writes them, e.g. `ecdsa-p256`."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ecdsa-{_CURVES.get(key.curve.name, key.curve.name)}"
    return type(key).__name__.removesuffix("PublicKey").lower()


def public_key_fingerprint(key: CertificatePublicKeyTypes) -> str:
    """Return SHA-256 (hex) over the SubjectPublicKeyInfo."""
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()
