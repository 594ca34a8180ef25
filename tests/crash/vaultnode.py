"""A whole node whose issuer is a real Vault, for random lives: real files, real TLS, real time.

Vault signs by its own clock, so no day can be made to pass. A certificate is due because a person
forces it or changes the configuration, or because the daily slot is set to the present.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import warnings
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.vault import VaultIssuer, VaultSession
from certrotd.core.errors import CertrotdError
from certrotd.core.model import IssuerName, Result, Schedule
from certrotd.core.planning import Wish
from certrotd.ports import Event
from certrotd.rotator import Rotator
from tests.crash import oracle
from tests.crash.components import NAMES, Components
from tests.crash.faults import killed
from tests.crash.pki import Pki
from tests.crash.sweeps import told
from tests.crash.whole import QuickClock, Whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from certrotd.core.model import CertificateSpec, RunReport
    from certrotd.ports import Service
    from certrotd.rotator import World
    from tests.testbed.vaultserver import VaultServer

BUDGET = 5
"""How often a certificate may be signed, `limits.issuances_per_day`; a person may add as many."""
NO_LIMIT = 1000
TRIES = 3
"""How often Vault may have signed for one request: answers that were lost are asked for again."""
PATIENCE, LONG_PATIENCE = timedelta(seconds=0.6), timedelta(seconds=30)
"""What one try at Vault may take while anything may be wrong, and when nothing is."""
GRACE = timedelta(milliseconds=20)
ROUNDS = 6
"""So many runs may be needed until all is well again: one for each component that is down."""


class RealClock(QuickClock):
    """The system's clock; only waiting is short and passes on the clock that never jumps."""

    def now(self) -> datetime:
        return SystemClock().now()

    def monotonic(self) -> float:
        return super().monotonic() + time.monotonic()


