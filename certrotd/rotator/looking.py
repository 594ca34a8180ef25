"""Look: what lies on disk, what the running processes use, what is owed; then decide.

Changes nothing, asks no issuer for anything but its pinned anchors.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from certrotd.core import planning, renewal
from certrotd.core.errors import CertrotdError
from certrotd.core.model import Expectation, Reason, ServiceState
from certrotd.core.planning import Moment
from certrotd.rotator.deciding import decided, with_outdated
from certrotd.rotator.waiting import together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from certrotd.core.model import (
        CertificateName,
        Entry,
        Evidence,
        IssuerName,
        Observation,
        Plan,
        Published,
        Verified,
    )
    from certrotd.core.planning import Wish
    from certrotd.ports import Proof
    from certrotd.rotator.world import World


def look(world: World, wish: Wish, entries: Iterable[Entry]) -> Plan:
    """Compare what is with what should be; `entries` is the journal.

    An issuer whose pinned anchors cannot be read makes its own certificates untrusted and keeps
    back no others; issuing will say why.

    Raises:
        CertrotdError: the disk reports an error.
    """
    now = world.clock.now()
    slot = renewal.latest_slot(world.schedule, world.bounds.offset, now)
    moment = Moment(now=now, slot=slot, next_slot=slot + renewal.DAY)
    specs = [spec for component in world.components for spec in component.certificates]
    stored = {spec.name: world.store.read(spec) for spec in specs}
    anchors = {name: _anchors(world, name) for name in {spec.issuer for spec in specs}}
    observations = {
        spec.name: planning.observe(
            spec,
            stored[spec.name],
            anchors[spec.issuer][0],
            moment,
            forced=wish.force and wish.covers(spec.component),
            anchors_problem=anchors[spec.issuer][1],
        )
        for spec in specs
    }
    evidence = _probe(world, observations)
    for each in evidence:
        if each.stale and each.certificate is not None:
            seen = observations[each.certificate]
            observations[each.certificate] = planning.with_finding(
                seen, Reason.NOT_SERVED, each.detail
            )
    owed = with_outdated(world, planning.owed_work(entries), wish, moment)
    plan = planning.plan(world.components, observations, owed, wish, moment, evidence)
    return decided(world, plan, {name: found for name, (found, _) in anchors.items()})


def _anchors(world: World, issuer: IssuerName) -> tuple[tuple[bytes, ...], str]:
    """Return an issuer's pinned anchors, or why there are none."""
    try:
        return world.issuers[issuer].anchors(), ""
    except CertrotdError as e:
        return (), str(e)


def expectation(published: Published) -> Expectation:
    """Say what a proof of this publication looks for."""
    return Expectation(
        certificate=published.certificate,
        fingerprint=published.fingerprint,
        serial=published.serial,
        published_at=published.published_at,
    )


def promise(verified: Verified) -> Expectation:
    """Say what a proof would look for if this pair were published."""
    return Expectation(
        certificate=verified.spec.name,
        fingerprint=verified.leaf.fingerprint,
        serial=verified.leaf.serial,
        published_at=verified.issued_at,
    )


def expectations(observations: Iterable[Observation]) -> dict[CertificateName, Expectation]:
    """Say what proofs look for while nothing changes: whatever was published last."""
    return {
        each.spec.name: replace(expectation(planning.as_published(each)), subject=each.leaf.subject)
        for each in observations
        if each.leaf is not None and each.stored.published_at is not None
    }


def on_disk(observations: Iterable[Observation]) -> dict[CertificateName, Expectation]:
    """Say what the leaves on disk are, whoever wrote them there."""
    return {
        each.spec.name: Expectation(
            certificate=each.spec.name,
            fingerprint=each.leaf.fingerprint,
            serial=each.leaf.serial,
            published_at=each.leaf.not_before,
            subject=each.leaf.subject,
        )
        for each in observations
        if each.leaf is not None
    }


def _probe(
    world: World, observations: Mapping[CertificateName, Observation]
) -> tuple[Evidence, ...]:
    """Ask every running component's proofs once, all at the same time."""
    work: list[tuple[Proof, Mapping[CertificateName, Expectation]]] = []
    for component in world.components:
        keeper = world.keepers[component.name]
        expected = expectations(observations[spec.name] for spec in component.certificates)
        if expected and keeper.proofs and keeper.service.state() is not ServiceState.STOPPED:
            work += [(proof, expected) for proof in keeper.proofs]
    return together([partial(proof.check, expected) for proof, expected in work], "probe")
