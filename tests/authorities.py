"""Certificate authorities with every fault a test may want; nothing here keeps to the rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509 as cx
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm, Secret

FOREVER = timedelta(days=3650)


def name_of(common_name: str) -> cx.Name:
    """A subject of just a CN."""
    return cx.Name([cx.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(*allowed: str) -> cx.KeyUsage:
    """The named usages and no others."""
    fields = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return cx.KeyUsage(**{each: each in allowed for each in fields})


AUTHORITY = cx.BasicConstraints(ca=True, path_length=None)
SIGNING = key_usage("key_cert_sign", "crl_sign")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaws:
    """How an authority differs from a good one; `constraints` None leaves the extension out."""

    constraints: cx.BasicConstraints | None = AUTHORITY
    usage: cx.KeyUsage | None = SIGNING
    names: cx.NameConstraints | None = None
    extra: tuple[tuple[cx.ExtensionType, bool], ...] = ()
    begins: timedelta = timedelta(days=-1)
    ends: timedelta = FOREVER


GOOD = Flaws()


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate and its key that can sign others."""

    pem: bytes
    key: x509.PrivateKey

    @classmethod
    def root(
        cls,
        common_name: str,
        now: datetime,
        flaws: Flaws = GOOD,
        algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256,
    ) -> Authority:
        """Signed by itself."""
        key = x509.new_key(algorithm)
        return cls(_sign(name_of(common_name), key, name_of(common_name), key, now, flaws), key)

    @classmethod
    def adopt(cls, pem: bytes, secret: Secret) -> Authority:
        """Use a CA that is there already."""
        return cls(pem, x509.load_key(secret))

    @property
    def secret(self) -> Secret:
        """The key as PEM."""
        return x509.key_pem(self.key)

    @property
    def subject(self) -> cx.Name:
        """Its name."""
        return cx.load_pem_x509_certificate(self.pem).subject

    def issue_authority(
        self,
        common_name: str,
        now: datetime,
        flaws: Flaws = GOOD,
        *,
        key: x509.PrivateKey | None = None,
        algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256,
    ) -> Authority:
        """An intermediate below this one; with `key` a cross-signed one."""
        own = key or x509.new_key(algorithm)
        pem = _sign(name_of(common_name), own, self.subject, self.key, now, flaws)
        return Authority(pem, own)

    def issue_leaf(  # noqa: PLR0913  # each is one thing a test varies
        self,
        common_name: str,
        now: datetime,
        *,
        names: tuple[cx.GeneralName, ...] = (),
        key: x509.PrivateKey | None = None,
        begins: timedelta = timedelta(seconds=-30),
        ends: timedelta = timedelta(days=7),
        extra: tuple[tuple[cx.ExtensionType, bool], ...] = (),
    ) -> bytes:
        """A leaf with these SANs."""
        own = key or x509.new_key(KeyAlgorithm.ECDSA_P256)
        more = ((cx.SubjectAlternativeName(names), False),) if names else ()
        flaws = Flaws(
            constraints=cx.BasicConstraints(ca=False, path_length=None),
            usage=key_usage("digital_signature"),
            extra=(*more, *extra),
            begins=begins,
            ends=ends,
        )
        return _sign(name_of(common_name), own, self.subject, self.key, now, flaws)


def _sign(
    subject: cx.Name,
    key: x509.PrivateKey,
    issuer: cx.Name,
    issuer_key: x509.PrivateKey,
    now: datetime,
    flaws: Flaws,
) -> bytes:
    builder = (
        cx.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(cx.random_serial_number())
        .not_valid_before(now + flaws.begins)
        .not_valid_after(now + flaws.ends)
    )
    for extension, critical in (
        (flaws.constraints, True),
        (flaws.usage, True),
        (flaws.names, True),
        *flaws.extra,
    ):
        if extension is not None:
            builder = builder.add_extension(extension, critical=critical)
    signed = builder.sign(issuer_key, x509.digest_for(issuer_key))
    return signed.public_bytes(serialization.Encoding.PEM)
