"""What is due, in which order: specifications and what was found to a Plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from certrotd.core import policy, render, x509
from certrotd.core.model import (
    CertificateName,
    Component,
    ComponentName,
    EntryKind,
    Finding,
    Observation,
    Owed,
    Plan,
    Published,
    Reason,
    Replacement,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime, timedelta

    from certrotd.core.model import (
        CertificateSpec,
        Entry,
        Evidence,
        GenerationId,
        ParsedCertificate,
        StoredSet,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The time a decision is made at, and the slots around it."""

    now: datetime
    slot: datetime
    next_slot: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator asked for: some components (none means all), by force or not.

    `allow_degraded` accepts gates that do not hold but say that the cluster still works.
    `by_itself` is the wish of a daemon, not of a person: what somebody else changed is left to
    settle, waits for this node's share of the splay, and restarts a process once a slot at most.
    """

    components: frozenset[ComponentName] = frozenset()
    force: bool = False
    allow_degraded: bool = False
    by_itself: bool = False

    def covers(self, component: ComponentName) -> bool:
        """Whether the wish is about this component."""
        return not self.components or component in self.components


def ordered(components: Iterable[Component]) -> tuple[Component, ...]:
    """Return components with every `after` before its dependent, else in the given order.

    A cycle, which the configuration refuses, does not keep it from ending.
    """
    by_name = {component.name: component for component in components}
    result: dict[ComponentName, Component] = {}
    for component in by_name.values():
        trail = {component.name: component}  # not recursive: a thousand may wait in one row
        while trail:
            name, last = next(reversed(trail.items()))
            waiting = (o for o in last.after if o in by_name and o not in result and o not in trail)
            if (other := next(waiting, None)) is not None:
                trail[other] = by_name[other]
            else:
                result.setdefault(name, trail.pop(name))
    return tuple(result.values())


def leaders_last(
    steps: tuple[Step, ...],
    leaders: Collection[ComponentName],
    components: Iterable[Component],
) -> tuple[Step, ...]:
    """Let who leads its cluster come after who stands by, where `after` leaves a choice.

    A standby that does not take its new certificate stops the run before the leader is touched.
    """
    waits = _waits(components)
    waiting, result = {step.component.name: step for step in steps}, []
    while waiting:
        free = [name for name in waits if name in waiting and not waits[name] & waiting.keys()]
        # A cycle, which the configuration refuses, does not keep it from ending.
        chosen = next((name for name in free if name not in leaders), next(iter(free or waiting)))
        result.append(waiting.pop(chosen))
    return tuple(result)


def _waits(components: Iterable[Component]) -> dict[ComponentName, set[ComponentName]]:
    """Return for each component all that must be done before it, in order."""
    waits: dict[ComponentName, set[ComponentName]] = {}
    for each in ordered(components):
        waits[each.name] = set(each.after).union(*(waits.get(name, ()) for name in each.after))
    return waits


def observe(
    spec: CertificateSpec,
    stored: StoredSet,
    anchors: tuple[bytes, ...],
    moment: Moment,
    *,
    forced: bool = False,
    anchors_problem: str = "",
) -> Observation:
    """Understand what lies on disk and find the reasons for replacing it.

    `anchors_problem` says why the pinned anchors are not known: nothing can be trusted then.
    """
    leaf: ParsedCertificate | None = None
    key: str | None = None
    problem, chain_problem = "", None
    if all(each.content is not None for each in stored.files):
        try:
            identity = render.identity(stored.files)
            leaf = x509.parse_certificate(identity.chain[0])
            key = x509.public_key_of(identity.private_key) if identity.private_key else None
            chain_problem = anchors_problem or x509.chain_problem(
                identity.chain, anchors, moment.now
            )
        except ValueError as e:
            problem = str(e)
    look = policy.Look(
        spec=spec,
        stored=stored,
        leaf=leaf,
        key=key,
        unreadable=problem,
        chain_problem=chain_problem,
        now=moment.now,
        slot=moment.slot,
        forced=forced,
    )
    return Observation(spec=spec, stored=stored, leaf=leaf, findings=policy.findings(look))


def with_finding(seen: Observation, reason: Reason, detail: str) -> Observation:
    """Add what was learned after the files were read; it decides only if nothing else did."""
    finding = Finding(certificate=seen.spec.name, reason=reason, detail=detail)
    return replace(seen, findings=(*seen.findings, finding))


def plan(
    components: tuple[Component, ...],
    observations: Mapping[CertificateName, Observation],
    owed: Mapping[ComponentName, Owed],
    wish: Wish,
    moment: Moment,
    evidence: tuple[Evidence, ...] = (),
) -> Plan:
    """Turn findings and owed work into ordered steps; none when nothing is due."""
    steps = []
    for component in ordered(components):
        if not wish.covers(component.name):
            continue
        found = [observations[spec.name] for spec in component.certificates]
        replacements = tuple(
            Replacement(spec=each.spec, findings=each.findings)
            for each in found
            if any(finding.reason in policy.REPLACING for finding in each.findings)
        )
        debt = _debt(component, owed.get(component.name), found)
        if replacements or debt:
            steps.append(Step(component=component, replacements=replacements, owed=debt))
    return Plan(
        created_at=moment.now,
        steps=tuple(steps),
        observations=tuple(observations.values()),
        evidence=evidence,
        next_slot=moment.next_slot,
    )


def _debt(component: Component, account: Owed | None, found: list[Observation]) -> Owed | None:
    """Find what the process has not been shown to use.

    What lies on disk decides: a crash between the switch and its record leaves no PUBLISHED
    entry, but the generation says when it was published. A leaf that the process was seen not to
    present is owed whatever the journal says.
    """
    published = tuple(
        as_published(each)
        for each in found
        if each.leaf is not None
        and each.stored.published_at is not None
        and (
            (account is not None and account.begun and each.stored.published_at >= account.since)
            or any(finding.reason is Reason.NOT_SERVED for finding in each.findings)
        )
    )
    if not published:
        return replace(account, published=(), begun=False) if account and account.outdated else None
    if account is None:
        since = min(each.published_at for each in published)
        return Owed(component=component.name, since=since, published=published)
    recorded = {each.generation: each for each in account.published}
    return replace(account, published=tuple(recorded.get(e.generation, e) for e in published))


def as_published(observation: Observation) -> Published:
    """Describe what lies on disk as the publication it came from.

    Raises:
        ValueError: there is no leaf, or it was not published by certrotd.
    """
    stored, leaf = observation.stored, observation.leaf
    if leaf is None or stored.generation is None or stored.published_at is None:
        raise ValueError(f"{observation.spec.name} was not published by certrotd")
    return Published(
        certificate=observation.spec.name,
        generation=stored.generation,
        previous=None,
        fingerprint=leaf.fingerprint,
        serial=leaf.serial,
        not_after=leaf.not_after,
        published_at=stored.published_at,
    )


_CLOSING = frozenset({EntryKind.DONE, EntryKind.ROLLED_BACK})


def owed_work(entries: Iterable[Entry]) -> dict[ComponentName, Owed]:
    """Fold the journal: which components were begun and neither done nor put back."""
    accounts: dict[ComponentName, Owed] = {}
    for entry in entries:
        name = entry.component
        if entry.kind in _CLOSING:
            accounts.pop(name, None)
        elif entry.kind is EntryKind.BEGUN:
            accounts.setdefault(name, Owed(component=name, since=entry.at, begun=True))
        elif entry.kind is EntryKind.PUBLISHED and entry.published is not None:
            account = accounts.get(name, Owed(component=name, since=entry.at, begun=True))
            accounts[name] = replace(account, published=(*account.published, entry.published))
    return accounts


def disproved(entries: Iterable[Entry]) -> frozenset[GenerationId]:
    """Fold the journal: generations that were published and had to be put back.

    What a rollback publishes itself comes after a BEGUN of its own and is not among them.
    """
    present: dict[ComponentName, set[GenerationId]] = {}
    suspects: dict[ComponentName, set[GenerationId]] = {}
    failed: set[GenerationId] = set()
    for entry in entries:
        name = entry.component
        if entry.kind is EntryKind.PUBLISHED and entry.published is not None:
            present.setdefault(name, set()).add(entry.published.generation)
        elif entry.kind is EntryKind.BEGUN:
            suspects.setdefault(name, set()).update(present.pop(name, ()))
        elif entry.kind in _CLOSING:
            if entry.kind is EntryKind.ROLLED_BACK:
                failed |= suspects.get(name, set())
            present.pop(name, None)
            suspects.pop(name, None)
    return frozenset(failed)


_BUDGET = {EntryKind.ISSUED: 1, EntryKind.REFUSED: -1}


def issued_since(entries: Iterable[Entry], now: datetime, period: timedelta) -> dict[str, int]:
    """Count the signatures asked for and not refused for each certificate in `period`."""
    count: dict[str, int] = {}
    for entry in entries:
        if entry.certificate and now - entry.at < period:
            worth = _BUDGET.get(entry.kind, 0)
            # Never below none: the signature that was refused may be older than the period.
            count[entry.certificate] = max(0, count.get(entry.certificate, 0) + worth)
    return count
