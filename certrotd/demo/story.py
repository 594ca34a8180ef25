"""What `certrotd demo` tells, act by act. Every number in it was measured.

Serials are read from the sockets, by handshakes of the demo's own, never from certrotd's report;
and whatever is told is checked: a demo that shows something else than it says ends with 1.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from certrotd.app import assemble
from certrotd.config import load
from certrotd.core.errors import CertrotdError
from certrotd.core.model import ComponentName, Result
from certrotd.core.planning import Wish
from certrotd.demo.lab import APISERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER, Lab
from certrotd.demo.traffic import Traffic
from certrotd.logs import silent
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from certrotd.core.model import ParsedCertificate, RunReport

TOLD_BY = {
    ETCD: "nothing: it re-reads its files",
    APISERVER: "SIGHUP",
    CONTROLLER_MANAGER: "restart",
    SCHEDULER: "restart",
}
"""The components in their order, and how each comes to use its new certificate."""
RESTARTED = (CONTROLLER_MANAGER, SCHEDULER)
LAST_TWO = Wish(components=frozenset(map(ComponentName, RESTARTED)), force=True)
ON_HOLD, CRITICAL = 4, 2
"""Exit codes of `rotate` and `check`."""
_TROUBLE: Mapping[Event, Callable[[Mapping[str, object]], str]] = {
    Event.CERTIFICATE_PUBLISHED: lambda f: f"new {f['certificate']} published",
    Event.COMPONENT_ACTIVATED: lambda _: "restarted; the restart itself reports success",
    Event.ROLLBACK_STARTED: lambda _: "no new serial on the socket: putting the old pair back",
    Event.COMPONENT_ROLLED_BACK: lambda _: "the old pair is in use again, proved on the socket",
    Event.HOLD_PLACED: lambda _: "rotation is on hold, the next component is not touched",
}
_NAME = max(len(name) for name in TOLD_BY)
_DIGITS = 12
"""How much of a serial is shown."""
_WIDTH = 96


def tell(*, keep: bool) -> None:
    """Play all acts and clean up, whatever happens.

    Raises:
        CertrotdError: something was not as it was told.
    """
    before = {each: signal.signal(each, _interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    lab = Lab()
    kept = False
    try:
        lab.prepare(keep=keep)
        Story(lab).play()
        kept = keep
    finally:
        # A second Ctrl-C must not leave half of it.
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        if not kept:
            lab.close()
        for each, usual in before.items():
            signal.signal(each, usual)
    _what_next(lab, kept=kept)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class Story:
    """Tells and checks."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._served: dict[str, ParsedCertificate] = {}
        self._step_began = 0.0
        self._refusing = False

    def play(self) -> None:
        """Play the acts in their order.

        Raises:
            CertrotdError: something was not as it was told.
        """
        began = time.monotonic()
        _say(f"A control plane of four mTLS servers in {self._lab.folder}, on loopback only.")
        self._bootstrap()
        self._plan()
        self._rotate()
        self._refuse()
        self._resume()
        took = time.monotonic() - began
        _say(click.style(f"\nAll of this was checked as it was told, in {took:.1f} s.", fg="green"))

    def _bootstrap(self) -> None:
        _act("Day 0", "no files, no servers: the first rotation is the bootstrap")
        began = time.monotonic()
        report = self._run(Wish())
        _expect_all(report, dict.fromkeys(TOLD_BY, Result.STOPPED))
        issued = sum(len(step.changes) for step in report.steps)
        published = time.monotonic()
        self._lab.start()
        self._served = self._look()
        ready = time.monotonic()
        first, second = published - began, ready - published
        _say(f"  {issued} certificates issued by 2 CAs, verified and published in {first:.2f} s.")
        _say(f"  Four servers started with them in {second:.2f} s, asking each other over mTLS.")

    def _plan(self) -> None:
        _act("Plan", "in the order of `after:`, as `certrotd plan --force` shows it")
        app = assemble(load(self._lab.config), silent)
        plan = app.rotator.plan(Wish(force=True))
        for number, step in enumerate(plan.steps, 1):
            names = ", ".join(each.spec.name for each in step.replacements)
            _say(f"  {number}  {step.component.name:{_NAME}}  {names}")
        order = [step.component.name for step in plan.steps]
        _expect(that=order == list(TOLD_BY), otherwise=f"the plan's order is {order}")

    def _rotate(self) -> None:
        _act("Rotate", "one at a time, each proved on its socket before the next is touched")
        _say(_dim(f"  {'':{_NAME}}  {'serial on the socket':{2 * _DIGITS + 4}}  took    told by"))
        began = time.monotonic()
        with Traffic(self._lab) as traffic:
            report = self._run(Wish(force=True))
        took = time.monotonic() - began
        _expect_all(report, dict.fromkeys(TOLD_BY, Result.DONE))
        _expect_explained(traffic)
        outages = {name: self._lab.outages(name) for name in TOLD_BY}
        counts = {name: len(each) for name, each in outages.items() if each}
        _expect(that=counts == dict.fromkeys(RESTARTED, 1), otherwise=f"restarts: {counts}")
        away = " and ".join(f"{outages[name][0].length:.2f} s" for name in RESTARTED)
        _say(
            f"  All four in {took:.1f} s. A client sent {len(traffic.requests)} requests meanwhile,"
            f" each on a new mTLS connection;"
        )
        _say(f"  {len(traffic.failed())} failed, all of them during the two restarts, of {away}.")

    def _refuse(self) -> None:
        _act("Refusal", f"{CONTROLLER_MANAGER} now ends at once with any other certificate")
        before = self._look()
        self._lab.refuse(CONTROLLER_MANAGER, other_than=before[CONTROLLER_MANAGER])
        self._refusing = True
        with Traffic(self._lab) as traffic:
            report = self._run(LAST_TWO)
        self._refusing = False
        after = self._look()
        _expect_all(report, {CONTROLLER_MANAGER: Result.ROLLED_BACK, SCHEDULER: Result.SKIPPED})
        for name in TOLD_BY:
            _expect(
                that=before[name].serial == after[name].serial,
                otherwise=f"{name} serves another certificate than before the refusal",
            )
            what = "put back" if name == CONTROLLER_MANAGER else "left alone"
            _say(f"  {name:{_NAME}}  {_short(after[name])}  {what}")
        _expect_explained(traffic)
        failed = Counter(each.server for each in traffic.failed())
        others = sum(failed[name] for name in TOLD_BY if name != CONTROLLER_MANAGER)
        _expect(that=not others, otherwise=f"{others} requests to the others failed")
        away = self._lab.outages(CONTROLLER_MANAGER)[-1].length
        asked = sum(each.server != CONTROLLER_MANAGER for each in traffic.requests)
        _say(f"  It was away for {away:.1f} s; of {asked} requests to the others none failed.")

    def _resume(self) -> None:
        _act("Hold", "certrotd does not try again and again what failed: a person looks first")
        self._command("rotate", "--force", "--yes", expected=ON_HOLD)
        self._command("check", expected=CRITICAL)
        self._lab.relent(CONTROLLER_MANAGER)
        _say("  The cause is mended, so:")
        self._command("resume", expected=0)
        _expect_all(self._run(LAST_TWO), dict.fromkeys(RESTARTED, Result.DONE))

    def _run(self, wish: Wish) -> RunReport:
        """Go the way of `certrotd rotate`: configuration, composition root, rotator."""
        app = assemble(load(self._lab.config), self._log)
        try:
            return app.rotator.run(wish)
        finally:
            app.close()

    def _log(self, event: Event, /, **facts: object) -> None:
        """Tell events as they come."""
        if event is Event.STEP_STARTED:
            self._step_began = time.monotonic()
        elif event is Event.STEP_FINISHED and facts["result"] == Result.DONE:
            self._tell_step(str(facts["component"]))
        elif self._refusing and (told := _TROUBLE.get(event)):
            _say(_dim(f"  {time.monotonic() - self._step_began:4.2f} s  {told(facts)}"))

    def _tell_step(self, name: str) -> None:
        took = time.monotonic() - self._step_began
        old, new = self._served[name], self._lab.served(name)
        _expect(that=old.serial != new.serial, otherwise=f"{name} still serves {old.serial}")
        self._served[name] = new
        change = f"{_short(old)} -> {click.style(_short(new), fg='green')}"
        _say(f"  {name:{_NAME}}  {change}  {took:.2f} s  {TOLD_BY[name]}")

    def _look(self) -> dict[str, ParsedCertificate]:
        return {name: self._lab.served(name) for name in TOLD_BY}

    def _command(self, *words: str, expected: int) -> None:
        """Run certrotd itself and show what it says."""
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "certrotd", *words, "-c", str(self._lab.config)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd="/",
            process_group=0,  # see lab.start
            text=True,
        )
        said = f"exit code {done.returncode}: {done.stdout}{done.stderr}"
        _expect(that=done.returncode == expected, otherwise=f"`certrotd {' '.join(words)}`: {said}")
        _say(f"  $ certrotd {' '.join(words)}")
        # The log goes to standard error, too: it is of interest only if nothing else was said.
        for line in (done.stdout or done.stderr).splitlines():
            for part in textwrap.wrap(line, _WIDTH - 4, break_on_hyphens=False):
                _say(_dim(f"    {part}"))


