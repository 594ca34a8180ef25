"""A component with the activation AUTO: some files it reads again, others only at its start.

What it truly has in memory is kept here, so that it can be told whether it was restarted when it
had to be, and only then.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.core.errors import ActivationFailed
from certrotd.core.model import (
    ActivationKind,
    ComponentName,
    OutputKind,
    ReadFile,
    RuntimeFacts,
    SeenFile,
    ServiceState,
)
from certrotd.core.reloading import MatrixRow
from tests.crash.running import Running
from tests.factories import make_component, make_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from certrotd.core.model import CertificateName, Component, Evidence, Expectation, StepReport
    from tests.fakes.clock import FakeClock
    from tests.fakes.store import FakeStore

NAME = ComponentName("controllers")
PROGRAM = "kube-controller-manager"
AT_START, SIGNING = "root-ca", "cluster-signing"
"""Read at the start only; read again, and must hold exactly one certificate at a start."""
MARK = b"-----BEGIN CERTIFICATE-----"
LOOPBACK = timedelta(days=365)
MARGIN = timedelta(days=30)


def rows(*, reloads: bool) -> tuple[MatrixRow, ...]:
    """What the matrix says; `reloads` is about the pair."""
    says = {"serving": reloads, "client-ca": True, AT_START: False, SIGNING: True}
    return tuple(
        MatrixRow(
            program=PROGRAM,
            material=material,
            flags=(),
            since=None,
            before=None,
            reloads=again,
            within=timedelta(seconds=1),
            how="read again" if again else "read at the start",
            proof="",
            minimum_life=timedelta(0),
            source="made up",
        )
        for material, again in says.items()
    )


def component(home: Path, after: tuple[ComponentName, ...]) -> Component:
    """One pair, and two files that somebody else writes."""
    spec = make_spec(home, NAME)
    outputs = tuple(
        replace(each, material="client-ca" if each.kind is OutputKind.CA else "serving")
        for each in spec.outputs
    )
    return make_component(
        replace(spec, outputs=outputs),
        activation=ActivationKind.AUTO,
        program=PROGRAM,
        reads=tuple(
            ReadFile(path=str(home / f"{name}.pem"), material=name) for name in (AT_START, SIGNING)
        ),
        after=after,
    )


class Controllers(Running):
    """The process, its service and what it says of itself.

    `reloads` is what the matrix says of its pair and `rereads` what is true; a `deaf` one is told
    to restart and does not; a `mute` one does not tell its version.
    """

    def __init__(self, component: Component, store: FakeStore, clock: FakeClock) -> None:
        super().__init__(component, store)
        self._clock = clock
        self.reloads = self.rereads = True
        self.deaf = self.mute = False
        self.loopback_ends = clock.now() + LOOPBACK
        self.run_began = clock.now()
        self.was_seen = False
        self.on_missing: Callable[[], None] = lambda: None
        self.memory: dict[str, bytes | None] = {}
        for each in component.reads:
            self.write(each, MARK)

    def write(self, file: ReadFile, content: bytes, ahead: timedelta = timedelta(0)) -> None:
        """Let a person write a file; `ahead` is how far its time lies in the future."""
        path = Path(file.path)
        path.write_bytes(content)
        at = (self._clock.now() + ahead).timestamp()
        os.utime(path, (at, at))

    def begin(self) -> None:
        """Start anew with what lies on disk; without a pair or a file that it needs it is down."""
        self.started_at = self._clock.now()
        self.loopback_ends = self.started_at + LOOPBACK
        self.serving.clear()
        self.memory = {each.path: _content(each) for each in self.component.reads}
        self.is_up = True
        if self.startable():
            self.load()

    def activate(self) -> None:
        assert self.is_now is not ServiceState.STOPPED, "what is down was told to come up"
        assert self.startable(), "restarted although it cannot start"
        assert self._in_need(), "restarted without need"
        self.activations += 1
        if self.deaf:
            return
        self.on_activate()
        self.begin()
        if not self.serving:
            raise ActivationFailed("it does not start", component=self.component.name)

    def check(self, expected: Mapping[CertificateName, Expectation]) -> Evidence:
        if self.is_up and self.rereads and self.serving:
            self.load()
        evidence = super().check(expected)
        self.was_seen = evidence.holds
        if not evidence.holds:
            self.on_missing()
        return evidence

    def started(self) -> datetime | None:
        return self.started_at if self.is_up else None

    def facts(self) -> RuntimeFacts:
        if self.mute or not self.is_up:
            return RuntimeFacts(detail="connection refused")
        return RuntimeFacts(version="1.37.2", loopback_ends=self.loopback_ends)

    def files(self, reads: tuple[ReadFile, ...]) -> tuple[SeenFile, ...]:
        return tuple(map(_seen, reads))

    def startable(self) -> bool:
        """Whether the files that somebody else writes let it start."""
        found = {each.material: _content(each) for each in self.component.reads}
        one = (found[SIGNING] or b"").count(MARK) == 1
        return one and MARK in (found[AT_START] or b"")

    def outdated(self) -> bool:
        """Whether it goes on with a file that it would read only at a start.

        What lies there with a time to come has not been seen to change yet.
        """
        files = [each for each in self.component.reads if each.material == AT_START]
        return any(
            (content := _content(each)) is not None
            and self.memory.get(each.path) != content
            and _written(each) <= self._clock.now()
            for each in files
        )

    def must_and_cannot(self) -> bool:
        """Whether it runs, needs a restart for any new pair, and would not start again."""
        running = self.is_up and bool(self.serving) and self.is_now is ServiceState.UNKNOWN
        return running and not self.reloads and not self.startable()

    def told_wrongly(self, step: StepReport) -> list[str]:
        """Say what is wrong with calling a step done."""
        found = ["it has not read what was changed"] if self.outdated() else []
        anew = self.started_at is not None and self.started_at >= self.run_began
        if step.changes and not self.reloads and not anew:
            found.append("it was not started anew")
        return found

    def mend(self) -> None:
        """Let it be as it should be, whatever the matrix says; a person starts it anew then."""
        self.deaf = self.mute = False
        if not self.startable():
            for each in self.component.reads:
                self.write(each, MARK)
            self.begin()

    def _in_need(self) -> bool:
        """Whether anything asks for a restart: the matrix, a file, its state, or this very run."""
        since = self.started_at is not None and self.started_at >= self.run_began
        old = self.loopback_ends - self._clock.now() < MARGIN
        # After the clock was set back it seems to be older than files that it has read.
        seems = any(
            each.material == AT_START
            and _content(each) is not None
            and self.started_at is not None
            and self.started_at < _written(each) <= self._clock.now()
            for each in self.component.reads
        )
        return not (self.was_seen and self.reloads) or self.outdated() or seems or old or since


def _content(file: ReadFile) -> bytes | None:
    try:
        return Path(file.path).read_bytes()
    except FileNotFoundError:
        return None


def _written(file: ReadFile) -> datetime:
    return datetime.fromtimestamp(Path(file.path).lstat().st_mtime, UTC)


def _seen(file: ReadFile) -> SeenFile:
    try:
        content, status = Path(file.path).read_bytes(), Path(file.path).stat()
    except OSError as e:
        return SeenFile(file=file, changed_at=None, problem=str(e.strerror))
    count = content.count(MARK)
    return SeenFile(
        file=file,
        changed_at=datetime.fromtimestamp(status.st_mtime, UTC),
        certificates=count,
        problem="" if count else "holds no certificate",
    )
