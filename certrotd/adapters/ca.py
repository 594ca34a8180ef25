"""The `ca` issuer: signs with a CA key held in this process, from files or made in memory.

For laboratories, tests, the demo and bootstrap. It knows its CA and a clock it is given; names
and usages come from the specification, of the CSR only the public key is used. What it signs
keeps to RFC 5280 strictly enough for OpenSSL's strict mode, the default from Python 3.13 on.
"""

from __future__ import annotations

import os
import secrets
import stat
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certrotd.core.errors import IssuerRefused
from certrotd.core.model import Answer, KeyAlgorithm, Secret, Usage
from certrotd.core.x509 import (
    alternative_names_of,
    digest_for,
    key_pem,
    load_key,
    new_key,
    parse_certificate,
    public_key_of,
    split_pem,
    subject_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from certrotd.core.model import CertificateSpec, SigningRequest

BACKDATE = timedelta(seconds=30)
"""How far `not before` lies in the past, for peers whose clock is behind; Vault does the same."""
SERIAL_BITS = 128
_EXTENDED = {
    Usage.SERVER_AUTH: ExtendedKeyUsageOID.SERVER_AUTH,
    Usage.CLIENT_AUTH: ExtendedKeyUsageOID.CLIENT_AUTH,
}
_OPEN_TO_OTHERS = stat.S_IROTH | stat.S_IWOTH


def create_authority(
    common_name: str,
    now: datetime,
    lifetime: timedelta,
    algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256,
) -> tuple[bytes, Secret]:
    """Make a self-signed CA; return its certificate and key, PEM."""
    key = new_key(algorithm)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(_serial())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign", "digital_signature"), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, digest_for(key))
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem(key)


class AuthorityIssuer:
    """Signs with one CA certificate and its key; `clock` gives the present time."""

    def __init__(
        self,
        certificate: bytes,
        key: Secret,
        clock: Callable[[], datetime],
        *,
        anchors: tuple[bytes, ...] = (),
    ) -> None:
        """Check that certificate and key make a CA.

        Args:
            certificate: The CA's certificate, PEM; the authorities above it may follow.
            key: Its private key, PEM.
            clock: What time it is.
            anchors: The pinned trust, PEM; the CA itself if left out.

        Raises:
            ValueError: they do not belong together, or are no CA.
        """
        self._chain = split_pem(certificate)
        facts = parse_certificate(self._chain[0])
        if not facts.is_ca or (facts.usages and "cert sign" not in facts.usages):
            raise ValueError(f"{facts.subject} is not the certificate of a CA")
        if public_key_of(key) != facts.public_key:
            raise ValueError(f"the key does not belong to the CA certificate {facts.subject}")
        self._certificate = x509.load_pem_x509_certificate(self._chain[0])
        self._key = load_key(key)
        self._clock = clock
        self._anchors = anchors or self._chain

    def sign(self, request: SigningRequest) -> Answer:
        """Sign the CSR's public key with the specification's names and usages.

        Raises:
            IssuerRefused: the CSR is broken, or the CA ends before the certificate would.
        """
        try:
            csr = x509.load_pem_x509_csr(request.csr_pem)
            owned = csr.is_signature_valid
        except (ValueError, UnsupportedAlgorithm) as e:
            raise IssuerRefused(f"the request for {request.spec.name} is no CSR: {e}") from e
        if not owned:
            raise IssuerRefused(f"the CSR for {request.spec.name} is not signed by its own key")
        now = self._clock()
        self._insist_on_life(request.spec, now)
        leaf = self._builder(csr, request.spec, now).sign(self._key, digest_for(self._key))
        return Answer(chain=(leaf.public_bytes(serialization.Encoding.PEM), *self._chain))

    def anchors(self) -> tuple[bytes, ...]:
        """Return the pinned trust anchors, PEM."""
        return self._anchors

    def time(self) -> datetime | None:
        """Return None: it has no clock but this node's."""
        return None

    def _insist_on_life(self, spec: CertificateSpec, now: datetime) -> None:
        """Refuse a leaf that the CA would not outlive: it is useless from then on."""
        authority = self._certificate
        name = authority.subject.rfc4514_string()
        if now < authority.not_valid_before_utc:
            raise IssuerRefused(
                f"the CA {name} is not valid before {authority.not_valid_before_utc:%Y-%m-%d %H:%M}"
                " UTC",
                hint="check this node's clock",
            )
        if now + spec.ttl > authority.not_valid_after_utc:
            raise IssuerRefused(
                f"the CA {name} ends at {authority.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, before"
                f" {spec.name} would with its time to live of {spec.ttl}",
                hint="renew the CA, or ask for a shorter ttl",
            )

    def _builder(
        self, csr: x509.CertificateSigningRequest, spec: CertificateSpec, now: datetime
    ) -> x509.CertificateBuilder:
        extended = [_EXTENDED[usage] for usage in spec.usages if usage.extended]
        usages = [str(usage).replace(" ", "_") for usage in spec.usages if not usage.extended]
        identifier = x509.SubjectKeyIdentifier.from_public_key(csr.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject_of(spec))
            .issuer_name(self._certificate.subject)
            .public_key(csr.public_key())
            .serial_number(_serial())
            .not_valid_before(max(now - BACKDATE, self._certificate.not_valid_before_utc))
            .not_valid_after(now + spec.ttl)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(*(usages or ["digital_signature"])), critical=True)
            .add_extension(self._authority_identifier(), critical=False)
            .add_extension(identifier, critical=False)
        )
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        if (names := alternative_names_of(spec)) is not None:
            builder = builder.add_extension(names, critical=False)
        return builder

    def _authority_identifier(self) -> x509.AuthorityKeyIdentifier:
        """Repeat the CA's own key identifier, however it was made (RFC 5280 section 4.2.1.1)."""
        try:
            own = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


