"""A whole node: three components with four certificates, and the rotator on real files.

etcd reads its files at each handshake, apiserver is told by a signal, scheduler is started anew;
what they present is asked over TLS. Only the clock is not real, so that a day can pass.
"""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import time
from dataclasses import replace
from datetime import time as time_of_day
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.adapters.ca import AuthorityIssuer
from certrotd.adapters.flock import FileLock
from certrotd.adapters.hold import FileHold
from certrotd.adapters.journal import FileJournal
from certrotd.adapters.probes import TcpGate, TlsProof
from certrotd.adapters.processes import PassiveService, PidfileSignal
from certrotd.adapters.store import GenerationStore
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import (
    ActivationKind,
    Component,
    ComponentName,
    IssuerName,
    Kubeconfig,
    Output,
    OutputKind,
    Schedule,
    ServiceState,
)
from certrotd.core.planning import Wish, owed_work
from certrotd.rotator import Bounds, Keeper, Rotator, World
from tests.crash import oracle
from tests.crash.components import HOST, NAMES, Components
from tests.factories import Lab, make_spec
from tests.fakes.clock import FakeClock
from tests.fakes.log import RecordingLog

if TYPE_CHECKING:
    from certrotd.core.model import Answer, CertificateSpec, RunReport, SigningRequest
    from certrotd.ports import Service

GROUP = 1234 if os.geteuid() == 0 else None
"""A group of its own for one key, where it can be given."""
BUDGET = 3


class QuickClock(FakeClock):
    """Time passes by sleeping, and components get a moment of the machine's own."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        time.sleep(min(seconds, 0.001))


class Counted:
    """The lab's CA; counts signatures in memory that a killed child leaves behind."""

    def __init__(self, lab: Lab, clock: FakeClock) -> None:
        self._issuer = AuthorityIssuer(*lab.signer, clock=clock.now, anchors=lab.anchors)
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def sign(self, request: SigningRequest) -> Answer:
        place = _PLACES[request.spec.name]
        self._memory[place] += 1
        return self._issuer.sign(request)

    def anchors(self) -> tuple[bytes, ...]:
        return self._issuer.anchors()

    def time(self) -> None:
        return None

    def asked(self) -> dict[str, int]:
        """How often each certificate was asked for."""
        return {name: self._memory[place] for name, place in _PLACES.items()}

    def forget(self) -> None:
        """Count anew."""
        self._memory[:] = bytes(mmap.PAGESIZE)


_PLACES = {"etcd": 0, "etcd-peer": 1, "apiserver": 2, "scheduler": 3}


class Restart:
    """The scheduler's keeper: starts it anew; it does not come back with a pair it refuses."""

    def __init__(self, components: Components) -> None:
        self._components = components

    def state(self) -> ServiceState:
        up = "scheduler" in self._components.up
        return ServiceState.RUNNING if up else ServiceState.STOPPED

    def started(self) -> None:
        return None

    def activate(self) -> None:
        try:
            self._components.order("end", "scheduler")
            started = self._components.order("start", "scheduler")
        except OSError as e:
            raise ActivationFailed(f"it cannot be told: {e}", component="scheduler") from e
        if not started:
            raise ActivationFailed("it does not start", component="scheduler")


