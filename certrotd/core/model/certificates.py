"""The nouns of a certificate: what it must be, and the stages it goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from ipaddress import IPv4Address, IPv6Address

CertificateName = NewType("CertificateName", str)
"""Unique on the node, e.g. `apiserver-etcd-client`; also the name of its live link."""
ComponentName = NewType("ComponentName", str)
IssuerName = NewType("IssuerName", str)
GenerationId = NewType("GenerationId", str)
"""`<UTC time>-<random>`; sorts by age."""
RunId = NewType("RunId", str)


class Secret:
    """Bytes that no repr, str, format, pickle or asdict ever shows; `reveal()` is greppable."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the secret bytes; the caller must not log them."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never serialized")


class KeyAlgorithm(StrEnum):
    """Key type and size, as the configuration writes them."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"
    ED25519 = "ed25519"


class Usage(StrEnum):
    """Key usages and extended key usages in the words of `certificates.k8s.io` KeyUsage."""

    DIGITAL_SIGNATURE = "digital signature"
    KEY_ENCIPHERMENT = "key encipherment"
    KEY_AGREEMENT = "key agreement"
    SERVER_AUTH = "server auth"
    CLIENT_AUTH = "client auth"

    @property
    def extended(self) -> bool:
        """Whether it belongs to the ExtendedKeyUsage extension (RFC 5280 section 4.2.1.12)."""
        return self in (Usage.SERVER_AUTH, Usage.CLIENT_AUTH)


class OutputKind(StrEnum):
    """What one output file holds."""

    CERTIFICATE = "certificate"  # leaf first, then its intermediates
    KEY = "key"
    COMBINED = "combined"  # leaf, intermediates and key in one file
    CA = "ca"  # the pinned trust anchors of the issuer
    KUBECONFIG = "kubeconfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """What a kubeconfig says besides the identity.

    `embed` puts certificate, key and CA into the file; otherwise it names the sibling outputs.
    """

    server: str
    cluster: str = "kubernetes"
    user: str = "default"
    embed: bool = True
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One file a component reads; `uid` and `gid` None leave the owner to the process.

    `material` is what the file is to the component, in the words of the reload matrix.
    """

    path: str
    kind: OutputKind
    mode: int
    uid: int | None = None
    gid: int | None = None
    kubeconfig: Kubeconfig | None = None
    material: str | None = None

    @property
    def secret(self) -> bool:
        """Whether the file holds a private key."""
        if self.kind is OutputKind.KUBECONFIG:
            return self.kubeconfig is not None and self.kubeconfig.embed
        return self.kind in (OutputKind.KEY, OutputKind.COMBINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSpec:
    """What a certificate must be; everything is compared exactly.

    The first output's directory is the home of the certificate's store.
    """

    name: CertificateName
    component: ComponentName
    issuer: IssuerName
    role: str | None
    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    uris: tuple[str, ...] = ()
    usages: tuple[Usage, ...]
    key: KeyAlgorithm
    ttl: timedelta
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCertificate:
    """The facts of one X.509 certificate that decisions are made from.

    `serial` is the RFC 5280 serial as lower-case hex; `fingerprint` is SHA-256 over the DER,
    `public_key` SHA-256 over the SubjectPublicKeyInfo, both as lower-case hex.
    `foreign` lists what a leaf of ours never has: other subject attributes, other kinds of SAN.
    """

    pem: bytes = field(repr=False)
    subject: str
    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    ip_addresses: tuple[IPv4Address | IPv6Address, ...]
    uris: tuple[str, ...]
    foreign: tuple[str, ...]
    usages: tuple[str, ...]
    extended_usages: tuple[str, ...]
    is_ca: bool
    key: str
    serial: str
    not_before: datetime
    not_after: datetime
    issuer: str
    fingerprint: str
    public_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """What an issuer gets to see: the specification and a CSR (RFC 2986), never the key."""

    spec: CertificateSpec
    csr_pem: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an issuer gives back, not yet trusted.

    `chain` is PEM, leaf first as the issuer sent it. `private_key` is set only by issuers that
    were explicitly configured to make the key themselves.
    """

    chain: tuple[bytes, ...]
    private_key: Secret | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """Stage one: a key made here and the issuer's answer to it."""

    spec: CertificateSpec
    private_key: Secret  # PEM, PKCS #8
    chain: tuple[bytes, ...]
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Stage two: the answer is exactly what was asked for. Made by `verify.verify` alone.

    `anchors` is the pinned trust, PEM; `chain` is leaf first, without the anchors.
    """

    spec: CertificateSpec
    leaf: ParsedCertificate
    chain: tuple[bytes, ...]
    anchors: tuple[bytes, ...]
    private_key: Secret
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Stage three: the generation every path of the certificate now resolves to.

    `previous` is the history copy a rollback goes back to; None on the very first publication.
    """

    certificate: CertificateName
    generation: GenerationId
    previous: GenerationId | None
    fingerprint: str
    serial: str
    not_after: datetime
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One output as it lies on disk; `problem` says why it could not be read or differs.

    `drift` names what differs from what was published: content, mode, owner, or the link itself.
    """

    output: Output
    content: Secret | None
    problem: str = ""
    drift: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSet:
    """All outputs of one certificate as they lie on disk.

    `generation` and `published_at` are None while the files are not ours yet (before adoption).
    """

    files: tuple[StoredFile, ...]
    generation: GenerationId | None = None
    issued_at: datetime | None = None
    published_at: datetime | None = None