def _expect(*, that: bool, otherwise: str) -> None:
    if not that:
        raise CertrotdError(f"the demo did not go as it should: {otherwise}")


def _expect_all(report: RunReport, results: Mapping[str, Result]) -> None:
    found = {str(step.component): step.result for step in report.steps}
    told = "; ".join(f"{s.component} {s.result} {s.error}".rstrip() for s in report.steps)
    _expect(that=found == results, otherwise=told or "there was nothing to do")


def _expect_explained(traffic: Traffic) -> None:
    odd = traffic.unexplained()
    _expect(that=not odd, otherwise=f"requests failed although nothing restarted: {odd[:3]}")
    answered = {each.server for each in traffic.requests if not each.error}
    _expect(that=answered == set(TOLD_BY), otherwise=f"only {answered} answered the client")


def _what_next(lab: Lab, *, kept: bool) -> None:
    command = _command_name()
    if not kept:
        _act("Try next")
        _say(f"  {command} demo --keep")
        _say(_dim("    the servers stay, to be looked at and rotated by you"))
        _say("  make test")
        _say(_dim("    the same against a real Vault, etcd and Kubernetes"))
        _say("  less config/certrotd.yaml")
        _say(_dim("    the annotated sample for a real control plane"))
        return
    _act("Try next", "the servers are still running")
    _say(f"  export CERTROTD_CONFIG={lab.config}")
    for words in ("status", "plan", "rotate --force kube-apiserver", "history", "check"):
        _say(f"  {command} {words}")
    _say(f"  less {lab.config}")
    _say(_dim("To end the servers and remove the folder:"))
    _say(f"  {' '.join(lab.order('stop'))}")


def _command_name() -> str:
    """Return how certrotd can be called from here."""
    own = Path(sys.executable).with_name("certrotd")
    if not own.exists():
        return f"{sys.executable} -m certrotd"
    if shutil.which("certrotd") == str(own):
        return "certrotd"
    return str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)


def _say(text: str) -> None:
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)


def _act(title: str, meaning: str = "") -> None:
    _say(f"\n{click.style(title, bold=True)}{f': {meaning}' if meaning else ''}")


def _dim(text: str) -> str:
    return click.style(text, dim=True)


def _short(leaf: ParsedCertificate) -> str:
    return leaf.serial[:_DIGITS]
