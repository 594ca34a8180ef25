"""One field of a secret in Vault's key-value engine, version 1 or 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.errors import IssuerRefused
from certrotd.core.model import Secret

if TYPE_CHECKING:
    from certrotd.adapters.vault.session import VaultSession


def read_field(session: VaultSession, path: str, field: str) -> Secret:
    """Return the field.

    Raises:
        IssuerUnavailable: the server does not answer.
        IssuerRefused: the server says no, or there is no such field.
    """
    hints = {
        403: f'the policy needs: path "{path}" {{ capabilities = ["read"] }}',
        404: f"vault kv put writes it; in version 2 the API's path has data/ after the mount: "
        f"{path}",
    }
    purpose = session.purpose(f"read {path}", path, hints)
    data = session.read(purpose).data()
    # Version 2 wraps the fields once more, beside their metadata.
    inner = data.get("data")
    fields = inner if isinstance(inner, dict) and "metadata" in data else data
    value = fields.get(field)
    if not isinstance(value, str) or not value.strip() or not value.isascii():
        known = ", ".join(sorted(map(str, fields))) or "none"
        raise IssuerRefused(
            f"{purpose}: there is no text in the field {field}", hint=f"its fields: {known}"
        )
    return Secret(value.strip().encode())
