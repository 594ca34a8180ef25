"""Keys, CSRs and certificates (RFC 5280): PEM to facts and back, and whether a chain builds."""

from certrotd.core.x509.certificates import parse_certificate, split_pem
from certrotd.core.x509.chain import build_path, chain_problem
from certrotd.core.x509.keys import (
    PrivateKey,
    alternative_names_of,
    build_csr,
    digest_for,
    key_pem,
    load_key,
    new_key,
    owns,
    public_key_of,
    subject_of,
)
from certrotd.core.x509.requests import parse_request

__all__ = [
    "PrivateKey",
    "alternative_names_of",
    "build_csr",
    "build_path",
    "chain_problem",
    "digest_for",
    "key_pem",
    "load_key",
    "new_key",
    "owns",
    "parse_certificate",
    "parse_request",
    "public_key_of",
    "split_pem",
    "subject_of",
]
