"""Health: whether components may be touched, and whether they are well again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from certrotd.core import policy
from certrotd.core.model import Reason, ServiceState
from certrotd.rotator.looking import on_disk
from certrotd.rotator.waiting import together, wait_until_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from certrotd.core.model import (
        CertificateName,
        Component,
        ComponentName,
        Evidence,
        Expectation,
        Observation,
        Step,
    )
    from certrotd.ports import Gate, Proof
    from certrotd.rotator.world import World

PRE_GATE = 5.0
"""How long, in seconds, a component may take to show that it is healthy before it is touched."""


def checks(
    world: World, component: Component, *, allow_degraded: bool = False
) -> tuple[Callable[[], Evidence], ...]:
    """Return one look at each gate of a component."""
    gates = world.keepers[component.name].gates
    return tuple(partial(_lenient, gate) if allow_degraded else gate.check for gate in gates)


def exempt(step: Step) -> bool:
    """Whether ill health is no reason to leave a component alone: this step may mend it."""
    findings = (finding for each in step.replacements for finding in each.findings)
    owed = step.owed is not None and step.owed.unproved
    return owed or any(finding.reason in policy.BROKEN for finding in findings)


def urgent(step: Step) -> bool:
    """Whether the step cannot wait until other components are well: a certificate is at its end."""
    findings = (finding for each in step.replacements for finding in each.findings)
    return exempt(step) or any(finding.reason is Reason.EXPIRING for finding in findings)


def before_all(
    world: World,
    steps: Iterable[Step],
    observations: Iterable[Observation],
    *,
    allow_degraded: bool,
) -> dict[ComponentName, tuple[Evidence, ...]]:
    """Look at the gates of all steps' components at once, each until it holds or PRE_GATE is over.

    Whether it is the component that answers is looked at, too. What is exempt is not looked at, and
    neither is what is deliberately down: nobody answers for it.
    """
    expected = on_disk(observations)
    names, looks = [], []
    for step in steps:
        keeper = world.keepers[step.component.name]
        if not exempt(step) and keeper.service.state() is not ServiceState.STOPPED:
            names.append(step.component.name)
            gates = checks(world, step.component, allow_degraded=allow_degraded)
            looks.append(partial(_looked, world, gates, keeper.proofs, expected))
    return dict(zip(names, together(looks, "gate"), strict=True))


def _looked(
    world: World,
    gates: tuple[Callable[[], Evidence], ...],
    proofs: tuple[Proof, ...],
    expected: Mapping[CertificateName, Expectation],
) -> tuple[Evidence, ...]:
    strangers = [seen for each in proofs if (seen := each.check(expected)).foreign]
    return (*wait_until_held(world, gates, PRE_GATE), *strangers)


def told(evidence: Iterable[Evidence]) -> str:
    """Return the details in one line."""
    return "; ".join(each.detail for each in evidence)


def _lenient(gate: Gate) -> Evidence:
    evidence = gate.check()
    if evidence.holds or not evidence.degraded:
        return evidence
    return replace(evidence, holds=True, detail=f"{evidence.detail} (degraded, and allowed to be)")