class Deadly:
    """A component's keeper that is killed, with its process, when it shall tell the component."""

    def __init__(self, service: Service) -> None:
        self.state, self.started = service.state, service.started

    def activate(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class VaultNode(Whole):
    """The node below `root`, and the certrotd that is at work on it."""

    def __init__(self, root: Path, vault: VaultServer) -> None:
        super().__init__(root, Components(), RealClock())
        self.pki = Pki(vault, root.parent, (each.name for each in self.specs))
        self.touched: set[str] = set()
        self._misled: set[str] = set()
        self._spent: Counter[str] = Counter()
        self._budget, self._patience = BUDGET, PATIENCE
        # No slot comes by itself while a life lasts.
        self._slot = (self.clock.now() + timedelta(hours=12)).time()
        self._session = self._new_session()
        self.clear()
        self.restart()

    def world(self) -> World:
        world = super().world()
        issuer = VaultIssuer(
            self._session, mount=self.pki.mount, anchors_file=str(self.pki.anchors)
        )
        return replace(
            world,
            schedule=Schedule(daily_at=self._slot, splay=timedelta(0)),
            bounds=replace(world.bounds, issuances=self._budget, grace=GRACE),
            issuers={IssuerName("lab"): issuer},
        )

    def bootstrap(self) -> None:
        super().bootstrap()
        self.account(1)

    def _new_session(self) -> VaultSession:
        connection = self.pki.connection(self._patience)
        return VaultSession(connection, self.clock, self.log, threading.Event())

    def restart(self) -> None:
        """Go on as a new process."""
        self._session.close()
        self._session = self._new_session()
        self._rotator = self.rotator()

    # -- what certrotd does

    def tick(self, name: str = "", *, force: bool = False) -> RunReport | CertrotdError:
        """Run once."""
        return self.run_within(nullcontext(), self.wish(name, force=force))

    def run_within(
        self, trouble: AbstractContextManager[None], wish: Wish
    ) -> RunReport | CertrotdError:
        """Run once while something is wrong; nothing is published while there is a hold."""
        held, before = self.hold.placed(), self.generations()

        def work(rotator: Rotator) -> RunReport:
            with trouble:
                return rotator.run(wish)

        answer = self.attempt(work)
        assert not held or self.generations() == before, "published while on hold"
        return answer

    def wish(self, name: str = "", *, force: bool) -> Wish:
        """Return the wish for one component, or all."""
        chosen = {each.name for each in self.components if each.name == name}
        return Wish(components=frozenset(chosen), force=force)

    def attempt(self, work: Callable[[Rotator], RunReport]) -> RunReport | CertrotdError:
        """Do it, and see whether what it says is what is there.

        A CertrotdError is an answer, anything else a defect.
        """
        logged = len(self.log.lines)
        answer: RunReport | CertrotdError
        try:
            answer = work(self._rotator)
        except CertrotdError as e:
            answer = e
        else:
            assert not (found := told(self, answer)), found
            back = any(each.result is Result.ROLLED_BACK for each in answer.steps)
            assert not back or self.hold.placed(), "rolled back and nobody need look"
        retried = any(event is Event.ISSUER_RETRIED for event, _ in self.log.lines[logged:])
        self.account(TRIES if retried else 1)
        return answer

    def killed(self, at: int, work: Callable[[Rotator], RunReport], telling: str = "") -> None:
        """Do it in a process that is killed before its call number `at`; go on as a new one.

        With `telling` it dies, too, when it is about to tell this component. No order to the
        components is lost on the way: it is given and answered between two calls.
        """

        def child() -> None:
            self._session = self._new_session()  # the other one's connections are not its own
            world = self.world()
            keepers = {
                name: replace(each, service=Deadly(each.service)) if name == telling else each
                for name, each in world.keepers.items()
            }
            with suppress(CertrotdError):
                work(Rotator(replace(world, keepers=keepers)))

        with warnings.catch_warnings():
            # The proxy's threads wait in the kernel meanwhile and hold nothing the child needs.
            warnings.simplefilter("ignore", DeprecationWarning)
            killed(at, child)
        self.account(TRIES)
        self.restart()

    def account(self, most: int) -> None:
        """Assert that Vault was not asked for more than it may be."""
        signed = self.pki.signed()
        assert not (found := {n: c for n, c in signed.items() if c > most}), f"at once: {found}"
        self._spent.update(signed.keys())
        over = {name: count for name, count in self._spent.items() if count > self._budget}
        assert not over, f"signed too often: {over}"

    def generations(self) -> dict[str, str]:
        """Return what the live links say."""
        return oracle.generations(self.specs)

    # -- what people and components do

    def start(self, name: str, key: str = "") -> bool:
        """Start a component, or let it read its files again; one that cannot stays down.

        `key` is another key file than its own.
        """
        spec = self._spec(name)
        own = next(each.path for each in spec.outputs if each.secret)
        self._misled.discard(name)
        if not self.running.order("start", name, spec.outputs[0].path, key or own):
            self.stop(name)
            return False
        if name == "apiserver":
            self.pidfile.write_text(f"{self.running.pid}\n")
        return True

    def stop(self, name: str) -> None:
        """Stop a component on purpose; nobody keeps etcd, so that it is as good as dead."""
        self.running.order("end", name)
        if name == "apiserver":
            self.pidfile.unlink(missing_ok=True)

    def die(self, name: str) -> None:
        """Let a component end although it should be up."""
        was_up = name in self.running.up
        self.running.order("end", name)
        if was_up:
            self.running.up.add(name)

    def mislead(self, name: str) -> bytes | None:
        """Name a copy of its present key to a component: it takes no other pair from now on.

        Return its leaf, or None if it is down.
        """
        spec = self._spec(name)
        if self.running.served(name) is None or oracle.held(spec).faults:
            return None
        own = next(each.path for each in spec.outputs if each.secret)
        copy = self.root.parent / f"{name}.key"
        copy.touch(0o600)
        copy.write_bytes(Path(own).read_bytes())
        self.start(name, str(copy))
        self._misled.add(name)
        return self.leaf(name)

    def reboot(self) -> None:
        """Kill everything and start it anew, as far as it can be."""
        os.kill(self.running.pid, signal.SIGKILL)
        self.running.close()
        self.running = Components()
        for name in NAMES:
            self.start(name)
        self.restart()

    def slot_comes(self) -> None:
        """Let the daily slot be now."""
        self._slot = self.clock.now().time()
        self.restart()

    def configure(self, name: str, common_name: str) -> None:
        """Configure another subject for a component's first certificate."""
        self.components = tuple(
            replace(
                each,
                certificates=(
                    replace(each.certificates[0], common_name=common_name),
                    *each.certificates[1:],
                ),
            )
            if each.name == name
            else each
            for each in self.components
        )
        self.specs = tuple(spec for each in self.components for spec in each.certificates)
        self.restart()

    def forget_store(self, home: Path) -> None:
        """Let a person delete a store."""
        self.touched |= {s.name for s in self.specs if Path(s.outputs[0].path).parent == home}
        shutil.rmtree(home / ".certrotd", ignore_errors=True)

    def forget_state(self) -> None:
        """Let a person delete the state directory, and with it what is owed and the budget."""
        shutil.rmtree(self.root / "state", ignore_errors=True)
        self._spent.clear()
        if "scheduler" in self.running.up:
            self.start("scheduler")  # without a proof nobody else knows what it was not told
        self.restart()

    def leaf(self, name: str) -> bytes | None:
        """Return what lies on disk for a component."""
        return oracle.held(self._spec(name)).leaf

    def _spec(self, name: str) -> CertificateSpec:
        return next(each for each in self.specs if each.name == name)

    # -- what must hold

    def check(self) -> None:
        """Assert what must hold at all times."""
        found = oracle.at_all_times(self.root, self.specs, self.touched)
        journal = self.journal
        journal.replay()
        assert not journal.damaged, "the journal is damaged"
        assert not found, found

    def vault_is_well(self) -> None:
        """End everything that is wrong with Vault; it may sign late what it was asked for."""
        self.pki.mend()
        self.account(TRIES)

    def mend(self) -> set[str]:
        """End everything that is wrong outside of certrotd; return what cannot be started yet."""
        self.vault_is_well()
        self.hold.lift()
        if max(self._spent.values(), default=0) >= self._budget:
            self._budget += BUDGET
            self.restart()
        ill = {each for each in NAMES if each in self._misled or self.running.served(each) is None}
        return {name for name in ill if not self.start(name)}

    def settle(self) -> None:
        """Assert that a node without outer trouble comes to rest by itself."""
        self.vault_is_well()
        # What was asked for in vain counts, too; the limit has had its trial by now.
        self._budget, self._patience = NO_LIMIT, LONG_PATIENCE
        self.restart()
        self._run_until_idle()
        time.sleep(2 * GRACE.total_seconds())
        assert not isinstance(report := self.tick(), CertrotdError), report
        assert report.steps == (), report.steps
        self.check()
        assert not self.touched
        assert not (found := self.unsettled()), found

    def _run_until_idle(self) -> None:
        for _ in range(ROUNDS):
            down = self.mend()
            report = self.tick()
            assert not isinstance(report, CertrotdError), report
            if not report.steps:
                return
            for step in report.steps:
                excused = step.component in down or step.result is Result.SKIPPED
                assert not step.error or excused, f"{step.component} {step.result}: {step.error}"
        raise AssertionError("it does not come to rest")

    def close(self) -> None:
        """End what belongs to it."""
        self._session.close()
        self.pki.close()
        self.running.close()
