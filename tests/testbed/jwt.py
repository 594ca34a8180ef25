"""A token issuer with a local key (RFC 7519, ES256), for Vault's JWT auth."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

_COORDINATE_BYTES = 32


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """Signs claims with one P-256 key."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)

    @property
    def public_key_pem(self) -> bytes:
        """What the verifier is given."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, subject: str, *, audience: str = "vault", life: int = 600) -> str:
        """A JWT for `subject`, valid for `life` seconds from now (negative: expired)."""
        now = int(time.time())
        claims = {"sub": subject, "aud": audience, "iat": now, "nbf": now - 60, "exp": now + life}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (_HEADER, claims))
        der = self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        signature = b"".join(part.to_bytes(_COORDINATE_BYTES) for part in decode_dss_signature(der))
        return f"{signed}.{_encoded(signature)}"


_HEADER = {"alg": "ES256", "typ": "JWT"}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
