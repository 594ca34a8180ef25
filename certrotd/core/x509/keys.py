"""Private keys and certification requests: making, writing, loading, and whether one owns a leaf.

Knows the `cryptography` package; never shows a key's content, not even in an error.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from certrotd.core.model import KeyAlgorithm, Secret
from certrotd.core.x509.certificates import load, public_key_fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.core.model import CertificateSpec

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_NEW_KEY: dict[KeyAlgorithm, Callable[[], PrivateKey]] = {
    KeyAlgorithm.RSA_2048: lambda: rsa.generate_private_key(65537, 2048),
    KeyAlgorithm.RSA_3072: lambda: rsa.generate_private_key(65537, 3072),
    KeyAlgorithm.RSA_4096: lambda: rsa.generate_private_key(65537, 4096),
    KeyAlgorithm.ECDSA_P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyAlgorithm.ECDSA_P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyAlgorithm.ED25519: ed25519.Ed25519PrivateKey.generate,
}


def new_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """Make a private key."""
    return _NEW_KEY[algorithm]()


def key_pem(key: PrivateKey) -> Secret:
    """Write a private key as unencrypted PKCS #8 PEM (RFC 5958)."""
    return Secret(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def digest_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """Choose the digest a key signs with; Ed25519 brings its own (RFC 8410 section 3)."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:  # noqa: PLR2004  # bits
        return hashes.SHA384()
    return hashes.SHA256()


def subject_of(spec: CertificateSpec) -> x509.Name:
    """Return the subject a specification asks for: CN, then every O."""
    names = [x509.NameAttribute(NameOID.COMMON_NAME, spec.common_name)]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in spec.organizations]
    return x509.Name(names)


def alternative_names_of(spec: CertificateSpec) -> x509.SubjectAlternativeName | None:
    """Return the SAN extension a specification asks for, or None."""
    names: list[x509.GeneralName] = [x509.DNSName(each) for each in spec.dns_names]
    names += [x509.IPAddress(each) for each in spec.ip_addresses]
    names += [x509.UniformResourceIdentifier(each) for each in spec.uris]
    return x509.SubjectAlternativeName(names) if names else None


def build_csr(key: PrivateKey, spec: CertificateSpec) -> bytes:
    """Build and sign a certification request (RFC 2986), PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject_of(spec))
    if (names := alternative_names_of(spec)) is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, digest_for(key)).public_bytes(serialization.Encoding.PEM)


def load_key(private_key_pem: Secret) -> PrivateKey:
    """Load an RSA, ECDSA or Ed25519 key without the primality check of RSA keys.

    That check costs up to 335 ms a key. It protects from factors chosen by an attacker; whoever
    can write our key file needs no such trick, and a pair that is wrong by accident is caught
    by comparing the public half with the certificate and by `owns`' sign and verify round trip.

    Raises:
        ValueError: it is none; the message says nothing of the content.
    """
    try:
        key = serialization.load_pem_private_key(
            private_key_pem.reveal(), None, unsafe_skip_rsa_key_validation=True
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # `from None`: the library's message may quote what it could not read.
        raise ValueError("not an unencrypted PEM private key") from None
    if isinstance(key, PrivateKey):
        return key
    raise ValueError("not an RSA, ECDSA or Ed25519 private key")


def public_key_of(private_key_pem: Secret) -> str:
    """Return SHA-256 (hex) over the SubjectPublicKeyInfo of a private key's public half.

    Raises:
        ValueError: it is no usable private key; the message says nothing of the content.
    """
    return public_key_fingerprint(load_key(private_key_pem).public_key())


def owns(private_key_pem: Secret, pem: bytes) -> bool:
    """Whether a signature by the private key verifies with the certificate's public key.

    Raises:
        ValueError: one of them cannot be understood.
    """
    key, public = load_key(private_key_pem), load(pem).public_key()
    nonce = hashlib.sha256(pem).digest()
    try:
        if isinstance(key, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
            signature = key.sign(nonce, padding.PKCS1v15(), hashes.SHA256())
            public.verify(signature, nonce, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(
            public, ec.EllipticCurvePublicKey
        ):
            scheme = ec.ECDSA(hashes.SHA256())
            public.verify(key.sign(nonce, scheme), nonce, scheme)
        elif isinstance(key, ed25519.Ed25519PrivateKey) and isinstance(
            public, ed25519.Ed25519PublicKey
        ):
            public.verify(key.sign(nonce), nonce)
        else:
            return False
    except InvalidSignature:
        return False
    return True
