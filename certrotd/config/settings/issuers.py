"""Sections about who signs: Vault servers, ways to log in, issuers."""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from datetime import timedelta
from typing import Literal

from certrotd.config.section import Section
from certrotd.config.settings.words import HttpsUrl, Mount, Name, Path, Period, Text


class AppRole(Section):
    """AppRole login; all files are read again at every login."""

    one_of = (
        "secret_id_file",
        "secret_id_credential",
        "wrapped_secret_id_file",
    )
    mount: Mount = "approle"
    """Where the auth method is mounted."""
    role_id: Text | None = None
    """The role-id itself; it is not a secret."""
    role_id_file: Path | None = None
    """A file with the role-id."""
    secret_id_file: Path | None = None
    """A file with the secret-id."""
    secret_id_credential: Name | None = None
    """The name of a systemd credential (LoadCredential=) with the secret-id."""
    wrapped_secret_id_file: Path | None = None
    """A file with a response-wrapping token for the secret-id; it can be used once."""


class TokenRole(Section):
    """Login with a signed token (JWT) from a file, read again at every login."""

    mount: Mount = "jwt"
    """Where the auth method is mounted."""
    role: Text
    """The auth method's role."""
    token_file: Path
    """The file with the token."""


class ServiceAccount(TokenRole):
    """Login with the service-account token of a pod, read again at every login."""

    mount: Mount = "kubernetes"
    """Where the auth method is mounted."""
    token_file: Path = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105  # path
    """The file with the token."""


class CertificateLogin(Section):
    """Login with a TLS client certificate."""

    mount: Mount = "cert"
    """Where the auth method is mounted."""
    role: Text | None = None
    """The auth method's role; Vault tries all of them when it is left out."""
    certificate: Path
    """The client certificate, PEM."""
    key: Path
    """Its private key, PEM."""


class Auth(Section):
    """How to log in; exactly one."""

    one_of = (
        "approle",
        "kubernetes",
        "jwt",
        "certificate",
        "token_file",
    )
    approle: AppRole | None = None
    """AppRole."""
    kubernetes: ServiceAccount | None = None
    """Kubernetes service-account token."""
    jwt: TokenRole | None = None
    """JWT/OIDC with a token from a file."""
    certificate: CertificateLogin | None = None
    """TLS certificate."""
    token_file: Path | None = None
    """A file with a token that somebody else keeps fresh."""


class Vault(Section):
    """One Vault or OpenBao server and an identity there; issuers share it."""

    address: HttpsUrl
    """The server's address."""
    namespace: Mount | None = None
    """A namespace (OpenBao, Vault Enterprise)."""
    ca_file: Path | None = None
    """The CA that signed the server's certificate; the system's trust store if left out."""
    auth: Auth
    """How to log in."""
    connect_timeout: Period = timedelta(seconds=3)
    """Time limit for one connection attempt."""
    read_timeout: Period = timedelta(seconds=20)
    """Time limit for one answer."""
    deadline: Period = timedelta(seconds=60)
    """Time limit for one request with all its retries."""


class VaultPki(Section):
    """A PKI secrets engine."""

    connection: Name
    """The name of an entry under `vaults`."""
    mount: Mount
    """Where the PKI secrets engine is mounted."""
    endpoint: Literal["sign", "issue"] = "sign"
    """`sign`: the key is made on this node and never leaves it. `issue`: Vault makes the key."""
    issuer_ref: Mount | None = None
    """A named issuer of the mount; its default issuer if left out."""


class Authority(Section):
    """A CA whose key lies on this machine; for tests, laboratories and bootstrap."""

    certificate: Path
    """The CA certificate, PEM."""
    key: Path
    """The CA key, PEM; it must not be readable by others."""


class Issuer(Section):
    """Who signs, and which trust anchors its certificates must build to."""

    one_of = ("vault", "ca")
    vault: VaultPki | None = None
    """A PKI secrets engine of Vault or OpenBao."""
    ca: Authority | None = None
    """A CA on disk."""
    trust_anchors: Path | None = None
    """The pinned CA certificates, PEM. Must be given for `vault`; `ca` pins its own."""
