"""May this be published? The issuer's answer, compared field by field with what was asked for.

Nothing an answer carries is trusted: the chain must build to the pinned anchors, the key must be
ours, and every name and usage exactly as specified. All differences are named at once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from certrotd.core import x509
from certrotd.core.errors import Mismatch, Rejected
from certrotd.core.model import ParsedCertificate, Usage, Verified
from certrotd.core.renewal import EXPIRING_SHARE, expiring_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from certrotd.core.model import CertificateSpec, Issued

SERIAL_BITS = 64
"""What must be unpredictable in a serial (CA/Browser Forum Baseline Requirements 7.1)."""
ON_THE_WAY = timedelta(minutes=1)
"""How much of its life a certificate may lose between signature and verification."""
_SIGNING_ONLY = ("cert sign", "crl sign")


def verify(issued: Issued, anchors: tuple[bytes, ...], now: datetime, skew: timedelta) -> Verified:
    """Return what may be published.

    Raises:
        Rejected: the answer differs from the specification; every difference is in it.
    """
    spec = issued.spec
    try:
        mine = x509.owns(issued.private_key, issued.chain[0]) if issued.chain else False
        public_key = x509.public_key_of(issued.private_key)
    except ValueError as e:
        raise Rejected(spec.name, (_mismatch("answer", "certificates", str(e)),)) from e
    compared = _compare(spec, issued.chain, public_key, anchors, now, skew)
    mismatches = compared.mismatches
    if compared.leaf.public_key == public_key and not mine:
        verifies = _mismatch("private key", "one whose signature verifies", "one that does not")
        mismatches = (verifies, *mismatches)
    if mismatches:
        raise Rejected(spec.name, mismatches)
    return Verified(
        spec=spec,
        leaf=compared.leaf,
        chain=compared.chain,
        anchors=anchors,
        private_key=issued.private_key,
        issued_at=issued.issued_at,
    )


def verify_for(
    spec: CertificateSpec,
    chain: tuple[bytes, ...],
    public_key: str,
    anchors: tuple[bytes, ...],
    now: datetime,
    skew: timedelta,
) -> tuple[ParsedCertificate, tuple[bytes, ...]]:
    """Return leaf and chain for somebody else, whose private key is not here.

    Args:
        spec: What was asked for.
        chain: The answer, PEM, leaf first.
        public_key: SHA-256 over the SubjectPublicKeyInfo that was to be certified.
        anchors: The pinned trust.
        now: The time.
        skew: How far clocks may be apart.

    Raises:
        Rejected: the answer differs from the specification; every difference is in it.
    """
    compared = _compare(spec, chain, public_key, anchors, now, skew)
    if compared.mismatches:
        raise Rejected(spec.name, compared.mismatches)
    return compared.leaf, compared.chain


class _Compared(NamedTuple):
    """An answer, its chain without the anchor, and in what it differs."""

    leaf: ParsedCertificate
    chain: tuple[bytes, ...]
    mismatches: tuple[Mismatch, ...]


def _compare(
    spec: CertificateSpec,
    answered: tuple[bytes, ...],
    public_key: str,
    anchors: tuple[bytes, ...],
    now: datetime,
    skew: timedelta,
) -> _Compared:
    """Compare all but the private key.

    Raises:
        Rejected: there is nothing to compare.
    """
    try:
        chain = tuple(map(x509.parse_certificate, answered))
    except ValueError as e:
        raise Rejected(spec.name, (_mismatch("answer", "certificates", str(e)),)) from e
    if not chain:
        raise Rejected(spec.name, (_mismatch("answer", "a certificate", "none"),))
    leaf = chain[0]
    mismatches = [
        *_key(leaf, spec, public_key),
        *_leaves(chain),
        *names(leaf, spec),
        *usages(leaf, spec),
        *_life(leaf, spec, now, skew),
    ]
    # The leaf may have been signed by a clock that is ahead; `_life` says how far it may be.
    at = max(now, leaf.not_before) if leaf.not_before <= now + skew else now
    try:
        path = x509.build_path(answered, anchors, at)
    except ValueError as e:
        mismatches.append(_mismatch("chain", "a path to a pinned trust anchor", str(e)))
        path = ()
    mismatches += outliving(leaf, path)
    return _Compared(leaf, path[:-1], tuple(mismatches))


def _mismatch(field: str, expected: object, actual: object) -> Mismatch:
    return Mismatch(field=field, expected=str(expected), actual=str(actual))


def _key(leaf: ParsedCertificate, spec: CertificateSpec, public_key: str) -> Iterator[Mismatch]:
    if leaf.public_key != public_key:
        yield _mismatch("public key", f"SHA-256 {public_key}", leaf.public_key)
    if leaf.key != spec.key:
        yield _mismatch("key", spec.key, leaf.key)
    bits = int(leaf.serial, 16).bit_length()
    if bits < SERIAL_BITS:
        yield _mismatch("serial", f"at least {SERIAL_BITS} bits", f"{bits} bits")


def _leaves(chain: tuple[ParsedCertificate, ...]) -> Iterator[Mismatch]:
    if chain[0].is_ca:
        yield _mismatch("basic constraints", "CA:FALSE", "CA:TRUE")
    others = [each.subject or each.serial for each in chain[1:] if not each.is_ca]
    if others:
        yield _mismatch("certificates", "one leaf", f"also {', '.join(others)}")


def names(leaf: ParsedCertificate, spec: CertificateSpec) -> Iterator[Mismatch]:
    """Compare subject and SANs; nothing may be missing, nothing more."""
    if leaf.common_name != spec.common_name:
        yield _mismatch("common name", spec.common_name, leaf.common_name or "none")
    yield from _set("organizations", spec.organizations, leaf.organizations)
    # DNS names compare without regard to case (RFC 5280 section 7.2).
    dns = (name.lower() for name in spec.dns_names)
    yield from _set("DNS names", dns, (name.lower() for name in leaf.dns_names))
    yield from _set("IP addresses", map(str, spec.ip_addresses), map(str, leaf.ip_addresses))
    yield from _set("URIs", spec.uris, leaf.uris)
    if leaf.foreign:
        yield _mismatch("other names and extensions", "none", ", ".join(leaf.foreign))


def usages(leaf: ParsedCertificate, spec: CertificateSpec) -> Iterator[Mismatch]:
    """Compare extended usages exactly, key usages exactly where the specification lists any.

    Vault takes both from its role and none from the request, so a role that differs shows here.
    A specification that lists no key usage leaves them to the role, but a control plane needs
    TLS 1.3, which needs digital signature, and never a leaf that signs certificates.
    """
    extended = [str(usage) for usage in spec.usages if usage.extended]
    yield from _set("extended key usages", extended, leaf.extended_usages)
    listed = [str(usage) for usage in spec.usages if not usage.extended]
    if listed:
        yield from _set("key usages", listed, leaf.usages)
        return
    if Usage.DIGITAL_SIGNATURE not in leaf.usages:
        yield _mismatch("key usages", Usage.DIGITAL_SIGNATURE, _listed(leaf.usages))
    if signing := [usage for usage in leaf.usages if usage in _SIGNING_ONLY]:
        yield _mismatch("key usages", f"no {' or '.join(_SIGNING_ONLY)}", _listed(signing))


def _life(
    leaf: ParsedCertificate, spec: CertificateSpec, now: datetime, skew: timedelta
) -> Iterator[Mismatch]:
    if leaf.not_before > now + skew:
        yield _mismatch("not before", f"at most {_time(now + skew)}", _time(leaf.not_before))
    if leaf.not_after <= now:
        yield _mismatch("not after", f"later than {_time(now)}", _time(leaf.not_after))
        return
    remaining = leaf.not_after - now
    if not spec.ttl - skew - ON_THE_WAY <= remaining <= spec.ttl + skew:
        rounded = timedelta(seconds=round(remaining.total_seconds()))
        yield _mismatch("time to live", spec.ttl, rounded)
    if now >= expiring_at(leaf.not_before, leaf.not_after):
        # Backdated so far that every run would replace it.
        earliest = leaf.not_after - remaining / EXPIRING_SHARE
        yield _mismatch("not before", f"later than {_time(earliest)}", _time(leaf.not_before))


def outliving(leaf: ParsedCertificate, path: tuple[bytes, ...]) -> Iterator[Mismatch]:
    """Name the first authority that ends before the leaf: the leaf is useless from then on."""
    for authority in map(x509.parse_certificate, path[1:]):
        if authority.not_after < leaf.not_after:
            yield _mismatch(
                "not after",
                f"at most {_time(authority.not_after)}, when {authority.subject} ends",
                _time(leaf.not_after),
            )
            return


def _set(field: str, expected: Iterable[str], actual: Iterable[str]) -> Iterator[Mismatch]:
    wanted, got = sorted(set(expected)), sorted(set(actual))
    if wanted != got:
        yield _mismatch(field, _listed(wanted), _listed(got))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
