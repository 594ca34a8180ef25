"""Why: an ordered chain of checks from what was found on disk to the reasons for replacing it.

Each check sees the same `Look` and answers with a detail, or None. The order of `CHECKS` is the
specification: the first finding is the reason, the rest is for people. Checks that need a leaf
are asked only when there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.core.model import Finding, Reason
from certrotd.core.renewal import expiring_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from certrotd.core.model import CertificateSpec, ParsedCertificate, StoredSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Everything that is known about one certificate at one moment.

    `key` is the public half (SHA-256 of the SubjectPublicKeyInfo, hex) of the key on disk,
    `chain_problem` why the leaf does not build to the pinned anchors, `unreadable` why leaf or
    key could not be understood.
    """

    spec: CertificateSpec
    stored: StoredSet
    leaf: ParsedCertificate | None
    key: str | None
    unreadable: str
    chain_problem: str | None
    now: datetime
    slot: datetime
    forced: bool = False


def missing(look: Look) -> str | None:
    """Make sure that every output exists."""
    absent = [f.output.path for f in look.stored.files if f.content is None and not f.problem]
    return f"{', '.join(absent)} does not exist" if absent else None


def unreadable(look: Look) -> str | None:
    """Make sure that every output can be read and understood."""
    problems = [f"{f.output.path}: {f.problem}" for f in look.stored.files if f.problem]
    return "; ".join(problems) or look.unreadable or None


def key_mismatch(look: Look) -> str | None:
    """Make sure that the key belongs to the leaf."""
    if look.leaf is None or look.key is None or look.key == look.leaf.public_key:
        return None
    return "the private key does not belong to the certificate"


def wrong_issuer(look: Look) -> str | None:
    """Make sure that the leaf builds to the pinned trust anchors."""
    return look.chain_problem if look.leaf is not None else None


def expired(look: Look) -> str | None:
    """Make sure that the leaf is still valid."""
    if look.leaf is None or look.now < look.leaf.not_after:
        return None
    return f"it ended at {look.leaf.not_after:%Y-%m-%dT%H:%M:%SZ}"


def not_yet_valid(look: Look) -> str | None:
    """Make sure that the leaf is valid already."""
    if look.leaf is None or look.leaf.not_before <= look.now:
        return None
    return f"it is not valid before {look.leaf.not_before:%Y-%m-%dT%H:%M:%SZ}"


def spec_changed(look: Look) -> str | None:
    """Make sure that subject, SANs, usages and key are as configured."""
    leaf, spec = look.leaf, look.spec
    if leaf is None:
        return None
    extended = {str(usage) for usage in spec.usages if usage.extended}
    pairs: list[tuple[str, object, object]] = [
        ("common name", spec.common_name, leaf.common_name),
        ("organizations", sorted(spec.organizations), sorted(leaf.organizations)),
        ("DNS names", sorted(spec.dns_names), sorted(leaf.dns_names)),
        ("IP addresses", sorted(map(str, spec.ip_addresses)), sorted(map(str, leaf.ip_addresses))),
        ("URIs", sorted(spec.uris), sorted(leaf.uris)),
        ("extended key usages", sorted(extended), sorted(leaf.extended_usages)),
        ("key", str(spec.key), leaf.key),
    ]
    if listed := [str(usage) for usage in spec.usages if not usage.extended]:
        pairs.append(("key usages", sorted(listed), sorted(leaf.usages)))
    changed = [f"{what} {_text(old)} -> {_text(new)}" for what, new, old in pairs if new != old]
    return "; ".join(changed) or None


def expiring(look: Look) -> str | None:
    """Make sure that more than a third of the leaf's life remains, whatever the hour."""
    if look.leaf is None or look.now < expiring_at(look.leaf.not_before, look.leaf.not_after):
        return None
    return f"it ends at {look.leaf.not_after:%Y-%m-%dT%H:%M:%SZ}"


def due(look: Look) -> str | None:
    """Make sure that the leaf was issued after the latest daily slot.

    The time of issue counts where it is known: issuers backdate not_before, and a leaf issued
    just after the slot would be due again at once.
    """
    if look.leaf is None:
        return None
    issued = look.stored.issued_at or look.leaf.not_before
    if issued >= look.slot:
        return None
    return f"issued {issued:%Y-%m-%dT%H:%M:%SZ}, before the slot of {look.slot:%Y-%m-%dT%H:%M:%SZ}"


def drifted(look: Look) -> str | None:
    """Make sure that nobody else changed what was published."""
    return "; ".join(f"{f.output.path}: {f.drift}" for f in look.stored.files if f.drift) or None


def forced(look: Look) -> str | None:
    """Obey the operator."""
    return "asked for" if look.forced else None


CHECKS: tuple[tuple[Reason, Callable[[Look], str | None]], ...] = (
    (Reason.MISSING, missing),
    (Reason.UNREADABLE, unreadable),
    (Reason.KEY_MISMATCH, key_mismatch),
    (Reason.EXPIRED, expired),
    (Reason.UNREADABLE, not_yet_valid),
    (Reason.WRONG_ISSUER, wrong_issuer),
    (Reason.SPEC_CHANGED, spec_changed),
    (Reason.EXPIRING, expiring),
    (Reason.DUE, due),
    (Reason.DRIFTED, drifted),
    (Reason.FORCED, forced),
)

REPLACING = frozenset(Reason) - {Reason.NOT_SERVED}
"""Reasons that ask for a new certificate; a leaf that is only not served needs activation."""

BROKEN = frozenset(
    {Reason.MISSING, Reason.UNREADABLE, Reason.KEY_MISMATCH, Reason.EXPIRED, Reason.WRONG_ISSUER}
)
"""Reasons that explain why a component may be unhealthy before it is touched."""


def findings(look: Look) -> tuple[Finding, ...]:
    """Return all reasons that hold, the deciding one first."""
    name = look.spec.name
    return tuple(
        Finding(certificate=name, reason=reason, detail=detail)
        for reason, check in CHECKS
        if (detail := check(look)) is not None
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)
