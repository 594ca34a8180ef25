"""A stage for the rotator: fakes behind every port, and processes that load what is published."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from datetime import time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certrotd.adapters.ca import AuthorityIssuer
from certrotd.core import render, x509
from certrotd.core.model import (
    ActivationKind,
    Component,
    ComponentName,
    Evidence,
    IssuerName,
    Schedule,
    ServiceState,
)
from certrotd.core.planning import Wish
from certrotd.rotator import Bounds, Keeper, Rotator, World
from tests.factories import Lab, make_component, make_spec
from tests.fakes.clock import FakeClock
from tests.fakes.gate import FakeGate
from tests.fakes.hold import FakeHold
from tests.fakes.journal import FakeJournal
from tests.fakes.lock import FakeLock
from tests.fakes.log import RecordingLog
from tests.fakes.store import FakeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from certrotd.core.errors import CertrotdError
    from certrotd.core.model import (
        Answer,
        CertificateName,
        Expectation,
        RunReport,
        SigningRequest,
    )
    from certrotd.core.reloading import MatrixRow
    from tests.fakes.runtime import FakeRuntime

HOME = Path("/pki")


class Signer:
    """The lab's CA; says no with what is in `failures`, by certificate, and counts signatures."""

    def __init__(self, lab: Lab, clock: FakeClock) -> None:
        self._issuer = AuthorityIssuer(*lab.signer, clock=clock.now, anchors=lab.anchors)
        self._clock = clock
        self.failures: dict[str, CertrotdError] = {}
        self.away: CertrotdError | None = None
        self.ahead = timedelta(0)
        self.tamper: Callable[[Answer], Answer] = lambda answer: answer
        self.asked: list[str] = []

    def sign(self, request: SigningRequest) -> Answer:
        self.asked.append(request.spec.name)
        if failure := self.failures.get(request.spec.name):
            raise failure
        return self.tamper(self._issuer.sign(request))

    def anchors(self) -> tuple[bytes, ...]:
        return self._issuer.anchors()

    def time(self) -> datetime | None:
        if self.away:
            raise self.away
        return self._clock.now() + self.ahead


class Process:
    """A running component: loads its leaf when it is activated, and may refuse what it finds."""

    def __init__(self, component: Component, store: FakeStore) -> None:
        self.component = component
        self.gate = FakeGate()
        self.is_up = True
        self.is_now = ServiceState.UNKNOWN
        self.refuses: Callable[[str], bool] = lambda _serial: False
        self.on_activate: Callable[[], None] = lambda: None
        self.activations = 0
        self.started_at: datetime | None = None
        self.watches = False
        self.serving: dict[CertificateName, tuple[str, str]] = {}
        self._store = store

    def load(self) -> None:
        """Take up what lies on disk, unless it is refused."""
        for spec in self.component.certificates:
            found = render.identity(self._store.read(spec).files)
            leaf = x509.parse_certificate(found.chain[0])
            if not self.refuses(leaf.serial):
                self.serving[spec.name] = (leaf.fingerprint, leaf.serial)

    def state(self) -> ServiceState:
        return self.is_now

    def started(self) -> datetime | None:
        return self.started_at

    def activate(self) -> None:
        self.activations += 1
        self.on_activate()
        self.load()

    def check(self, expected: Mapping[CertificateName, Expectation]) -> Evidence:
        if self.watches and self.serving:
            self.load()
        name = self.component.certificates[0].name
        wanted, (fingerprint, serial) = expected.get(name), self.serving.get(name, ("", ""))
        return Evidence(
            source="process",
            holds=self.is_up and wanted is not None and wanted.fingerprint == fingerprint,
            detail=f"presents {serial or 'nothing'}",
            certificate=name,
            served=serial or None,
            stale=bool(self.is_up and wanted and serial and wanted.fingerprint != fingerprint),
            reachable=self.is_up and bool(serial),
        )


class Stage:
    """Components `names`, each after the one before it, with one certificate each."""

    def __init__(self, *names: str, **changes: Any) -> None:
        self.clock, self.store, self.log = FakeClock(), FakeStore(), RecordingLog()
        self.journal, self.hold, self.lock = FakeJournal(), FakeHold(), FakeLock()
        self.lab = Lab(self.clock.now())
        self.stop = False
        # Inside the slot of 03:00 UTC; the fake clock starts at noon.
        self.schedule = Schedule(daily_at=time(3), splay=timedelta(0))
        before: tuple[ComponentName, ...] = ()
        components = []
        for name in names or ("etcd",):
            spec = make_spec(HOME / name, name)
            each = make_component(
                spec, **({"activation": ActivationKind.EXEC, "after": before} | changes)
            )
            components.append(each)
            before = (each.name,)
        self.components = tuple(components)
        self.processes = {c.name: Process(c, self.store) for c in components}
        self.runtimes: dict[ComponentName, FakeRuntime] = {}
        self.matrix: tuple[MatrixRow, ...] = ()
        self.issuer = Signer(self.lab, self.clock)
        self.rotator = self.another()

    def another(self) -> Rotator:
        """Return a rotator as a new process would have it."""
        return Rotator(
            World(
                components=self.components,
                schedule=self.schedule,
                bounds=Bounds(
                    offset=timedelta(0),
                    workers=2,
                    issuances=3,
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
                        runtime=self.runtimes.get(name),
                    )
                    for name, each in self.processes.items()
                },
                journal=self.journal,
                lock=self.lock,
                hold=self.hold,
                log=self.log,
                stopping=lambda: self.stop,
                matrix=lambda: self.matrix,
            )
        )

    def __getitem__(self, name: str) -> Process:
        return self.processes[ComponentName(name)]

    def run(self, *components: str, **wish: bool) -> RunReport:
        """Run once."""
        names = frozenset(map(ComponentName, components))
        return self.rotator.run(Wish(components=names, **wish))

    def started(self) -> Stage:
        """Bootstrap and start every process."""
        self.run()
        for process in self.processes.values():
            process.load()
        self.clock.advance(timedelta(minutes=1))
        return self

    def next_day(self) -> Stage:
        """Go to just after tomorrow's slot."""
        self.clock.advance(timedelta(days=1))
        return self

    def replace_component(self, name: str, **changes: Any) -> None:
        """Change a component's settings, as a reload of the configuration does."""
        self.components = tuple(
            dataclasses.replace(c, **changes) if c.name == name else c for c in self.components
        )
        for each in self.components:
            self.processes[each.name].component = each
        self.rotator = self.another()

    def serial(self, name: str) -> str | None:
        """Return the serial that a process presents."""
        spec = self[name].component.certificates[0]
        return self[name].serving.get(spec.name, ("", None))[1]

    def results(self, report: RunReport) -> dict[str, str]:
        """Return how each step ended."""
        return {step.component: str(step.result) for step in report.steps}


def renamed(component: Component, common_name: str) -> Component:
    """Ask for another subject."""
    specs = tuple(replace(spec, common_name=common_name) for spec in component.certificates)
    return replace(component, certificates=specs)
