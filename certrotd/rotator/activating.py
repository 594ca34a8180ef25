"""Activation and proof of one component: the process uses what is published, and is healthy."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from certrotd.core.errors import ActivationFailed, GateClosed, ProofMissing
from certrotd.core.model import ActivationKind, EntryKind, Evidence
from certrotd.ports import Event
from certrotd.rotator import gating
from certrotd.rotator.deciding import unusable
from certrotd.rotator.looking import expectation, expectations
from certrotd.rotator.retiring import retire
from certrotd.rotator.waiting import wait_until_held

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from certrotd.core.model import (
        CertificateName,
        Component,
        Decision,
        Expectation,
        Observation,
        Published,
    )
    from certrotd.ports import Service
    from certrotd.rotator.world import World

START_PRECISION = timedelta(milliseconds=20)
"""A process may seem to be older than it is by so much: the kernel counts in ticks of 10 ms."""


@dataclass(slots=True)
class Progress:
    """How far a step has come; a rollback starts from here."""

    begun: bool = False
    published: list[Published] = field(default_factory=list)
    activated: bool = False
    restarted: bool = False
    evidence: tuple[Evidence, ...] = ()


class Activator:
    """Brings processes to use what is published.

    `journal` records that a component was told. `allow_degraded` accepts gates that say that the
    cluster works with less to spare.
    """

    def __init__(
        self,
        world: World,
        observations: Mapping[CertificateName, Observation],
        journal: Callable[[Component, EntryKind], None],
        *,
        allow_degraded: bool = False,
    ) -> None:
        self._world = world
        self._seen = observations
        self._journal = journal
        self._allow_degraded = allow_degraded

    def activate_and_prove(
        self,
        component: Component,
        published: tuple[Published, ...],
        progress: Progress,
        decision: Decision | None,
    ) -> None:
        """Tell the process, see that it uses what is published, see that it is healthy.

        With a decision (activation AUTO) a process that should reload by itself and is not seen to
        do so within its deadline is restarted.

        Raises:
            CertrotdError: it could not be told, does not use it, or is not healthy.
        """
        expected = expectations(self._seen[spec.name] for spec in component.certificates)
        expected |= {each.certificate: expectation(each) for each in published}
        progress.activated = True
        anew: Callable[[], Evidence] | None = None
        if decision is None:
            self._tell(component)
        elif decision.restart or self._is_not_seen(component, expected, progress, decision):
            anew = self._restart(component, progress, decision)
        self._prove(component, expected, progress, anew)

    def _tell(self, component: Component) -> None:
        self._world.keepers[component.name].service.activate()
        self._journal(component, EntryKind.ACTIVATED)
        if component.activation is not ActivationKind.NONE:
            self._world.log(
                Event.COMPONENT_ACTIVATED,
                component=component.name,
                how=component.activation,
                detail=component.activation_detail,
            )
        if component.activation is ActivationKind.RELOAD:
            self._let_go(component)

    def _let_go(self, component: Component) -> None:
        """Unlink the replaced files: watchers of an inode wake only then."""
        world = self._world
        world.clock.sleep(world.bounds.grace.total_seconds())
        retire(world, component.certificates, {component.name})

    def _is_not_seen(
        self,
        component: Component,
        expected: Mapping[CertificateName, Expectation],
        progress: Progress,
        decision: Decision,
    ) -> bool:
        """Wait for a reload; tell whether it was not seen within the component's deadline."""
        world = self._world
        limit = max(component.proof_deadline, decision.within).total_seconds()
        self._journal(component, EntryKind.ACTIVATED)
        reasons = "; ".join(decision.reasons)
        world.log(Event.RELOAD_AWAITED, component=component.name, reasons=reasons)
        self._let_go(component)
        looks = tuple(partial(e.check, expected) for e in world.keepers[component.name].proofs)
        progress.evidence = wait_until_held(world, looks, limit)
        missing = [each for each in progress.evidence if not each.holds]
        if missing:
            detail = f"not within {limit:g} s: {gating.told(missing)}"
            world.log(Event.RELOAD_NOT_SEEN, component=component.name, detail=detail)
        return bool(missing)

    def _restart(
        self, component: Component, progress: Progress, decision: Decision
    ) -> Callable[[], Evidence]:
        """Restart the process; return the look that shows that it was started anew."""
        world, service = self._world, self._world.keepers[component.name].service
        if bad := unusable(world, component):
            raise ActivationFailed(
                f"{component.name} must be restarted and would not start again: {'; '.join(bad)}",
                component=component.name,
                hint="mend these files first",
            )
        before, reasons = world.clock.now(), "; ".join(decision.reasons)
        if not decision.restart:
            reasons = "it was not seen to reload by itself"
        progress.restarted = True
        service.activate()
        self._journal(component, EntryKind.ACTIVATED)
        world.log(
            Event.COMPONENT_ACTIVATED,
            component=component.name,
            how=component.activation,
            detail=f"{component.activation_detail}: {reasons}",
        )
        return partial(_started_since, service, before)

    def _prove(
        self,
        component: Component,
        expected: Mapping[CertificateName, Expectation],
        progress: Progress,
        anew: Callable[[], Evidence] | None,
    ) -> None:
        world, limit = self._world, component.proof_deadline
        looks = [partial(e.check, expected) for e in world.keepers[component.name].proofs]
        proofs = progress.evidence = wait_until_held(
            world, (*looks, *([anew] if anew else ())), limit.total_seconds()
        )
        if missing := [each for each in proofs if not each.holds]:
            raise ProofMissing(
                f"{component.name} was not seen to use its new certificate within "
                f"{limit.total_seconds():g} s: {gating.told(missing)}",
                component=component.name,
                hint=f"look at the log of {component.name}",
            )
        for each in proofs:
            world.log(Event.COMPONENT_PROVEN, component=component.name, detail=each.detail)
        gates = wait_until_held(
            world,
            gating.checks(world, component, allow_degraded=self._allow_degraded),
            limit.total_seconds(),
            component.settle.total_seconds(),
        )
        progress.evidence = (*proofs, *gates)
        if closed := [each for each in gates if not each.holds]:
            raise GateClosed(
                f"{component.name} uses its new certificate but is not healthy within "
                f"{limit.total_seconds():g} s: {gating.told(closed)}",
                component=component.name,
                hint=f"look at the log of {component.name}",
            )
        for each in gates:
            world.log(Event.GATE_PASSED, component=component.name, detail=each.detail)


def _started_since(service: Service, moment: datetime) -> Evidence:
    """See that the process is younger than `moment`; who cannot tell leaves it to other proofs."""
    started = service.started()
    if started is None:
        detail = "when its process was started cannot be told"
        return Evidence(source="process", holds=True, detail=detail)
    holds = started >= moment - START_PRECISION
    detail = f"its process was started at {started:%Y-%m-%dT%H:%M:%SZ}"
    return Evidence(
        source="process", holds=holds, detail=detail if holds else f"{detail}, before the restart"
    )
