"""A node for random runs: the real store, journal, lock and hold; components made of memory.

Everything that may go wrong has a switch here, and `check` says what must hold after every step.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from certrotd.adapters.flock import FileLock
from certrotd.adapters.hold import FileHold
from certrotd.adapters.journal import FileJournal
from certrotd.adapters.store import GenerationStore
from certrotd.core.errors import CertrotdError, IssuerRefused
from certrotd.core.model import (
    ActivationKind,
    Component,
    ComponentName,
    EntryKind,
    IssuerName,
    Reason,
    Result,
    Schedule,
    ServiceState,
)
from certrotd.core.planning import Wish
from certrotd.rotator import Bounds, Keeper, Rotator, World
from tests.crash import controllers, oracle
from tests.crash.controllers import Controllers
from tests.crash.faults import CHANGING, Fault, injected
from tests.crash.ledger import BUDGET, Ledger
from tests.crash.running import Running
from tests.factories import Lab, make_component, make_spec
from tests.fakes.clock import START, FakeClock
from tests.fakes.log import RecordingLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from certrotd.core.model import CertificateSpec, RunReport, Step

KINDS = {
    "etcd": ActivationKind.RELOAD,
    "apiserver": ActivationKind.EXEC,
    "scheduler": ActivationKind.RESTART,
    controllers.NAME: ActivationKind.AUTO,
}
BROKEN = {
    Reason.MISSING, Reason.UNREADABLE, Reason.KEY_MISMATCH, Reason.EXPIRED, Reason.WRONG_ISSUER,
}  # fmt: skip


class Killed(BaseException):
    """kill -9: nothing after this point happens."""


@dataclass(slots=True)
class Death(Fault):
    """From call number `at` on the process is dead: nothing that it still tries has an effect."""

    def strike(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) >= self.at:
            raise Killed


@dataclass(slots=True)
class Ground:
    """The node below `root`."""

    root: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(START + timedelta(days=30)))
    log: RecordingLog = field(default_factory=RecordingLog)
    touched: set[str] = field(default_factory=set)
    latest: datetime = START
    lab: Lab = field(init=False)
    issuer: Ledger = field(init=False)
    components: tuple[Component, ...] = ()
    processes: dict[ComponentName, Running] = field(default_factory=dict)
    rotator: Rotator = field(init=False)

    def __post_init__(self) -> None:
        self.lab = Lab(START)
        self.issuer = Ledger(self.lab, self.clock)
        before: tuple[ComponentName, ...] = ()
        for name, kind in KINDS.items():
            home = self.root / name
            home.mkdir(parents=True)
            home.chmod(0o755)
            if kind is ActivationKind.AUTO:
                made = controllers.component(home, before)
            else:
                made = make_component(make_spec(home, name), activation=kind, after=before)
            self.components = (*self.components, made)
            before = (made.name,)
        self.processes = {c.name: self._process(c) for c in self.components}
        self.issuer.began = lambda: self.controllers.run_began
        self.restart()

    def _process(self, component: Component) -> Running:
        if component.activation is ActivationKind.AUTO:
            return Controllers(component, self.store, self.clock)  # type: ignore[arg-type]
        return Running(component, self.store)  # type: ignore[arg-type]

    @property
    def controllers(self) -> Controllers:
        found = self.processes[controllers.NAME]
        assert isinstance(found, Controllers)
        return found

    @property
    def store(self) -> GenerationStore:
        return GenerationStore(str(self.root / "state" / "history"), keep=2)

    @property
    def journal(self) -> FileJournal:
        return FileJournal(str(self.root / "state" / "journal"))

    @property
    def hold(self) -> FileHold:
        return FileHold(str(self.root / "state" / "hold"))

    @property
    def lock(self) -> FileLock:
        return FileLock(str(self.root / "state" / "lock"), clock=self.clock)

    @property
    def specs(self) -> tuple[CertificateSpec, ...]:
        return tuple(each.certificates[0] for each in self.components)

    def restart(self) -> None:
        """Go on as a new process."""
        self.rotator = Rotator(
            World(
                components=self.components,
                schedule=Schedule(daily_at=time(3), splay=timedelta(0)),
                bounds=Bounds(
                    offset=timedelta(0),
                    workers=1,
                    issuances=BUDGET,
                    skew=timedelta(seconds=30),
                    grace=timedelta(seconds=2),
                ),
                clock=self.clock,
                issuers={IssuerName("lab"): self.issuer},
                store=self.store,
                keepers={
                    name: Keeper(
                        service=each,
                        proofs=(each,),
                        gates=(each.gate,),
                        runtime=each if isinstance(each, Controllers) else None,
                    )
                    for name, each in self.processes.items()
                },
                journal=self.journal,
                lock=self.lock,
                hold=self.hold,
                log=self.log,
                stopping=lambda: False,
                matrix=lambda: controllers.rows(reloads=self.controllers.reloads),
            )
        )

    def tick(self, name: str = "", *, force: bool = False) -> RunReport | CertrotdError:
        """Run once; a CertrotdError is an answer, anything else a defect."""
        wish = Wish(components=frozenset({ComponentName(name)} if name else ()), force=force)
        kept = self._to_be_kept(wish)
        try:
            return self.attempt(lambda: self.rotator.run(wish))
        finally:
            now = self.generations()
            changed = [each for each, before in kept.items() if now.get(each) != before]
            assert not changed, f"{changed} must not be touched now"

    def _to_be_kept(self, wish: Wish) -> dict[str, str | None]:
        """Return what a run must leave as it is: something is ill, or would not start again."""
        # What is deliberately down is not ill: it gets its pair and stays down.
        ill = {
            name
            for name, each in self.processes.items()
            if not each.gate.is_open and each.is_now is not ServiceState.STOPPED
        }
        stuck = self.controllers.must_and_cannot()
        if not ill and not stuck:
            return {}
        try:
            steps = self.rotator.plan(wish).steps
        except CertrotdError:
            return {}
        still = any(step.component.name in ill and not mends(step) for step in steps)
        names = [s.component.name for s in steps if still and not cannot_wait(s)]
        live = self.generations()
        return {name: live.get(name) for name in (*names, *([controllers.NAME] if stuck else ()))}

    def attempt(self, work: Callable[[], RunReport]) -> RunReport | CertrotdError:
        """Do it, and see whether what it says is what is there."""
        held, before = self.hold.placed(), self.generations()
        self.controllers.run_began = self.clock.now()
        try:
            report = work()
        except CertrotdError as e:
            return e
        finally:
            self.latest = max(self.latest, self.clock.now())
        self._judge(report)
        if held and not any(step.result is Result.ROLLED_BACK for step in report.steps):
            assert self.generations() == before, "published while on hold"
        return report

    def _judge(self, report: RunReport) -> None:
        """Compare what a run says with what is there."""
        rolled_back = False
        closing = (EntryKind.DONE, EntryKind.ROLLED_BACK)
        mine = (each for each in self.journal.replay() if each.run == report.run)
        closed = {each.component for each in mine if each.kind in closing}
        for step in report.steps:
            name, process = step.component, self.processes[step.component]
            assert not (rolled_back and step.result is Result.DONE), f"{name} after a failure"
            assert "kept any more" not in step.error, step.error
            if step.result is Result.DONE:
                assert process.gate.is_open, f"{name} is ill and said to be done"
                if isinstance(process, Controllers):
                    assert not (wrong := process.told_wrongly(step)), wrong
            down = process.is_now is ServiceState.STOPPED or step.result is Result.STOPPED
            if name in closed and not down:
                assert self.serves(name), f"{name} is said to be done: {step}"
            if step.result is Result.ROLLED_BACK:
                assert self.hold.placed(), f"{name} was rolled back and nobody need look"
                rolled_back = True

    def serves(self, name: ComponentName) -> bool:
        """Whether a component uses what lies on disk."""
        spec = next(each for each in self.specs if each.component == name)
        serial = self.processes[name].serving.get(spec.name, ("", ""))[1]
        return serial == oracle.serial_of(self.leaf(name))

    def leaf(self, name: ComponentName) -> bytes | None:
        """Return the leaf that lies on disk for a component."""
        return oracle.held(next(each for each in self.specs if each.component == name)).leaf

    def generations(self) -> dict[str, str]:
        """Return what the live links say."""
        return oracle.generations(self.specs)

    @contextmanager
    def dying(self, at: int) -> Iterator[None]:
        """Kill whatever runs within before its call number `at`; go on as a new process."""
        before = _descriptors()
        try:
            with injected(Death(at, lambda _: None), CHANGING):
                yield
        except Killed:
            for fd in _descriptors() - before:
                with suppress(OSError):
                    os.close(fd)
            self.restart()

    def change(self, name: str) -> None:
        """Configure another subject for a component's certificate."""
        self.components = tuple(
            replace(c, certificates=(_renamed(c.certificates[0]),)) if c.name == name else c
            for c in self.components
        )
        for each in self.components:
            self.processes[each.name].component = each
        self.restart()

    def forget_state(self) -> None:
        """Let a person delete the state directory, and with it what budget there was."""
        shutil.rmtree(self.root / "state", ignore_errors=True)
        self.issuer.times.clear()
        self.restart()

    def check(self) -> None:
        """Assert what must hold at all times."""
        assert not self.issuer.wrong, self.issuer.wrong
        found = oracle.at_all_times(self.root, self.specs, self.touched)
        journal = self.journal
        journal.replay()
        assert not journal.damaged, "the journal is damaged"
        assert not found, found

    def mend(self) -> None:
        """End everything that is wrong outside of certrotd."""
        self.issuer.mend()
        self.controllers.mend()
        for process in self.processes.values():
            process.refuses = lambda _serial: False
            process.gate.is_open = True
            down = process.is_now is ServiceState.STOPPED or not process.is_up
            process.is_now = ServiceState.UNKNOWN
            if down or not process.serving:
                process.begin()
        self.hold.lift()

    def settle(self) -> None:
        """Assert that a node without outer trouble comes to rest by itself."""
        self.mend()
        self._run_until_idle()
        self.check()
        self.clock.set(max(self.latest, self.clock.now()) + timedelta(hours=25))
        self.mend()
        self._run_until_idle()
        self.clock.advance(timedelta(minutes=1))
        assert not isinstance(report := self.tick(), CertrotdError), report
        self.check()
        plan = self.rotator.plan(Wish())
        assert plan.steps == (), plan.steps
        assert not self.touched
        assert oracle.litter(self.root) == []
        for spec in self.specs:
            assert self.serves(spec.component), f"{spec.component} does not use what is on disk"
            gens = self.root / spec.component / ".certrotd" / "gen" / spec.name
            assert len(list(gens.iterdir())) == 1, f"{spec.name}: old generations stay"

    def _run_until_idle(self) -> None:
        for _ in range(3):
            report = self.tick()
            assert not isinstance(report, CertrotdError), report
            for step in report.steps:
                excused = "24 hours" in step.error or "skipped" in step.result
                assert not step.error or excused, f"{step.component} {step.result}: {step.error}"
                if step.result is Result.STOPPED:
                    self.processes[step.component].begin()
            self.clock.advance(timedelta(minutes=1))


def mends(step: Step) -> bool:
    """Whether a step may mend what is ill: something is broken, or was left half done."""
    found = {finding.reason for each in step.replacements for finding in each.findings}
    return bool(found & BROKEN) or (step.owed is not None and step.owed.unproved)


def cannot_wait(step: Step) -> bool:
    """Whether a step is taken although something else is ill."""
    found = {finding.reason for each in step.replacements for finding in each.findings}
    return mends(step) or Reason.EXPIRING in found


def refusal(_: object = None) -> CertrotdError:
    """The issuer says no."""
    return IssuerRefused("permission denied", status=403)


def _renamed(spec: CertificateSpec) -> CertificateSpec:
    number = spec.common_name.removesuffix(".example").rpartition("-")[2]
    count = int(number) + 1 if number.isdecimal() else 1
    return replace(spec, common_name=f"{spec.name}-{count}.example")


def _descriptors() -> set[int]:
    """Return what is open; the listing's own descriptor is closed by then."""
    found = map(int, os.listdir("/proc/self/fd"))  # noqa: PTH208  # quick
    return {fd for fd in found if os.path.lexists(f"/proc/self/fd/{fd}")}
