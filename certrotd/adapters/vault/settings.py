"""What the `vault` adapter is told: where the server is and how to log in.

Files are read at every login, never when a session is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRoleAuth:
    """AppRole: a role-id, and a secret-id from exactly one of three sources.

    `secret_id_credential` names a systemd credential; `wrapped_secret_id_file` holds a
    response-wrapping token, which can be used once.
    """

    mount: str = "approle"
    role_id: str | None = None
    role_id_file: str | None = None
    secret_id_file: str | None = None
    secret_id_credential: str | None = None
    wrapped_secret_id_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRoleAuth:
    """A signed token (JWT) from a file: a Kubernetes service account's, or any other."""

    method: Literal["kubernetes", "jwt"]
    mount: str
    role: str
    token_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateAuth:
    """A TLS client certificate; without a role Vault tries all of the mount's."""

    mount: str = "cert"
    role: str | None = None
    certificate: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFileAuth:
    """A token that somebody else keeps fresh, for example the sink of an agent."""

    path: str


Auth: TypeAlias = AppRoleAuth | TokenRoleAuth | CertificateAuth | TokenFileAuth


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConnection:
    """One server and an identity there.

    `connect_timeout` and `read_timeout` bound one attempt, `deadline` one request with all its
    retries. Without `ca_file` the system's trust store decides.
    """

    address: str
    namespace: str | None = None
    ca_file: str | None = None
    auth: Auth
    connect_timeout: timedelta
    read_timeout: timedelta
    deadline: timedelta
