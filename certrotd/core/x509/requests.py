"""PKCS #10 requests (RFC 2986) to facts, strictly: what is not understood is an error."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from certrotd.core.model.kubelets import ParsedRequest
from certrotd.core.x509.certificates import key_name, public_key_fingerprint

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

LARGEST = 16 * 1024
"""No longer request is looked at, in bytes; a kubelet's has about 500."""
REMEMBERED = 128
"""How many requests' facts are kept: each is asked for a dozen times while it is ruled on."""
_ONE_BLOCK = re.compile(
    rb"\s*-----BEGIN CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE REQUEST-----\s*"
)


@functools.lru_cache(REMEMBERED)
def parse_request(pem: bytes) -> ParsedRequest:
    """Read the facts of one request.

    Raises:
        ValueError: it is too long, not exactly one PEM block, not a request, not signed by its own
            key, or has an extension twice.
    """
    if len(pem) > LARGEST:
        raise ValueError(f"it has {len(pem)} bytes, more than {LARGEST}")
    if not _ONE_BLOCK.fullmatch(pem):
        raise ValueError("it is not exactly one PEM block CERTIFICATE REQUEST")
    try:
        request = x509.load_pem_x509_csr(pem)
        extensions = request.extensions
        key = request.public_key()
        digest = request.signature_hash_algorithm
        signed = request.is_signature_valid
    except (
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as e:
        raise ValueError(f"unsupported request: {e}") from e
    except (ValueError, TypeError) as e:
        raise ValueError(f"not a request: {e}") from e
    if not signed:
        raise ValueError("it is not signed by the key that it carries")
    dns, addresses, foreign_names = _alternative_names(extensions)
    return ParsedRequest(
        common_names=_texts(request.subject, NameOID.COMMON_NAME),
        organizations=_texts(request.subject, NameOID.ORGANIZATION_NAME),
        dns_names=dns,
        ip_addresses=addresses,
        foreign=(*_foreign_subject(request.subject), *foreign_names, *_foreign_parts(request)),
        key=key_name(key),
        digest=digest.name if digest else "",
        public_key=public_key_fingerprint(key),
    )


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    values = (attribute.value for attribute in name.get_attributes_for_oid(oid))
    return tuple(v if isinstance(v, str) else v.hex() for v in values)


def _foreign_subject(subject: x509.Name) -> tuple[str, ...]:
    """Name what is neither a CN nor an O, and names that are several at once."""
    known = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    foreign = [f"subject {a.rfc4514_string()}" for a in subject if a.oid not in known]
    foreign += [f"subject {r.rfc4514_string()}" for r in subject.rdns if len(list(r)) > 1]
    return tuple(foreign)


def _alternative_names(
    extensions: x509.Extensions,
) -> tuple[tuple[str, ...], tuple[IPv4Address | IPv6Address, ...], tuple[str, ...]]:
    """Return DNS names, IP addresses, and all others as text."""
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), (), ()
    dns: list[str] = []
    addresses: list[IPv4Address | IPv6Address] = []
    foreign: list[str] = []
    for name in names:
        if isinstance(name, x509.DNSName):
            dns.append(name.value)
        elif isinstance(name, x509.IPAddress):
            addresses.append(name.value)  # type: ignore[arg-type]  # networks occur in name constraints only
        else:
            foreign.append(f"SAN {type(name).__name__}")
    return tuple(dns), tuple(addresses), tuple(foreign)


def _foreign_parts(request: x509.CertificateSigningRequest) -> tuple[str, ...]:
    """Name all extensions but the SAN, and all attributes but the request for extensions."""
    extensions = (
        f"extension {each.oid.dotted_string}"
        for each in request.extensions
        if not isinstance(each.value, x509.SubjectAlternativeName)
    )
    attributes = (
        f"attribute {each.oid.dotted_string}"
        for each in request.attributes
        if each.oid != _EXTENSION_REQUEST
    )
    return (*extensions, *attributes)


_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")
"""pkcs-9-at-extensionRequest, RFC 2985 section 5.4.2."""
