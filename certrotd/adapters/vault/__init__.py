"""HashiCorp Vault and OpenBao as issuer (HTTP API `/v1`), over hvac."""

from certrotd.adapters.vault.issuer import VaultIssuer
from certrotd.adapters.vault.session import VaultSession
from certrotd.adapters.vault.settings import (
    AppRoleAuth,
    CertificateAuth,
    TokenFileAuth,
    TokenRoleAuth,
    VaultConnection,
)

__all__ = [
    "AppRoleAuth",
    "CertificateAuth",
    "TokenFileAuth",
    "TokenRoleAuth",
    "VaultConnection",
    "VaultIssuer",
    "VaultSession",
]