class FileAuthority:
    """The same with certificate and key on disk, read again for every signature.

    `clock` gives the present time; `anchors_file` is the pinned trust, the CA itself if left out.
    """

    def __init__(
        self,
        certificate: str,
        key: str,
        clock: Callable[[], datetime],
        *,
        anchors_file: str | None = None,
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self._anchors_file = anchors_file or certificate

    def sign(self, request: SigningRequest) -> Answer:
        """Sign as `AuthorityIssuer` does.

        Raises:
            IssuerRefused: the files cannot be read, are no CA, or the key lies open to everybody;
                or what `AuthorityIssuer` refuses.
        """
        certificate, key = _read(self._certificate), Secret(_read(self._key, private=True))
        try:
            authority = AuthorityIssuer(certificate, key, self._clock)
        except ValueError as e:
            raise IssuerRefused(
                f"CA {self._certificate} with key {self._key}: {e}",
                hint="both must be PEM and belong together",
            ) from e
        return authority.sign(request)

    def anchors(self) -> tuple[bytes, ...]:
        """Return the pinned trust anchors, PEM.

        Raises:
            IssuerRefused: the file cannot be read or holds no certificate.
        """
        try:
            return split_pem(_read(self._anchors_file))
        except ValueError as e:
            raise IssuerRefused(
                f"trust anchors {self._anchors_file}: {e}",
                hint="the issuer's `trust_anchors`, or its CA certificate, must be PEM",
            ) from e

    def time(self) -> datetime | None:
        """Return None: it has no clock but this node's."""
        return None


def _read(path: str, *, private: bool = False) -> bytes:
    try:
        with Path(path).open("rb") as file:
            if private and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OPEN_TO_OTHERS:
                raise IssuerRefused(
                    f"the CA key {path} is open to everybody on this machine",
                    hint=f"chmod 0600 {path}, and ask yourself who has read it",
                )
            return file.read()
    except OSError as e:
        raise IssuerRefused(
            f"cannot read {path}: {e.strerror}",
            hint="the issuer's `ca` section names certificate and key",
        ) from e


def _serial() -> int:
    """Draw a serial of exactly SERIAL_BITS bits, its first bit set so that it is never short."""
    return secrets.randbits(SERIAL_BITS - 1) | 1 << (SERIAL_BITS - 1)


def _key_usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital_signature" in allowed,
        content_commitment=False,
        key_encipherment="key_encipherment" in allowed,
        data_encipherment=False,
        key_agreement="key_agreement" in allowed,
        key_cert_sign="key_cert_sign" in allowed,
        crl_sign="crl_sign" in allowed,
        encipher_only=False,
        decipher_only=False,
    )
