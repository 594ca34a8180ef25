"""Which key signed a service account's token (RFC 7515, ES256)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

if TYPE_CHECKING:
    from tests.matrix.publishing import Edition

_COORDINATE_BYTES = 32


def signed_by(token: str, edition: Edition) -> bool:
    """Whether the key of this edition signed it."""
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    key = x509.load_pem_x509_certificate(edition.verified.leaf.pem).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    if len(raw) != 2 * _COORDINATE_BYTES:
        return False  # not ES256: the RSA key that the control plane came with
    r, s = (int.from_bytes(raw[i : i + _COORDINATE_BYTES]) for i in (0, _COORDINATE_BYTES))
    try:
        key.verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