class Whole:
    """The node below `root`."""

    def __init__(self, root: Path, components: Components, clock: QuickClock | None = None) -> None:
        self.root = root
        self.running = components
        self.clock, self.log = clock or QuickClock(), RecordingLog()
        self.lab = Lab(self.clock.now())
        self.issuer = Counted(self.lab, self.clock)
        self.pidfile = root.parent / "components.pid"
        self.components = _components(root)
        self.specs = tuple(spec for each in self.components for spec in each.certificates)
        self.homes = (root / "pki", root / "pki" / "etcd", root / "kubernetes")

    @property
    def journal(self) -> FileJournal:
        return FileJournal(str(self.root / "state" / "journal"))

    @property
    def hold(self) -> FileHold:
        return FileHold(str(self.root / "state" / "hold"))

    def rotator(self) -> Rotator:
        """Return a rotator as a new process would have it."""
        return Rotator(self.world())

    def world(self) -> World:
        """Return what a rotator is given."""
        state = self.root / "state"
        return World(
            components=self.components,
            schedule=Schedule(daily_at=time_of_day(3), splay=timedelta(0)),
            bounds=Bounds(
                offset=timedelta(0),
                workers=1,  # so that the nth call is the same one each time
                issuances=BUDGET,
                skew=timedelta(seconds=30),
                grace=timedelta(seconds=2),
            ),
            clock=self.clock,
            issuers={IssuerName("lab"): self.issuer},
            store=GenerationStore(str(state / "history"), keep=3),
            keepers=self._keepers(),
            journal=self.journal,
            lock=FileLock(str(state / "lock"), clock=self.clock),
            hold=self.hold,
            log=self.log,
            stopping=lambda: False,
        )

    def _keepers(self) -> dict[ComponentName, Keeper]:
        services: dict[str, Service] = {
            "etcd": PassiveService(),
            "apiserver": PidfileSignal(str(self.pidfile), "HUP", component="apiserver"),
            "scheduler": Restart(self.running),
        }
        keepers = {}
        for each in self.components:
            address = f"{HOST}:{self.running.ports[each.name]}"
            # Without a proof only the journal knows what the scheduler was not told.
            told = each.name == "scheduler"
            proofs = () if told else (TlsProof(address, each.certificates[0].name),)
            gates = (TcpGate(address),) if each.name == "apiserver" else ()
            keepers[each.name] = Keeper(service=services[each.name], proofs=proofs, gates=gates)
        return keepers

    def clear(self) -> None:
        """Begin anew, with nothing there."""
        shutil.rmtree(self.root, ignore_errors=True)
        for each in (self.root, *self.homes):
            each.mkdir(parents=True)
            each.chmod(0o755)
        self.pidfile.unlink(missing_ok=True)
        for name in NAMES:
            self.running.order("end", name)
        self.issuer.forget()
        self.log.lines.clear()

    def bootstrap(self) -> None:
        """Publish everything for the first time and start the components with it."""
        self.clear()
        report = self.run()
        assert {str(each.result) for each in report.steps} <= {"stopped", "done"}
        self.load()

    def load(self) -> None:
        """Start all components with what lies on disk."""
        for name in NAMES:
            spec = next(each for each in self.specs if each.name == name)
            certificate = spec.outputs[0].path
            key = next(each.path for each in spec.outputs if each.secret)
            assert self.running.order("start", name, certificate, key), f"{name} refuses {key}"
        self.pidfile.write_text(f"{self.running.pid}\n")

    def run(self, *, force: bool = False) -> RunReport:
        """Run once, as a new process."""
        return self.rotator().run(Wish(force=force))

    def save(self) -> Path:
        """Keep a copy of everything, to begin from it again."""
        copy = self.root.with_name("saved")
        shutil.rmtree(copy, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.root), str(copy)], check=True)
        return copy

    def begin_from(self, copy: Path, *, start: bool = True) -> None:
        """Put the copy back and start the components with it."""
        shutil.rmtree(self.root)
        subprocess.run(["cp", "-a", str(copy), str(self.root)], check=True)
        self.start_over(start=start)

    def start_over(self, *, start: bool) -> None:
        """Forget what was asked, and start the components with what lies on disk, or none."""
        self.issuer.forget()
        self.log.lines.clear()
        if start:
            self.load()
            return
        self.pidfile.unlink(missing_ok=True)
        for name in NAMES:
            self.running.order("end", name)

    def faults(self, *, bootstrap: bool = False) -> list[str]:
        """Say what a consumer finds wrong now; before the bootstrap there may be nothing."""
        found = [fault for spec in self.specs for fault in self._held(spec, empty=bootstrap)]
        return found + oracle.exposed(self.root, self.specs)

    @staticmethod
    def _held(spec: CertificateSpec, *, empty: bool) -> tuple[str, ...]:
        if empty and not any(Path(each.path).exists() for each in spec.outputs):
            return ()
        return oracle.held(spec).faults

    def unsettled(self) -> list[str]:
        """Say how the node differs from one that was rotated without a disturbance."""
        found = self.faults() + oracle.litter(self.root)
        for name in NAMES:
            spec = next(each for each in self.specs if each.name == name)
            if self.running.served(name) != oracle.held(spec).leaf:
                found.append(f"{name} does not present what lies on disk")
        journal = self.journal
        # Begun without a publication is no debt: nothing was changed.
        accounts = owed_work(journal.replay())
        found += [f"owed: {name}" for name, account in accounts.items() if account.published]
        if journal.damaged:
            found.append("the journal is damaged")
        if self.hold.placed():
            found.append(f"held: {self.hold.placed()}")
        found += [f"due: {each.component.name}" for each in self.rotator().plan(Wish()).steps]
        for spec in self.specs:
            home = Path(spec.outputs[0].path).parent / ".certrotd" / "gen" / spec.name
            if (count := len(list(home.iterdir()))) != 1:
                found.append(f"{spec.name}: {count} generations")
        return found


def _components(root: Path) -> tuple[Component, ...]:
    pki, etcd, kubernetes = root / "pki", root / "pki" / "etcd", root / "kubernetes"

    def output(path: Path, kind: OutputKind, mode: int, gid: int | None = None) -> Output:
        config = (
            Kubeconfig(server="https://127.0.0.1:6443") if kind is OutputKind.KUBECONFIG else None
        )
        return Output(path=str(path), kind=kind, mode=mode, gid=gid, kubeconfig=config)

    def spec(
        name: str, component: str, directory: Path, *more: Output, mode: int = 0o600
    ) -> CertificateSpec:
        outputs = (
            output(directory / f"{name}.crt", OutputKind.CERTIFICATE, 0o644),
            output(directory / f"{name}.key", OutputKind.KEY, mode, GROUP if mode & 0o70 else None),
            *more,
        )
        return make_spec(directory, name, component=ComponentName(component), outputs=outputs)

    authority = output(pki / "apiserver-ca.crt", OutputKind.CA, 0o644)
    config = output(kubernetes / "scheduler.conf", OutputKind.KUBECONFIG, 0o600)
    combined = output(pki / "scheduler.pem", OutputKind.COMBINED, 0o600)
    mode = 0o640 if GROUP else 0o600
    certificates = {
        "etcd": (spec("etcd", "etcd", etcd), spec("etcd-peer", "etcd", etcd, mode=mode)),
        "apiserver": (spec("apiserver", "apiserver", pki, authority),),
        "scheduler": (spec("scheduler", "scheduler", kubernetes, config, combined),),
    }
    kinds = {
        "etcd": ActivationKind.RELOAD,
        "apiserver": ActivationKind.SIGNAL,
        "scheduler": ActivationKind.RESTART,
    }
    made: list[Component] = []
    for name in NAMES:
        component = Component(
            name=ComponentName(name),
            certificates=certificates[name],
            activation=kinds[name],
            proof_deadline=timedelta(minutes=1),
            settle=timedelta(0),
        )
        made.append(replace(component, after=tuple(each.name for each in made)))
    return tuple(made)
