"""For the activation AUTO: ask the process what it is, then decide what it needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.core import deciding
from certrotd.core.deciding import Seen
from certrotd.core.model import ActivationKind, Owed
from certrotd.rotator.waiting import together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from certrotd.core.model import (
        CertificateSpec,
        Component,
        ComponentName,
        Decision,
        IssuerName,
        Plan,
        Step,
    )
    from certrotd.core.planning import Moment, Wish
    from certrotd.ports import Runtime
    from certrotd.rotator.world import World


SETTLED = timedelta(seconds=30)
"""A file that was changed since may still be being written."""


def with_outdated(
    world: World, owed: Mapping[ComponentName, Owed], wish: Wish, moment: Moment
) -> dict[ComponentName, Owed]:
    """Add what running processes have read before somebody else changed it.

    A push to all masters must not restart them together, and a file that changes all the time must
    not restart a process all the time: see `Wish.by_itself`.
    """
    accounts = dict(owed)
    ripe = moment.now - SETTLED - world.bounds.offset if wish.by_itself else moment.now
    for component in world.components:
        runtime = _runtime(world, component)
        if runtime is None or not component.reads:
            continue
        started = world.keepers[component.name].service.started()
        if started is None or (wish.by_itself and started >= moment.slot):
            continue
        changed = deciding.changed_since(runtime.files(component.reads), started, ripe)
        if not changed:
            continue
        seen = Seen(rows=world.matrix(), facts=runtime.facts(), now=moment.now)
        if told := deciding.outdated(component, changed, seen):
            account = accounts.get(component.name, Owed(component=component.name, since=started))
            accounts[component.name] = replace(account, outdated=told)
    return accounts


def decided(world: World, plan: Plan, anchors: Mapping[IssuerName, tuple[bytes, ...]]) -> Plan:
    """Add the decisions: which of the steps' processes must be restarted, and why."""
    runtimes = {step.component.name: _runtime(world, step.component) for step in plan.steps}
    asked = {name: runtime.facts for name, runtime in runtimes.items() if runtime}
    facts = dict(zip(asked, together(list(asked.values()), "facts"), strict=True))
    observations = {each.spec.name: each for each in plan.observations}

    def one(step: Step) -> Step:
        if step.component.name not in facts:
            return step
        changed = deciding.changed_by(step, observations, anchors, plan.created_at)
        outdated = step.owed.outdated if step.owed else ()
        seen = Seen(rows=world.matrix(), facts=facts[step.component.name], now=plan.created_at)
        decision = deciding.decide(step.component, changed, outdated, seen)
        return replace(step, decision=decision)

    return replace(plan, steps=tuple(map(one, plan.steps)))


def decided_for(
    world: World, component: Component, specs: Iterable[CertificateSpec]
) -> Decision | None:
    """Decide for a component whose certificates are all put back, whatever is in them."""
    runtime = _runtime(world, component)
    if runtime is None:
        return None
    changed = [file for spec in specs for file in deciding.all_of(spec)]
    seen = Seen(rows=world.matrix(), facts=runtime.facts(), now=world.clock.now())
    return deciding.decide(component, changed, (), seen)


def unusable(world: World, component: Component) -> tuple[str, ...]:
    """Say which of the files a component reads would keep it from starting again."""
    runtime = _runtime(world, component)
    return deciding.unusable(runtime.files(component.reads)) if runtime else ()


def _runtime(world: World, component: Component) -> Runtime | None:
    if component.activation is not ActivationKind.AUTO:
        return None
    return world.keepers[component.name].runtime
