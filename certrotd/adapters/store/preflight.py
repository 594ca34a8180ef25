"""Whether publishing can work, found out before anybody is asked to sign anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certrotd.core.model import CertificateSpec


def check(specs: tuple[CertificateSpec, ...], history: str) -> None:
    """Check every directory once."""
