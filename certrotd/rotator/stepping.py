"""One step: publish, activate, prove, gate one component; or put the old pair back.

The journal's BEGUN is written before the first effect and the closing entry after the last, so
that whatever a crash leaves half done is owed to the next run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from certrotd.core import planning, policy
from certrotd.core.errors import CertrotdError, GateClosed
from certrotd.core.model import (
    ActivationKind,
    Change,
    Entry,
    EntryKind,
    Result,
    ServiceState,
    StepReport,
)
from certrotd.ports import Event
from certrotd.rotator import gating
from certrotd.rotator.activating import Activator, Progress
from certrotd.rotator.deciding import unusable
from certrotd.rotator.looking import promise
from certrotd.rotator.publishing import publish
from certrotd.rotator.waiting import wait_until_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from certrotd.core.model import (
        CertificateName,
        CertificateSpec,
        Component,
        Decision,
        Evidence,
        GenerationId,
        Observation,
        Published,
        RunId,
        Step,
        Verified,
    )
    from certrotd.rotator.world import World

_RELOADING = (ActivationKind.RELOAD, ActivationKind.AUTO)
"""Who watches its files may use what was published without being told."""

_RESTARTING = (ActivationKind.RESTART, ActivationKind.EXEC)
"""Whose activation may take a process away for a while."""

LEFT_STOPPED = "it is down and stays so; it will start with what is published"


class Stepper:
    """Takes the steps of one run."""

    def __init__(
        self,
        world: World,
        run: RunId,
        observations: Mapping[CertificateName, Observation],
        kept: Callable[[CertificateName], None] = lambda _name: None,
        *,
        allow_degraded: bool = False,
    ) -> None:
        """Say which run this is; `kept` is told of every pair that is on disk now."""
        self._world = world
        self._run = run
        self._seen = observations
        self._kept = kept
        self._allow_degraded = allow_degraded
        self._disturbed = False
        self._activator = Activator(
            world, observations, self._journal, allow_degraded=allow_degraded
        )

    def take(self, step: Step, verified: tuple[Verified, ...]) -> StepReport:
        """Take one step to its end, whatever that is; never raises a CertrotdError."""
        world, component = self._world, step.component
        started = world.clock.monotonic()
        world.log(Event.STEP_STARTED, component=component.name, certificates=len(verified))
        progress = Progress()
        try:
            result = self._forward(step, verified, progress)
        except CertrotdError as e:
            report = self._backward(step, progress, e)
        else:
            report = StepReport(
                component=component.name,
                result=result,
                changes=self._changes(progress),
                evidence=progress.evidence,
            )
        told = progress.activated and component.activation in _RESTARTING
        self._disturbed = self._disturbed or progress.restarted or told
        report = replace(report, duration=world.clock.monotonic() - started)
        world.log(
            Event.STEP_FAILED if report.error else Event.STEP_FINISHED,
            component=component.name,
            result=report.result,
            duration=report.duration,
            **({"error": report.error, "hint": report.hint} if report.error else {}),
        )
        return report

    def put_back(
        self,
        component: Component,
        back: tuple[tuple[CertificateSpec, GenerationId], ...],
        decision: Decision | None,
    ) -> tuple[Evidence, ...]:
        """Publish kept copies as new generations, activate and prove them.

        A component that is deliberately down stays so.

        Raises:
            CertrotdError: whatever went wrong; what was published by then stays owed.
        """
        progress = Progress()
        self._republish(component, back, progress)
        if self._is_stopped(component):
            self._tell_left_stopped(component)
        else:
            self._activator.activate_and_prove(
                component, tuple(progress.published), progress, decision
            )
        self._put_back_done(component, progress)
        return progress.evidence

    def _forward(self, step: Step, verified: tuple[Verified, ...], progress: Progress) -> Result:
        component = step.component
        down = self._is_down(step, verified)
        if not down:
            self._pre_gate(step)
        self._journal(component, EntryKind.BEGUN)
        progress.begun = True
        self._publish(step, verified, progress)
        if down:
            self._tell_left_stopped(component)
            self._journal(component, EntryKind.DONE, LEFT_STOPPED)
            return Result.STOPPED
        published = (*_carried(step), *progress.published)
        self._activator.activate_and_prove(component, published, progress, step.decision)
        self._journal(component, EntryKind.DONE)
        return Result.DONE

    def _tell_left_stopped(self, component: Component) -> None:
        name = component.name
        self._world.log(Event.COMPONENT_LEFT_STOPPED, component=name, detail=LEFT_STOPPED)

    def _is_stopped(self, component: Component) -> bool:
        return self._world.keepers[component.name].service.state() is ServiceState.STOPPED

    def _is_down(self, step: Step, verified: tuple[Verified, ...]) -> bool:
        """Whether the component is deliberately down, or was never up for want of its files."""
        component, keeper = step.component, self._world.keepers[step.component.name]
        if component.activation is ActivationKind.NONE and not keeper.proofs:
            return False
        state = keeper.service.state()
        if state is not ServiceState.UNKNOWN:
            return state is ServiceState.STOPPED
        if not all(self._is_first(spec, step) for spec in component.certificates):
            return False
        expected = {each.spec.name: promise(each) for each in verified}
        return not any(proof.check(expected).reachable for proof in keeper.proofs)

    def _is_first(self, spec: CertificateSpec, step: Step) -> bool:
        """Whether the component never had this certificate: nothing is there but what is owed."""
        files = self._seen[spec.name].stored.files
        if not any(each.content is not None or each.problem for each in files):
            return True
        unproved = {each.certificate for each in _carried(step, all_of_them=True)}
        begun = step.owed is not None and step.owed.begun
        return begun and spec.name in unproved and not self._world.store.history(spec)

    def _pre_gate(self, step: Step) -> None:
        """Refuse to touch a component that is unhealthy, or would not start again.

        A new pair may mend what is broken or owed.
        """
        component = step.component
        if not gating.exempt(step):
            gates = gating.checks(self._world, component, allow_degraded=self._allow_degraded)
            # All were healthy before the run: who suffers from a restart may come back first.
            patience = component.proof_deadline.total_seconds() if self._disturbed else 0.0
            limit = max(gating.PRE_GATE, patience)
            evidence = wait_until_held(self._world, gates, limit)
            if closed := [each for each in evidence if not each.holds]:
                raise unhealthy(component, closed)
        self.check_startable(component, step.decision)

    def check_startable(self, component: Component, decision: Decision | None) -> None:
        """Refuse to touch a component that must be restarted and would not start again.

        Raises:
            GateClosed: the files that would keep it down.
        """
        if error := not_startable(self._world, component, decision):
            raise error

    def _publish(self, step: Step, verified: tuple[Verified, ...], progress: Progress) -> None:
        """Publish all of a component's pairs, several at a time, and write them down together."""
        failures: list[CertrotdError] = []
        try:
            for each in publish(self._world, verified):
                if isinstance(each, CertrotdError):
                    failures.append(each)
                    continue
                previous = self._before(step, each)
                progress.published.append(replace(each, previous=previous))
                self._kept(each.certificate)
        finally:
            self._record(step.component, progress.published)
        if failures:
            raise failures[0]

    def _backward(self, step: Step, progress: Progress, cause: CertrotdError) -> StepReport:
        """Put back what was there before, as far as there was something that worked."""
        component = step.component
        result, error, hint = Result.FAILED, str(cause), cause.hint
        changes = self._changes(progress)
        try:
            back = self._restorable(step, progress)
        except CertrotdError as e:
            back = ()
            error = f"{error}; what to go back to cannot be read: {e}"
        if back:
            again = Progress()
            try:
                self._republish(component, back, again)
                uses = progress.activated or component.activation in _RELOADING
                if uses and not self._is_stopped(component):
                    self._activator.activate_and_prove(
                        component, tuple(again.published), again, _back(step, progress)
                    )
                    result, progress.evidence = Result.ROLLED_BACK, again.evidence
                self._put_back_done(component, again)
                changes = ()
            except CertrotdError as e:
                self._world.log(Event.ROLLBACK_FAILED, component=component.name, error=str(e))
                error = f"{error}; putting the old pair back did not work either: {e}"
        elif progress.published:
            hint = f"{hint}; there was no working pair to go back to".removeprefix("; ")
        error += self._conclude(component, result, error, progress)
        return StepReport(
            component=component.name,
            result=result,
            changes=changes,
            evidence=progress.evidence,
            error=error,
            hint=hint,
        )

    def _conclude(
        self, component: Component, result: Result, error: str, progress: Progress
    ) -> str:
        """Write the failure down and, if the process was touched, hold; say what did not work."""
        world = self._world
        try:
            if progress.begun and result is Result.FAILED:
                self._journal(component, EntryKind.FAILED, error)
            if progress.activated:
                named = component.name in error
                reason = error if named else f"{component.name}: {error}"
                world.hold.place(reason, world.clock.now())
                world.log(Event.HOLD_PLACED, component=component.name, reason=reason)
        except CertrotdError as e:
            return f"; this could not be written down: {e}"
        return ""

    def _restorable(
        self, step: Step, progress: Progress
    ) -> tuple[tuple[CertificateSpec, GenerationId], ...]:
        """List what worked before and was replaced, by this step or by the one it finishes."""
        specs = {spec.name: spec for spec in step.component.certificates}
        carried = (replace(each, previous=self._before(step, each)) for each in _carried(step))
        back = []
        for each in (*carried, *progress.published):
            spec, previous = specs[each.certificate], each.previous
            findings = self._seen[each.certificate].findings
            if previous and not any(finding.reason in policy.BROKEN for finding in findings):
                back.append((spec, previous))
        return tuple(back)

    def _before(self, step: Step, each: Published) -> GenerationId | None:
        """Return what worked before a publication: what is owed was itself never proved.

        What an interrupted rollback had put back was: it came in the place of what was refused.
        """
        if step.owed is None or not step.owed.begun:
            return each.previous
        account = planning.owed_work(self._world.journal.replay()).get(step.component.name)
        unproved = (*step.owed.published, *(account.published if account else ()))
        begun = {one.generation: one.previous for one in unproved}
        tried = {generation for generation, before in begun.items() if before not in begun}
        if each.previous is not None and each.previous not in tried:
            return each.previous
        spec = self._seen[each.certificate].spec
        kept = reversed(self._world.store.history(spec))
        return next((generation for generation in kept if generation not in tried), each.previous)

    def _republish(
        self,
        component: Component,
        back: tuple[tuple[CertificateSpec, GenerationId], ...],
        progress: Progress,
    ) -> None:
        names = ", ".join(spec.name for spec, _ in back)
        self._world.log(Event.ROLLBACK_STARTED, component=component.name, certificates=names)
        self._journal(component, EntryKind.BEGUN, "putting back")
        try:
            for spec, generation in back:
                now = self._world.clock.now()
                progress.published.append(self._world.store.restore(spec, generation, now))
        finally:
            self._record(component, progress.published)

    def _put_back_done(self, component: Component, progress: Progress) -> None:
        serials = ", ".join(f"{each.certificate} {each.serial}" for each in progress.published)
        self._journal(component, EntryKind.ROLLED_BACK, serials)
        self._world.log(Event.COMPONENT_ROLLED_BACK, component=component.name, certificates=serials)

    def _changes(self, progress: Progress) -> tuple[Change, ...]:
        leaves = {name: each.leaf for name, each in self._seen.items()}
        return tuple(
            Change(
                certificate=each.certificate,
                old_serial=leaf.serial if (leaf := leaves[each.certificate]) else None,
                new_serial=each.serial,
                not_after=each.not_after,
            )
            for each in progress.published
        )

    def _record(self, component: Component, published: list[Published]) -> None:
        if published:
            self._world.journal.append(
                *(
                    replace(
                        self._entry(component, EntryKind.PUBLISHED),
                        certificate=each.certificate,
                        published=each,
                    )
                    for each in published
                )
            )

    def _journal(self, component: Component, kind: EntryKind, detail: str = "") -> None:
        self._world.journal.append(replace(self._entry(component, kind), detail=detail))

    def _entry(self, component: Component, kind: EntryKind) -> Entry:
        return Entry(at=self._world.clock.now(), run=self._run, kind=kind, component=component.name)


