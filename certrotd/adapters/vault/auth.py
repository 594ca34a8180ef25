"""From configured credentials to a login request; reads files, speaks to nobody.

Every file is read again at every login, so that whoever replaces it is believed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.adapters.vault.settings import (
    AppRoleAuth,
    CertificateAuth,
    TokenFileAuth,
    TokenRoleAuth,
)
from certrotd.core.errors import IssuerRefused
from certrotd.core.model import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.adapters.vault.settings import Auth

_LONGEST = 64 * 1024
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts the credentials of a unit (systemd.exec(5), LoadCredential=)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A login request: `fields` go to `path`, `secrets` too; `pair` is a TLS client certificate."""

    path: str
    hint: str
    fields: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, Secret], ...] = field(default=(), repr=False)
    pair: tuple[str, str] | None = None

    def body(self) -> dict[str, str]:
        """Return a fresh body; the caller must not log it."""
        return dict(self.fields) | {name: _text(each) for name, each in self.secrets}

    def texts(self) -> tuple[str, ...]:
        """Return what must not stand in any message."""
        return tuple(_text(each) for _, each in self.secrets)


def login_of(auth: Auth, unwrap: Callable[[str, str], Secret]) -> Login | Secret:
    """Return how to log in, or the token itself where somebody else keeps one.

    Args:
        auth: The configured method.
        unwrap: Gives the secret-id for a file with a wrapping token and the auth mount.

    Raises:
        IssuerRefused: a file cannot be read or holds nothing of use.
    """
    match auth:
        case AppRoleAuth():
            return _approle(auth, unwrap)
        case TokenRoleAuth():
            return Login(
                path=f"auth/{auth.mount}/login",
                hint=f"role {auth.role} must exist under auth/{auth.mount} and accept the token in "
                f"{auth.token_file}: issuer, audience, subject, not expired",
                fields=(("role", auth.role),),
                secrets=(("jwt", read_secret(auth.token_file, "token")),),
            )
        case CertificateAuth():
            return Login(
                path=f"auth/{auth.mount}/login",
                hint=f"auth/{auth.mount} must know the CA of {auth.certificate}, which must be a "
                "client certificate, not expired, with a name the role allows",
                fields=(("name", auth.role),) if auth.role else (),
                pair=_readable_pair(auth),
            )
        case TokenFileAuth():
            return read_secret(auth.path, "token")


def _approle(auth: AppRoleAuth, unwrap: Callable[[str, str], Secret]) -> Login:
    role_id = auth.role_id
    if role_id is None:
        role_id = _text(read_secret(auth.role_id_file or "", "role-id"))
    if auth.wrapped_secret_id_file:
        secret_id, source = unwrap(auth.wrapped_secret_id_file, auth.mount), "the unwrapped one"
    else:
        source = auth.secret_id_file or credential_path(auth.secret_id_credential or "")
        secret_id = read_secret(source, "secret-id")
    return Login(
        path=f"auth/{auth.mount}/login",
        hint=f"role-id and secret-id ({source}) must belong together, the secret-id must not be "
        "expired or used up, and both may be bound to other addresses than this node's",
        fields=(("role_id", role_id),),
        secrets=(("secret_id", secret_id),),
    )


def credential_path(name: str) -> str:
    """Return where systemd put a credential.

    Raises:
        IssuerRefused: certrotd was not started by systemd with credentials.
    """
    directory = os.environ.get(CREDENTIALS)
    if not directory:
        raise IssuerRefused(
            f"there is no systemd credential {name}: {CREDENTIALS} is not set",
            hint=f"add LoadCredential={name}:/path to the unit, or use secret_id_file",
        )
    return str(Path(directory, name))


def read_secret(path: str, what: str) -> Secret:
    """Read a one-line secret from a file.

    Raises:
        IssuerRefused: it cannot be read, is empty, or holds more than one word.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LONGEST + 1).strip()
    except OSError as e:
        raise IssuerRefused(
            f"cannot read the {what} in {path}: {e.strerror}",
            hint="it must exist and be readable by certrotd's user",
        ) from e
    if not content:
        raise IssuerRefused(f"the {what} file {path} is empty", hint=f"put the {what} into it")
    if len(content) > _LONGEST or not all(0x20 < byte < 0x7F for byte in content):  # noqa: PLR2004  # visible ASCII
        raise IssuerRefused(
            f"the {what} file {path} holds something else than one {what}",
            hint=f"it must hold the {what} alone, on one line",
        )
    return Secret(content)


def _readable_pair(auth: CertificateAuth) -> tuple[str, str]:
    for path in (auth.certificate, auth.key):
        try:
            Path(path).open("rb").close()
        except OSError as e:
            raise IssuerRefused(
                f"cannot read {path} to log in with: {e.strerror}",
                hint="it must exist and be readable by certrotd's user",
            ) from e
    return auth.certificate, auth.key


def _text(secret: Secret) -> str:
    return secret.reveal().decode("ascii")
