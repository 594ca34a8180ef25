"""The kubelet's own certificates: when one is asked for, for what, and whether the answer will do.

Never by the daily slot: kubelets replace theirs by themselves at 70 to 90 % of its life, and what
is here is the net below. See client-go's util/certificate for what the kubelet does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from certrotd.core import render, verify, x509
from certrotd.core.errors import Mismatch, Rejected
from certrotd.core.model import (
    CertificateName,
    CertificateSpec,
    ComponentName,
    IssuerName,
    KeyAlgorithm,
    Kubeconfig,
    Output,
    OutputKind,
    Usage,
)
from certrotd.core.model.kubelets import NODE_PREFIX, NODES, SHORTEST, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from ipaddress import IPv4Address, IPv6Address

    from certrotd.core.model import ParsedCertificate, Secret
    from certrotd.core.model.kubelets import SubmittedRequest

NET = 0.08
"""The share of its life below which a certificate is replaced for the kubelet: it should have done
so by itself when 10 to 30 % were left."""
PAUSES = tuple(timedelta(minutes=m) for m in (0, 1, 5, 15, 30))
"""How long after the last requests the next one may be made; the last one holds from there on."""
REMEMBERED = timedelta(hours=6)
"""For how long requests are counted."""
AHEAD = SHORTEST / 2
"""How far a signer's clock may be ahead of ours."""
_TIME = "%Y-%m-%d-%H-%M-%S"
_IN_FILES = {Purpose.CLIENT: "client", Purpose.SERVING: "server"}
_EXTENDED = {Purpose.CLIENT: Usage.CLIENT_AUTH, Purpose.SERVING: Usage.SERVER_AUTH}