def _back(step: Step, progress: Progress) -> Decision | None:
    """Decide how a process goes back: if it was restarted, by another restart."""
    return replace(step.decision, restart=progress.restarted) if step.decision else None


def not_startable(
    world: World, component: Component, decision: Decision | None
) -> GateClosed | None:
    """Say why a component that must be restarted would not start again; None if it would."""
    if decision is None or not decision.restart:
        return None
    if world.keepers[component.name].service.state() is ServiceState.STOPPED:
        return None
    if not (bad := unusable(world, component)):
        return None
    return GateClosed(
        f"{component.name} must be restarted and would not start again: {'; '.join(bad)}",
        component=component.name,
        hint="mend these files first; nothing was changed",
    )


def unhealthy(component: Component, closed: Iterable[Evidence]) -> GateClosed:
    """Say that a component is left alone because it is ill."""
    return GateClosed(
        f"{component.name} is not healthy and was not touched: {gating.told(closed)}",
        component=component.name,
        hint="mend it first; only healthy components get new certificates",
    )


def _carried(step: Step, *, all_of_them: bool = False) -> tuple[Published, ...]:
    """Return the owed publications, those that this step replaces only if asked for."""
    if step.owed is None:
        return ()
    replaced = frozenset() if all_of_them else {each.spec.name for each in step.replacements}
    return tuple(each for each in step.owed.published if each.certificate not in replaced)
