"""A whole run: everything that is due, in order, stopping at the first component that refuses."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from certrotd.core import planning
from certrotd.core.errors import (
    CertrotdError,
    OnHold,
    PermanentError,
    TransientError,
)
from certrotd.core.model import Result, RunId, RunReport, StepReport
from certrotd.ports import Event
from certrotd.rotator import gating
from certrotd.rotator.deciding import decided_for
from certrotd.rotator.issuing import Issuing, issuer_problem
from certrotd.rotator.looking import look
from certrotd.rotator.retiring import retire, unproved
from certrotd.rotator.stepping import Stepper, not_startable, unhealthy

if TYPE_CHECKING:
    from certrotd.core.model import (
        CertificateName,
        Component,
        ComponentName,
        Entry,
        Evidence,
        GenerationId,
        IssuerName,
        Plan,
        Step,
        Verified,
    )
    from certrotd.core.planning import Wish
    from certrotd.rotator.world import World

_SEVERITY = (
    Result.STOPPED, Result.DONE, Result.SKIPPED, Result.DEFERRED, Result.ROLLED_BACK, Result.FAILED,
)  # fmt: skip


class Rotator:
    """Rotates what is due. One instance lives as long as its process."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._issuing = Issuing(world)

    def plan(self, wish: Wish) -> Plan:
        """Say what is due and why; changes nothing.

        Raises:
            CertrotdError: something needed for the decision cannot be read.
        """
        return look(self._world, wish, self._world.journal.replay())

    def run(self, wish: Wish) -> RunReport:
        """Rotate what is due, in order, and stop at the first component that refuses.

        Raises:
            LockHeld: another certrotd works on this node.
            OnHold: a person must look first.
            CertrotdError: the run could not begin; nothing was changed.
        """
        world = self._world
        with world.lock.hold("rotate"):
            started_at, started = world.clock.now(), world.clock.monotonic()
            run = _run_id(started_at.strftime("%Y%m%dT%H%M%SZ"))
            entries = tuple(world.journal.replay())
            plan = look(world, wish, entries)
            if plan.steps and (held := world.hold.placed()):
                raise OnHold(*held)
            steps = self._steps(plan, run, entries, wish) if plan.steps else ()
            specs = (spec for each in world.components for spec in each.certificates)
            retire(world, specs, None if steps else unproved(entries))
            report = RunReport(
                run=run,
                started_at=started_at,
                duration=world.clock.monotonic() - started,
                steps=steps,
                result=max((s.result for s in steps), key=_SEVERITY.index, default=Result.DONE),
            )
            if steps:
                world.log(
                    Event.RUN_FINISHED, run=run, result=report.result, duration=report.duration
                )
            return report

    def rollback(self, name: ComponentName, generation: GenerationId | None = None) -> RunReport:
        """Put a component's earlier pairs back (the latest kept, or one named), then hold.

        Raises:
            LockHeld: another certrotd works on this node.
            PermanentError: there is nothing to go back to.
            GateClosed: the component would not start again; nothing was changed.
            CertrotdError: it did not work; what was published by then is owed.
        """
        world = self._world
        component = next(each for each in world.components if each.name == name)
        with world.lock.hold("rollback"):
            started_at, started = world.clock.now(), world.clock.monotonic()
            run = _run_id(started_at.strftime("%Y%m%dT%H%M%SZ"))
            entries = tuple(world.journal.replay())
            found = look(world, planning.Wish(), entries).observations
            seen = {each.spec.name: each for each in found}
            failed = planning.disproved(entries)
            back = tuple(
                (spec, kept)
                for spec in component.certificates
                if (kept := _kept(world.store.history(spec), failed, generation)) is not None
            )
            if not back:
                wanted = f"generation {generation}" if generation else "no earlier generation"
                raise PermanentError(
                    f"{name}: {wanted} is kept" if not generation else f"{name}: {wanted} is gone",
                    hint=f"`certrotd history {name}` lists what there is",
                )
            decision = decided_for(world, component, (spec for spec, _ in back))
            stepper = Stepper(world, run, seen)
            stepper.check_startable(component, decision)
            # First the hold: the daemon would replace the old pair within the minute.
            world.hold.place(f"{name} was rolled back by an operator", started_at)
            world.log(Event.HOLD_PLACED, component=name, reason="rolled back by an operator")
            evidence = stepper.put_back(component, back, decision)
            step = StepReport(component=name, result=Result.ROLLED_BACK, evidence=evidence)
            return RunReport(
                run=run,
                started_at=started_at,
                duration=world.clock.monotonic() - started,
                steps=(step,),
                result=Result.ROLLED_BACK,
            )

    def _steps(
        self, plan: Plan, run: RunId, entries: tuple[Entry, ...], wish: Wish
    ) -> tuple[StepReport, ...]:
        world = self._world
        world.log(
            Event.RUN_STARTED,
            run=run,
            components=[step.component.name for step in plan.steps],
            certificates=len(plan.replacements),
        )
        plan, ill = self._looked_at(plan, allow_degraded=wish.allow_degraded)
        well = replace(plan, steps=tuple(s for s in plan.steps if s.component.name not in ill))
        ready, unready = self._make_ready(well, run, entries)
        observations = {each.spec.name: each for each in plan.observations}
        stepper = Stepper(
            world,
            run,
            observations,
            self._issuing.published,
            allow_degraded=wish.allow_degraded,
        )
        reports: list[StepReport] = []
        stopped = ""
        for step in plan.steps:
            name = step.component.name
            if name in ill:
                report = ill[name]
            elif name in unready:
                report = self._left_alone(step.component, unready[name])
            elif world.stopping() or (stopped and not self._may_go_on(step)):
                why = stopped or "certrotd was asked to stop"
                report = StepReport(
                    component=name,
                    result=Result.SKIPPED if stopped else Result.DEFERRED,
                    error=f"not touched: {why}",
                )
            else:
                report = stepper.take(step, ready[name])
                if report.result in (Result.FAILED, Result.ROLLED_BACK):
                    stopped = f"{name} failed"
            reports.append(report)
        return tuple(reports)

    def _looked_at(
        self, plan: Plan, *, allow_degraded: bool
    ) -> tuple[Plan, dict[ComponentName, StepReport]]:
        """Look at the health of all that shall be touched; report who is left alone, and why.

        One that is ill keeps the others back, too: what it needs may be what they are. Only what
        mends something, or cannot wait, goes on. Leaders come last.
        """
        world = self._world
        found = gating.before_all(
            world, plan.steps, plan.observations, allow_degraded=allow_degraded
        )
        leaders = {name for name, seen in found.items() if any(each.leads for each in seen)}
        steps = planning.leaders_last(plan.steps, leaders, world.components)
        closed = {name: bad for name, seen in found.items() if (bad := _not_held(seen))}
        ill: dict[ComponentName, StepReport] = {}
        for step in steps:
            name = step.component.name
            if error := not_startable(world, step.component, step.decision):
                ill[name] = self._left_alone(step.component, error)
            elif name in closed:
                ill[name] = self._left_alone(
                    step.component, unhealthy(step.component, closed[name])
                )
            elif closed and not gating.urgent(step):
                why = f"not touched: {', '.join(closed)} is not healthy"
                ill[name] = StepReport(component=name, result=Result.SKIPPED, error=why)
        return replace(plan, steps=steps), ill

    def _may_go_on(self, step: Step) -> bool:
        """Whether a step cannot wait, and what failed before it was left as it was."""
        return gating.urgent(step) and self._world.hold.placed() is None

    def _left_alone(self, component: Component, error: CertrotdError) -> StepReport:
        report = StepReport(
            component=component.name,
            result=Result.DEFERRED if isinstance(error, TransientError) else Result.FAILED,
            error=str(error),
            hint=error.hint,
        )
        self._world.log(
            Event.STEP_FAILED,
            component=component.name,
            result=report.result,
            error=report.error,
            hint=report.hint,
        )
        return report

    def _make_ready(
        self, plan: Plan, run: RunId, entries: tuple[Entry, ...]
    ) -> tuple[dict[ComponentName, tuple[Verified, ...]], dict[ComponentName, CertrotdError]]:
        """Issue all that is due; what fails here keeps its own component back and no other."""
        unready: dict[ComponentName, CertrotdError] = {}
        problems: dict[IssuerName, CertrotdError | None] = {}
        for step in plan.steps:
            try:
                self._world.store.preflight(each.spec for each in step.replacements)
                for issuer in {each.spec.issuer for each in step.replacements}:
                    if issuer not in problems:
                        problems[issuer] = issuer_problem(self._world, issuer)
                    if problem := problems[issuer]:
                        raise problem
            except CertrotdError as e:
                unready[step.component.name] = e
        steps = [step for step in plan.steps if step.component.name not in unready]
        wanted = [each.spec for step in steps for each in step.replacements]
        answers = self._issuing.issue(wanted, run, entries)
        ready: dict[ComponentName, tuple[Verified, ...]] = {}
        for step in steps:
            pairs, error = _sorted_out(step, answers)
            if error:
                unready[step.component.name] = error
            else:
                ready[step.component.name] = pairs
        return ready, unready


def _kept(
    history: tuple[GenerationId, ...],
    failed: frozenset[GenerationId],
    wanted: GenerationId | None,
) -> GenerationId | None:
    """Choose what to go back to: what is named, or the latest that was not refused before."""
    if wanted is None:
        return next((each for each in reversed(history) if each not in failed), None)
    return wanted if wanted in history else None


def _run_id(time: str) -> RunId:
    return RunId(f"{time}-{secrets.token_hex(3)}")


def _sorted_out(
    step: Step, answers: dict[CertificateName, Verified | CertrotdError]
) -> tuple[tuple[Verified, ...], CertrotdError | None]:
    """Return the pairs of a step, or the worst error among them."""
    mine = [answers[each.spec.name] for each in step.replacements]
    errors = [each for each in mine if isinstance(each, CertrotdError)]
    permanent = [each for each in errors if isinstance(each, PermanentError)]
    pairs = tuple(each for each in mine if not isinstance(each, CertrotdError))
    return pairs, next(iter(permanent or errors), None)


def _not_held(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    return tuple(each for each in evidence if not each.holds)