class Cause(StrEnum):
    """Why a kubelet's certificate is asked for. A closed list."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    KEY_MISMATCH = "key_mismatch"
    EXPIRED = "expired"
    ENDING = "ending"
    NAMES_CHANGED = "names_changed"
    ASKED = "asked"

    @property
    def kubelet_may_mend(self) -> bool:
        """Whether a running kubelet replaces the certificate by itself, if it is given time."""
        return self in (Cause.MISSING, Cause.NAMES_CHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a node's certificate of one purpose must be.

    Only serving certificates have names and addresses. `lifetime` is what is asked for, None to
    leave it to the signer.
    """

    node: str
    purpose: Purpose
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    key: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a kubelet finds when it starts; `key` is the public half's SHA-256 (hex).

    `files` are where certificate and key lie; None where a kubeconfig has them inside. Without a
    leaf `problem` says why, empty if there is nothing.
    """

    path: str
    leaf: ParsedCertificate | None = None
    key: str | None = None
    files: tuple[str, str] | None = None
    problem: str = ""

    def usable(self, now: datetime) -> bool:
        """Whether an API server would let it in, as far as can be told from here."""
        leaf = self.leaf
        return leaf is not None and leaf.public_key == self.key and now < leaf.not_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One key and the request made with it; kept until the request is answered.

    `submitted` is False until the API server was seen to have it.
    """

    name: str
    private_key: Secret
    request: bytes = field(repr=False)
    cause: Cause
    begun_at: datetime
    submitted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What must not be forgotten between two looks at one purpose.

    `requests` are the times of the last ones, oldest first. Since `stored_at` a new pair is in the
    store and not yet shown to be in use, since `restarted_at` the kubelet was to have read it.
    """

    requests: tuple[datetime, ...] = ()
    attempt: Attempt | None = None
    stored_at: datetime | None = None
    restarted_at: datetime | None = None

    def recent(self, now: datetime) -> tuple[datetime, ...]:
        """Return the requests that still count; none from a future that a clock had seen."""
        return tuple(each for each in self.requests if now - REMEMBERED < each <= now)


def specification(wanted: Wanted, ttl: timedelta) -> CertificateSpec:
    """Return what is wanted in the words of all other certificates."""
    rsa = (Usage.KEY_ENCIPHERMENT,) if wanted.key.startswith("rsa") else ()
    return CertificateSpec(
        name=CertificateName(f"kubelet-{_IN_FILES[wanted.purpose]}"),
        component=ComponentName("kubelet"),
        issuer=IssuerName("csr"),
        role=None,
        common_name=f"{NODE_PREFIX}{wanted.node}",
        organizations=(NODES,),
        dns_names=wanted.dns_names,
        ip_addresses=wanted.ip_addresses,
        usages=(Usage.DIGITAL_SIGNATURE, *rsa, _EXTENDED[wanted.purpose]),
        key=wanted.key,
        ttl=ttl,
        outputs=(),
    )


def begin(wanted: Wanted, why: Cause, now: datetime) -> Attempt:
    """Make a key and a request; the name follows from the key, so that it is ours for sure."""
    key = x509.new_key(wanted.key)
    secret = x509.key_pem(key)
    fingerprint = x509.public_key_of(secret)
    return Attempt(
        name=f"certrotd-kubelet-{_IN_FILES[wanted.purpose]}-{fingerprint[:32]}",
        private_key=secret,
        request=x509.build_csr(key, specification(wanted, timedelta(0))),
        cause=why,
        begun_at=now,
    )


def fits(wanted: Wanted, request: bytes) -> bool:
    """Whether a request of ours still asks for what is wanted."""
    asked = x509.parse_request(request)
    return (
        asked.common_names == (f"{NODE_PREFIX}{wanted.node}",)
        and {each.lower() for each in asked.dns_names}
        == {each.lower() for each in wanted.dns_names}
        and set(asked.ip_addresses) == set(wanted.ip_addresses)
        and asked.key == wanted.key
    )


def is_ours(seen: SubmittedRequest, purpose: Purpose, attempt: Attempt) -> bool:
    """Whether an object is our request's: another's refusal or answer is not for us."""
    told = (seen.name, seen.signer, seen.request)
    return told == (attempt.name, purpose, attempt.request)


def kubeconfig(node: str, pair: str, server: str, ca_file: str) -> bytes:
    """Return a kubeconfig that names the link to the pair in use."""
    spec = specification(Wanted(node=node, purpose=Purpose.CLIENT), timedelta(0))
    named = Output(path=pair, kind=OutputKind.COMBINED, mode=0o600)
    user = f"{NODE_PREFIX}{node}"
    settings = Kubeconfig(server=server, user=user, embed=False, ca_file=ca_file)
    written = Output(path="", kind=OutputKind.KUBECONFIG, mode=0o600, kubeconfig=settings)
    content = render.constant(written, replace(spec, outputs=(named, written)), ())
    assert content is not None  # noqa: S101  # it has no identity inside
    return content


def cause(
    wanted: Wanted, held: Held, now: datetime, *, asked: bool = False
) -> tuple[Cause, str] | None:
    """Say why a certificate must be asked for, None if it need not be."""
    return next(_causes(wanted, held, now, asked=asked), None)


def _causes(
    wanted: Wanted, held: Held, now: datetime, *, asked: bool
) -> Iterator[tuple[Cause, str]]:
    leaf = held.leaf
    if leaf is None:
        if held.problem:
            yield Cause.UNREADABLE, f"{held.path}: {held.problem}"
        yield Cause.MISSING, f"{held.path} does not exist"
        return
    if held.key != leaf.public_key:
        yield Cause.KEY_MISMATCH, f"{held.path}: the key does not belong to the certificate"
    if now >= leaf.not_after:
        yield Cause.EXPIRED, f"it ended at {_moment(leaf.not_after)}"
    if missing := _missing(wanted, leaf):
        yield Cause.NAMES_CHANGED, f"it lacks {', '.join(missing)}"
    if leaf.not_after - now < (leaf.not_after - leaf.not_before) * NET:
        yield Cause.ENDING, f"it ends at {_moment(leaf.not_after)}, and the kubelet has not acted"
    if asked:
        yield Cause.ASKED, "asked for"


def _missing(wanted: Wanted, leaf: ParsedCertificate) -> tuple[str, ...]:
    """Return the names a certificate lacks; more than are wanted do no harm, as to the kubelet."""
    missing = [] if leaf.common_name == f"{NODE_PREFIX}{wanted.node}" else [wanted.node]
    has = {each.lower() for each in leaf.dns_names}
    missing += [each for each in wanted.dns_names if each.lower() not in has]
    missing += [str(each) for each in wanted.ip_addresses if each not in leaf.ip_addresses]
    return tuple(missing)


def next_request(requests: tuple[datetime, ...]) -> datetime | None:
    """Return the earliest time of the next request after these, oldest first; None: at once.

    A cluster that does not approve sees a few requests of a node in an hour.
    """
    if not requests:
        return None
    return requests[-1] + PAUSES[min(len(requests), len(PAUSES) - 1)]


def checked(
    wanted: Wanted,
    private_key: Secret,
    chain: tuple[bytes, ...],
    anchors: tuple[bytes, ...],
    now: datetime,
) -> tuple[ParsedCertificate, tuple[bytes, ...]]:
    """Return leaf and chain of an answer that is exactly what was asked for.

    Of what was delivered the chain has what leads to an anchor, in order.

    Raises:
        Rejected: it is not; every difference is in it.
    """
    name = specification(wanted, timedelta(0)).name
    try:
        leaf = x509.parse_certificate(chain[0]) if chain else None
        mine = leaf is not None and x509.owns(private_key, chain[0])
    except ValueError as e:
        raise Rejected(name, (_mismatch("answer", "certificates", str(e)),)) from e
    if leaf is None:
        raise Rejected(name, (_mismatch("answer", "a certificate", "none"),))
    found = [*_differences(wanted, leaf, now, mine=mine)]
    # The leaf may have been signed by a clock that is ahead; `_differences` says how far it may be.
    at = min(max(now, leaf.not_before), now + AHEAD)
    try:
        path = x509.build_path(chain, anchors, at)
    except ValueError as e:
        path = ()
        found.append(_mismatch("chain", "a path to a pinned trust anchor", str(e)))
    found += verify.outliving(leaf, path)
    if found:
        raise Rejected(name, tuple(found))
    return leaf, tuple(each for each in path if each in chain)


def _differences(
    wanted: Wanted, leaf: ParsedCertificate, now: datetime, *, mine: bool
) -> Iterator[Mismatch]:
    spec = specification(wanted, timedelta(0))
    if not mine:
        yield _mismatch("public key", "ours", "another")
    if leaf.key != spec.key:
        yield _mismatch("key", spec.key, leaf.key)
    if leaf.is_ca:
        yield _mismatch("basic constraints", "CA:FALSE", "CA:TRUE")
    yield from verify.names(leaf, spec)
    yield from verify.usages(leaf, spec)
    if leaf.not_before > now + AHEAD:
        yield _mismatch("not before", f"at most {_moment(now + AHEAD)}", _moment(leaf.not_before))
    if leaf.not_after - now < SHORTEST / 2:
        yield _mismatch("not after", "some time from now", _moment(leaf.not_after))
    # What was asked for is a wish to the signer, who may give less but not much more.
    asked = wanted.lifetime
    if asked is not None and leaf.not_after - now > asked + SHORTEST:
        yield _mismatch("time to live", f"about {asked}", leaf.not_after - now)


def file_name(purpose: Purpose, at: datetime) -> str:
    """Return the name of a pair in the kubelet's store."""
    return f"kubelet-{_IN_FILES[purpose]}-{at.strftime(_TIME)}.pem"


def current_name(purpose: Purpose) -> str:
    """Return the name of the link to the pair in use."""
    return f"kubelet-{_IN_FILES[purpose]}-current.pem"


def is_pair(purpose: Purpose, name: str) -> bool:
    """Whether a file's name is that of a pair in the kubelet's store."""
    begin, end = f"kubelet-{_IN_FILES[purpose]}-", ".pem"
    between = name.removeprefix(begin).removesuffix(end)
    dated = between.replace("-", "").isdecimal() and len(between) == len("2026-11-26-22-34-00")
    return name.startswith(begin) and name.endswith(end) and dated


def _mismatch(field: str, expected: object, actual: object) -> Mismatch:
    return Mismatch(field=field, expected=str(expected), actual=str(actual))


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
