"""What `certrotd demo` tells, act by act. Every sentence with a number in it was measured.

Serials are read from the sockets, by handshakes of the demo's own, never from certrotd's report;
and whatever is told is checked: a demo that shows something else than it says ends with 1.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NoReturn

import click

from certrotd.app import assemble
from certrotd.config import load
from certrotd.core.errors import OnHold
from certrotd.core.model import ComponentName, Result
from certrotd.core.planning import Wish
from certrotd.demo.lab import APISERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER, Lab
from certrotd.demo.traffic import Traffic
from certrotd.ports import Event

if TYPE_CHECKING:
    from types import FrameType

    from certrotd.core.model import ParsedCertificate, Plan, RunReport

TOLD_BY = {
    ETCD: "nothing: it re-reads its files",
    APISERVER: "SIGHUP",
    CONTROLLER_MANAGER: "restart",
    SCHEDULER: "restart",
}
_WIDTH = max(len(name) for name in TOLD_BY)
_DIGITS = 12
"""How much of a serial is shown."""
EVERYTHING = Wish(force=True)
_TROUBLE = {
    Event.CERTIFICATE_PUBLISHED: "a new pair is published",
    Event.COMPONENT_ACTIVATED: "restarted; the restart itself reports success",
    Event.ROLLBACK_STARTED: "no new serial on the socket in time: putting the old pair back",
    Event.COMPONENT_ROLLED_BACK: "the old pair is in use again, proved on the socket",
    Event.HOLD_PLACED: "rotation is on hold, and nothing further is touched",
}
UNLUCKY = Wish(
    components=frozenset({ComponentName(CONTROLLER_MANAGER), ComponentName(SCHEDULER)}), force=True
)


def tell(*, keep: bool) -> None:
    """Play all acts and clean up, whatever happens.

    Raises:
        SystemExit: with 1, if something was not as told.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    lab = Lab()
    story = Story(lab)
    kept = False
    try:
        lab.prepare(keep=keep)
        story.play()
        kept = keep and not story.surprises
        story.end(kept=kept)
    finally:
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not kept:
            lab.close()
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, before)
    if story.surprises:
        for each in story.surprises:
            click.secho(f"Not as expected: {each}", fg="red", err=True)
        sys.exit(1)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class Story:
    """Tells and checks; `surprises` is what was not as it should have been."""

    def __init__(self, lab: Lab) -> None:
        self.surprises: list[str] = []
        self._lab = lab
        self._started = time.monotonic()
        self._since = self._started
        self._served: dict[str, ParsedCertificate] = {}
        self._refusing = False

    def play(self) -> None:
        """Play the acts in their order."""
        _say(f"A control plane of four mTLS servers in {self._lab.folder}, on loopback only.")
        self._bootstrap()
        self._plan()
        self._rotate()
        self._refusal()
        self._resume()

    def end(self, *, kept: bool) -> None:
        """Say how long it took and what to try next."""
        took = time.monotonic() - self._started
        _say("")
        if self.surprises:
            return
        _say(click.style(f"All of this was checked as it was told, in {took:.1f} s.", fg="green"))
        if kept:
            given = f"-c {self._lab.config}"
            _act("Try next: the servers are still running")
            for command in (
                f"certrotd status {given}",
                f"certrotd plan {given}",
                f"certrotd check {given}",
                f"certrotd rotate --force kube-apiserver {given}",
                f"less {self._lab.config}",
            ):
                _say(f"  {command}")
            _say("End and remove everything:")
            _say(f"  {' '.join(self._lab.order('stop'))}")
        else:
            _act("Try next")
            _say("  certrotd demo --keep      the servers stay, to be looked at and rotated by you")
            _say("  make test                 the same against real Vault, etcd and Kubernetes")
            _say("  config/certrotd.yaml      the annotated sample, for a real control plane")

    def _bootstrap(self) -> None:
        _act("Day 0", "the directories are empty, nothing runs: rotating is the bootstrap")
        began = time.monotonic()
        report = self._run(Wish())
        issued = sum(len(step.changes) for step in report.steps)
        took = time.monotonic() - began
        self._expect(
            that=report.result is Result.STOPPED,
            otherwise=f"the bootstrap ended with {report.result}",
        )
        self._lab.start()
        _say(f"  {issued} certificates from 2 CAs issued, verified and published in {took:.2f} s.")
        self._served = self._look()
        ready = time.monotonic() - began - took
        _say(f"  Four servers started with them in {ready:.2f} s, and ask each other over mTLS.")

    def _plan(self) -> None:
        _act("The plan", "in the order of `after:`; what `certrotd plan --force` shows")
        with_app = assemble(load(self._lab.config), _ignore)
        plan = with_app.rotator.plan(EVERYTHING)
        for number, step in enumerate(plan.steps, 1):
            names = ", ".join(each.spec.name for each in step.replacements)
            _say(f"  {number}  {step.component.name:{_WIDTH}}  {names}")
        self._expect_plan(plan)

    def _rotate(self) -> None:
        _act("Rotation", "one at a time, each proved on its socket before the next is touched")
        _say(_dim(f"  {'':{_WIDTH}}  {'serial on the socket':{2 * _DIGITS + 4}}  took    told by"))
        began = time.monotonic()
        with Traffic(self._lab) as traffic:
            report = self._run(EVERYTHING)
        took = time.monotonic() - began
        self._expect(
            that=report.result is Result.DONE, otherwise=f"the rotation ended with {report.result}"
        )
        self._tell_traffic(traffic, took)

    def _refusal(self) -> None:
        _act("Refusal", f"{CONTROLLER_MANAGER} will not start with any other certificate")
        before = self._look()
        self._lab.refuse(CONTROLLER_MANAGER, other_than=before[CONTROLLER_MANAGER])
        self._refusing = True
        with Traffic(self._lab) as traffic:
            report = self._run(UNLUCKY)
        self._refusing = False
        after = self._look()
        results = {step.component: step.result for step in report.steps}
        self._expect(
            that=results == {CONTROLLER_MANAGER: Result.ROLLED_BACK, SCHEDULER: Result.SKIPPED},
            otherwise=f"the refused rotation ended with {results}",
        )
        for name in TOLD_BY:
            same = before[name].fingerprint == after[name].fingerprint
            self._expect(
                that=same, otherwise=f"{name} serves another certificate than before the refusal"
            )
            what = "put back" if name == CONTROLLER_MANAGER else "left alone"
            _say(f"  {name:{_WIDTH}}  {_short(after[name])}  on the socket: {what}")
        others = [each for each in traffic.failed() if each.server != CONTROLLER_MANAGER]
        self._expect(that=not others, otherwise=f"requests to the others failed: {others[:3]}")
        (away,) = self._lab.outages(CONTROLLER_MANAGER)[-1:]
        asked = sum(each.server != CONTROLLER_MANAGER for each in traffic.requests)
        _say(
            f"  {CONTROLLER_MANAGER} was away for {away[1] - away[0]:.1f} s;"
            f" {asked} requests to the others, {len(others)} failed."
        )

    def _resume(self) -> None:
        _act("Hold", "certrotd does not try the same again and again: a person looks first")
        try:
            self._run(UNLUCKY)
        except OnHold as e:
            _say("  $ certrotd rotate")
            _say(_dim(f"  on hold since {e.since:%H:%M:%S} UTC: {_cut(e.reason, 90)}"))
        else:
            self._expect(that=False, otherwise="rotation was not on hold after a rollback")
        self._lab.relent(CONTROLLER_MANAGER)
        _say("  The cause is mended, so:")
        _say("  $ certrotd resume")
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "certrotd", "resume", "-c", str(self._lab.config)],
            capture_output=True,
            check=False,
            cwd="/",
            text=True,
        )
        self._expect(
            that=done.returncode == 0, otherwise=f"`certrotd resume` failed: {done.stderr}"
        )
        _say(_dim(f"  {_cut(done.stdout.strip(), 110)}"))
        report = self._run(UNLUCKY)
        self._expect(
            that=report.result is Result.DONE, otherwise=f"after the hold: {report.result}"
        )

    def _run(self, wish: Wish) -> RunReport:
        """Go the way of `certrotd rotate`: configuration, composition root, rotator."""
        app = assemble(load(self._lab.config), self._log)
        try:
            return app.rotator.run(wish)
        finally:
            app.close()

    def _log(self, event: Event, /, **facts: object) -> None:
        """Tell events as they come."""
        match event:
            case Event.STEP_STARTED:
                self._since = time.monotonic()
            case Event.STEP_FINISHED if facts["result"] == Result.DONE:
                self._tell_step(str(facts["component"]))
            case _ if (told := _TROUBLE.get(event)) and self._refusing:
                _say(f"  {time.monotonic() - self._since:5.2f} s  {told}")

    def _tell_step(self, name: str) -> None:
        took = time.monotonic() - self._since
        old, new = self._served[name], self._lab.served(name)
        self._expect(
            that=old.serial != new.serial, otherwise=f"{name} still serves serial {old.serial}"
        )
        self._served[name] = new
        change = f"{_short(old)} -> {_short(new)}"
        _say(f"  {name:{_WIDTH}}  {change}  {took:4.2f} s  {TOLD_BY[name]}")

    def _tell_traffic(self, traffic: Traffic, took: float) -> None:
        failed, odd = traffic.failed(), traffic.unexplained()
        self._expect(
            that=not odd, otherwise=f"requests failed while nothing was restarted: {odd[:3]}"
        )
        count = len(traffic.requests)
        _say(f"  All four in {took:.1f} s. Meanwhile a client sent {count} requests over mTLS:")
        away = [
            f"{name} {until - since:.2f} s"
            for name in self._lab.roles
            for since, until in self._lab.outages(name)
        ]
        _say(f"  {len(failed)} failed, all during the two restarts ({', '.join(away)}).")

    def _look(self) -> dict[str, ParsedCertificate]:
        return {name: self._lab.served(name) for name in self._lab.roles}

    def _expect_plan(self, plan: Plan) -> None:
        order = [step.component.name for step in plan.steps]
        self._expect(that=order == list(TOLD_BY), otherwise=f"the plan's order is {order}")

    def _expect(self, *, that: bool, otherwise: str) -> None:
        if not that:
            self.surprises.append(otherwise)


def _say(text: str) -> None:
    click.echo(text)


def _act(title: str, meaning: str = "") -> None:
    _say(f"\n{click.style(title, bold=True)}{f' - {meaning}' if meaning else ''}")


def _dim(text: str) -> str:
    return click.style(text, dim=True)


def _short(leaf: ParsedCertificate) -> str:
    return leaf.serial[:_DIGITS]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _ignore(_event: Event, /, **_facts: object) -> None:
    """Log nothing."""
