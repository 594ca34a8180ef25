"""For the activation AUTO: ask the process what it is, then decide what it needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from certrotd.core import deciding
from certrotd.core.deciding import Seen
from certrotd.core.model import ActivationKind, Owed
from certrotd.rotator.waiting import together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from certrotd.core.model import (
        CertificateSpec,
        Component,
        ComponentName,
        Decision,
        IssuerName,
        Plan,
        Step,
    )
    from certrotd.ports import Runtime
    from certrotd.rotator.world import World


def with_outdated(
    world: World, owed: Mapping[ComponentName, Owed], now: datetime
) -> dict[ComponentName, Owed]:
    """Add what running processes have read before somebody else changed it.

    Files are looked at each time; a process is asked only if one of them is newer than it.
    """
    accounts = dict(owed)
    for component in world.components:
        runtime = _runtime(world, component)
        if runtime is None or not component.reads:
            continue
        started = world.keepers[component.name].service.started()
        files = runtime.files(component.reads)
        if started is None or not (changed := deciding.changed_since(files, started, now)):
            continue
        seen = Seen(rows=world.matrix(), facts=runtime.facts(), now=now)
        if told := deciding.outdated(component, changed, seen):
            account = accounts.get(component.name, Owed(component=component.name, since=started))
            accounts[component.name] = replace(account, outdated=told)
    return accounts


def decided(world: World, plan: Plan, anchors: Mapping[IssuerName, tuple[bytes, ...]]) -> Plan:
    """Add the decisions: which of the steps' processes must be restarted, and why."""
    asked = [step for step in plan.steps if _runtime(world, step.component)]
    runtimes = [runtime for step in asked if (runtime := _runtime(world, step.component))]
    told = together([each.facts for each in runtimes], "facts")
    facts = {step.component.name: each for step, each in zip(asked, told, strict=True)}
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
