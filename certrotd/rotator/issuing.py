"""Issue all that is due: keys and CSRs here, signatures there, every answer verified.

Nothing on the node changes. A pair that could not be published is kept in memory and offered
again, so that a dead disk does not become a flood of signatures.
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from certrotd.core import verify, x509
from certrotd.core.errors import BudgetExhausted, CertrotdError, IssuerRefused, PermanentError
from certrotd.core.model import Entry, EntryKind, Issued, SigningRequest
from certrotd.core.planning import issued_since
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from certrotd.core.model import CertificateName, CertificateSpec, IssuerName, RunId, Verified
    from certrotd.rotator.world import World

BUDGET_PERIOD = timedelta(days=1)
PENDING_LIFE = timedelta(hours=6)
"""After this time a kept pair is forgotten: it would start its life too old."""


class Issuing:
    """Signatures for one daemon's life: the budget and the kept pairs outlive a run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pending: dict[CertificateName, Verified] = {}
        self._asked: list[Entry] = []

    def issue(
        self, specs: Iterable[CertificateSpec], run: RunId, entries: Iterable[Entry]
    ) -> dict[CertificateName, Verified | CertrotdError]:
        """Return a verified pair or the error for each specification; several at a time.

        `entries` is the journal; what it says was signed counts against the budget.
        """
        wanted = tuple(specs)
        now = self._world.clock.now()
        spent = self._spent(entries, now)
        results: dict[CertificateName, Verified | CertrotdError] = {}
        to_sign = []
        for spec in wanted:
            kept = self._pending.get(spec.name)
            if kept and kept.spec == spec and now - kept.issued_at < PENDING_LIFE:
                results[spec.name] = kept
            elif spent.get(spec.name, 0) >= self._world.bounds.issuances:
                results[spec.name] = _exhausted(spec, self._world.bounds.issuances)
            else:
                to_sign.append(spec)
        # Written down before it is asked for: a crash must not make signatures free.
        self._record(to_sign, run, EntryKind.ISSUED)
        if to_sign:
            # Imported here because commands that only look need no threads.
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

            workers = min(self._world.bounds.workers, len(to_sign))
            with ThreadPoolExecutor(workers, thread_name_prefix="issue") as pool:
                answers = pool.map(self._one, to_sign)
                results.update(zip((spec.name for spec in to_sign), answers, strict=True))
            refused = [spec for spec in to_sign if _refused(results[spec.name])]
            self._record(refused, run, EntryKind.REFUSED)
        self._pending |= {n: each for n, each in results.items() if not isinstance(each, Exception)}
        return results

    def published(self, name: CertificateName) -> None:
        """Forget the kept pair of a certificate: it is on disk now."""
        self._pending.pop(name, None)

    def _spent(self, entries: Iterable[Entry], now: datetime) -> dict[str, int]:
        """Count signatures; memory counts too, for the case that the journal is lost."""
        self._asked = [entry for entry in self._asked if now - entry.at < BUDGET_PERIOD]
        from_memory = issued_since(self._asked, now, BUDGET_PERIOD)
        from_disk = issued_since(entries, now, BUDGET_PERIOD)
        names = from_memory.keys() | from_disk.keys()
        return {n: max(from_memory.get(n, 0), from_disk.get(n, 0)) for n in names}

    def _record(self, specs: list[CertificateSpec], run: RunId, kind: EntryKind) -> None:
        if not specs:
            return
        entries = [
            Entry(
                at=self._world.clock.now(),
                run=run,
                kind=kind,
                component=spec.component,
                certificate=spec.name,
            )
            for spec in specs
        ]
        self._asked += entries
        self._world.journal.append(*entries)

    def _one(self, spec: CertificateSpec) -> Verified | CertrotdError:
        try:
            return self._sign(spec)
        except CertrotdError as e:
            return e

    def _sign(self, spec: CertificateSpec) -> Verified:
        world = self._world
        issuer = world.issuers[spec.issuer]
        anchors = issuer.anchors()
        key = x509.new_key(spec.key)
        started = world.clock.monotonic()
        request = SigningRequest(spec=spec, csr_pem=x509.build_csr(key, spec))
        answer = issuer.sign(request)
        for warning in answer.warnings:
            world.log(Event.ISSUER_WARNED, certificate=spec.name, warning=warning)
        issued = Issued(
            spec=spec,
            private_key=answer.private_key or x509.key_pem(key),
            chain=answer.chain,
            issued_at=world.clock.now(),
        )
        verified = verify.verify(issued, anchors, issued.issued_at, world.bounds.skew)
        world.log(
            Event.CERTIFICATE_ISSUED,
            certificate=spec.name,
            component=spec.component,
            issuer=spec.issuer,
            serial=verified.leaf.serial,
            not_after=verified.leaf.not_after,
            duration=world.clock.monotonic() - started,
        )
        return verified


def issuer_problem(world: World, issuer: IssuerName) -> CertrotdError | None:
    """Say why an issuer should not be asked at all.

    Its anchors cannot be read, so that nothing it signs could be verified; it is away; or its
    clock is far from this node's.
    """
    try:
        world.issuers[issuer].anchors()
        theirs = world.issuers[issuer].time()
    except CertrotdError as e:
        return e
    if theirs is None:
        return None
    apart = abs(world.clock.now() - theirs)
    if apart <= world.bounds.skew:
        return None
    return PermanentError(
        f"this node's clock and issuer {issuer}'s are {apart.total_seconds():.0f} s apart",
        hint="check time synchronization on both; nothing was issued",
    )


def _refused(result: Verified | CertrotdError) -> bool:
    """Whether the issuer said that it signed nothing; an answer of a wrong shape says no such."""
    if not isinstance(result, IssuerRefused) or result.status is None:
        return False
    return HTTPStatus.BAD_REQUEST <= result.status < HTTPStatus.INTERNAL_SERVER_ERROR


def _exhausted(spec: CertificateSpec, budget: int) -> BudgetExhausted:
    return BudgetExhausted(
        f"certificate {spec.name} was signed {budget} times in 24 hours",
        hint="find out why it is not kept (certrotd history); "
        "limits.issuances_per_day is the bound",
    )
