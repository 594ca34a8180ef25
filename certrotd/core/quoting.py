"""Texts of others as they may be shown: short, on one line, printable, without secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 600
"""Characters."""
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END[A-Z -]*|\Z)", re.DOTALL
)
BOOTSTRAP_TOKEN = r"(?<![\w.-])[a-z0-9]{6}\.[a-z0-9]{16}(?![\w-])(?!\.\w)"  # noqa: S105  # a pattern
"""A bootstrap token of Kubernetes, not part of a longer name."""
_BOOTSTRAP_TOKEN = re.compile(BOOTSTRAP_TOKEN)


def quoted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text of somebody else's as it may be shown; `secrets` are known to be such."""
    for secret in secrets:
        text = text.replace(secret, "<secret>")
    text = _PRIVATE_KEY.sub("<private key>", text)
    text = _BOOTSTRAP_TOKEN.sub("<secret>", text)
    printable = "".join(each if each.isprintable() else " " for each in text)
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
