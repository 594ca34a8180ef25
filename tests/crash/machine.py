"""Random lives of a node: everything that may happen, in any order, as a hypothesis machine."""

from __future__ import annotations

import errno
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from certrotd.core.errors import CertrotdError, IssuerUnavailable, LockHeld
from certrotd.core.model import Answer, ComponentName, ServiceState
from certrotd.core.planning import Wish
from tests.crash.controllers import MARK
from tests.crash.disks import MEMORY
from tests.crash.faults import FAILING, Fault, failing, injected
from tests.crash.ground import KINDS, Ground, refusal
from tests.crash.people import GARBAGE, edit
from tests.crash.sweeps import Lasting, void
from tests.factories import CLIENT, Lab
from tests.fakes.clock import START

if TYPE_CHECKING:
    from certrotd.core.model import CertificateSpec

NAMES = st.sampled_from(sorted(KINDS))
CODES = st.sampled_from(
    (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EMFILE, errno.ENOMEM)
)
CONTENTS = st.sampled_from((MARK, MARK + b"other", 2 * MARK, b"garbage", b""))
AHEAD = st.sampled_from((0, 0, 24))
"""How many hours the time of a changed file lies in the future."""
CALLS = st.integers(1, 400)
LIES = st.sampled_from(("foreign", "none", "swapped", "authority", "text"))
CHANGES = st.sampled_from(
    (
        {"common_name": "other"},
        {"dns_names": ("localhost", "other")},
        {"ttl": timedelta(days=70)},
        {"ttl": timedelta(hours=1)},
        {"usages": CLIENT},
    )
)
_foreign = Lab(START, common_name="another root")


class Life(RuleBasedStateMachine):
    """A node from its first day on; `steps` counts over all lives."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.busy = 0
        self._directory = tempfile.mkdtemp(dir=MEMORY, prefix="certrotd-")
        self.ground = Ground(Path(self._directory) / "node")

    @initialize(fresh=st.booleans())
    def first_day(self, fresh: bool) -> None:  # noqa: FBT001  # a drawn value
        if not fresh:
            self.ground.settle()

    @rule()
    def tick(self) -> None:
        self.ground.tick()

    @rule()
    def person_mends_everything(self) -> None:
        self.ground.mend()

    @rule(name=NAMES)
    def a_good_day_but_one_refuses(self, name: str) -> None:
        self.ground.mend()
        self.component_refuses(name)
        self.ground.tick(name, force=True)

    @precondition(lambda self: self.busy >= 10)
    @rule(name=NAMES, alone=st.booleans())
    def after_a_rest_one_refuses(self, name: str, alone: bool) -> None:  # noqa: FBT001
        ground = self.ground
        ground.settle()
        before = ground.leaf(ComponentName(name))
        self.component_refuses(name)
        ground.tick(name if alone else "", force=True)
        assert ground.leaf(ComponentName(name)) == before, "what worked was not put back"
        assert ground.serves(ComponentName(name)), "what was put back is not in use"

    @rule(name=NAMES)
    def a_good_day_but_one_falls_ill(self, name: str) -> None:
        self.ground.mend()
        process = self.ground.processes[ComponentName(name)]
        # A component that reloads by itself is not told and stays well.
        process.on_activate = lambda: setattr(process.gate, "is_open", False)
        self.ground.tick(name, force=True)
        process.on_activate = lambda: None

    @rule(
        which=st.integers(0, 1),
        content=CONTENTS,
        ahead=AHEAD,
        rereads=st.booleans(),
        reloads=st.booleans(),
    )
    def a_good_day_but_a_file_was_changed(
        self,
        which: int,
        content: bytes,
        ahead: int,
        rereads: bool,  # noqa: FBT001
        reloads: bool,  # noqa: FBT001
    ) -> None:
        self.ground.mend()
        controllers = self.ground.controllers
        controllers.rereads, controllers.reloads = rereads, reloads
        self.person_changes_a_file(which, content, ahead)
        self.ground.tick(controllers.component.name, force=True)

    @rule(reloads=st.booleans())
    def a_good_day_but_nobody_listens(self, reloads: bool) -> None:  # noqa: FBT001
        self.ground.mend()
        controllers = self.ground.controllers
        controllers.rereads, controllers.reloads, controllers.deaf = True, reloads, True
        self.person_changes_a_file(0, MARK + b"another", ahead=0)
        self.ground.tick(controllers.component.name, force=True)

    @rule()
    def a_good_day_but_a_file_breaks_meanwhile(self) -> None:
        self.ground.mend()
        controllers = self.ground.controllers
        controllers.rereads, controllers.reloads = False, True
        file = controllers.component.reads[0]
        controllers.on_missing = lambda: controllers.write(file, b"garbage")
        self.ground.tick(controllers.component.name, force=True)
        controllers.on_missing = lambda: None

    @rule(name=NAMES)
    def a_new_day_but_one_is_ill(self, name: str) -> None:
        self.ground.mend()
        self.ground.clock.advance(timedelta(days=1))
        self.component_ill(name)
        self.ground.tick()

    @rule(away=st.booleans())
    def a_new_day_but_nobody_may_be_asked(self, away: bool) -> None:  # noqa: FBT001
        self.ground.mend()
        self.ground.clock.advance(timedelta(days=1))
        self.issuer_away() if away else self.issuer_clock(5)
        self.ground.tick()

    @rule(changes=CHANGES)
    def a_new_day_but_another_question_is_answered(self, changes: dict[str, Any]) -> None:
        self.ground.mend()
        self.ground.clock.advance(timedelta(days=1))
        self.issuer_answers_another_question(changes)
        self.ground.tick()

    @rule(name=NAMES, at=st.integers(1, 5))
    def a_new_day_but_the_journal_fails_for_what_is_down(self, name: str, at: int) -> None:
        self.ground.mend()
        self.ground.clock.advance(timedelta(days=1))
        self.component_stopped(name)
        wish = Wish(components=frozenset({ComponentName(name)}))
        self._fails(failing(at, errno.EIO), ("fdatasync",), wish)

    @rule(name=NAMES)
    def force(self, name: str) -> None:
        self.ground.tick(name, force=True)

    @rule(name=NAMES)
    def roll_back(self, name: str) -> None:
        self.ground.attempt(lambda: self.ground.rotator.rollback(ComponentName(name)))

    @rule(at=CALLS, force=st.booleans())
    def killed(self, at: int, force: bool) -> None:  # noqa: FBT001  # a drawn value
        with self.ground.dying(at):
            self.ground.tick(force=force)

    @rule(at=CALLS, name=NAMES)
    def killed_in_a_rollback(self, at: int, name: str) -> None:
        with self.ground.dying(at):
            self.ground.attempt(lambda: self.ground.rotator.rollback(ComponentName(name)))

    @rule(at=CALLS, code=CODES, lasts=st.booleans(), force=st.booleans())
    def disk_fails(self, at: int, code: int, lasts: bool, force: bool) -> None:  # noqa: FBT001
        fault = Lasting(at, void, code=code) if lasts else failing(at, code)
        self._fails(fault, tuple(FAILING), Wish(force=force))

    def _fails(self, fault: Fault, calls: tuple[str, ...], wish: Wish) -> None:
        # What it says then is for the sweeps; here only what it leaves behind counts.
        self.ground.controllers.run_began = self.ground.clock.now()
        with injected(fault, calls), suppress(CertrotdError):
            self.ground.rotator.run(wish)

    @rule()
    def new_process(self) -> None:
        self.ground.restart()

    @rule()
    def person_holds(self) -> None:
        self.ground.hold.place("maintenance", self.ground.clock.now())

    @rule()
    def person_resumes(self) -> None:
        self.ground.hold.lift()

    @rule(force=st.booleans())
    def another_has_the_lock(self, force: bool) -> None:  # noqa: FBT001
        before = self.ground.generations()
        with self.ground.lock.hold("rotate"):
            answer = self.ground.tick(force=force)
        assert isinstance(answer, LockHeld)
        assert self.ground.generations() == before

    @rule(hours=st.integers(0, 30))
    def time_passes(self, hours: int) -> None:
        self.ground.clock.advance(timedelta(hours=hours, minutes=5))

    @rule(days=st.sampled_from((-1, 1)))
    def clock_is_set(self, days: int) -> None:
        clock = self.ground.clock
        self.ground.latest = max(self.ground.latest, clock.now())
        clock.set(max(clock.now() + timedelta(days=days), START + timedelta(days=2)))

    @rule()
    def issuer_away(self) -> None:
        self.ground.issuer.away = IssuerUnavailable("connection refused")

    @rule(name=NAMES)
    def issuer_refuses(self, name: str) -> None:
        self.ground.issuer.failures[name] = refusal()

    @rule(minutes=st.sampled_from((0, 5)))
    def issuer_clock(self, minutes: int) -> None:
        self.ground.issuer.ahead = timedelta(minutes=minutes)

    @rule(kind=LIES)
    def issuer_answers_wrongly(self, kind: str) -> None:
        ground = self.ground

        def tamper(answer: Answer) -> Answer:
            other: CertificateSpec = ground.specs[0]
            match kind:
                case "foreign":
                    return Answer(chain=_foreign.issued(other, ground.clock.now()).chain)
                case "none":
                    return Answer(chain=())
                case "swapped":
                    return Answer(chain=ground.lab.issued(other, ground.clock.now()).chain)
                case "authority":
                    return Answer(chain=ground.lab.anchors)
                case _:
                    return Answer(chain=(GARBAGE, *answer.chain[1:]))

        ground.issuer.tamper = tamper

    @rule(changes=CHANGES)
    def issuer_answers_another_question(self, changes: dict[str, Any]) -> None:
        self.ground.issuer.bend = lambda spec: replace(spec, **changes)

    @rule()
    def issuer_well(self) -> None:
        self.ground.issuer.mend()

    @rule(minutes=st.sampled_from((1, 20)))
    def issuer_slow(self, minutes: int) -> None:
        self.ground.issuer.slow = timedelta(minutes=minutes)

    @rule(name=NAMES)
    def component_refuses(self, name: str) -> None:
        process = self.ground.processes[ComponentName(name)]
        known = {serial for _, serial in process.serving.values()}
        process.refuses = lambda serial: serial not in known

    @rule(name=NAMES)
    def component_relents(self, name: str) -> None:
        process = self.ground.processes[ComponentName(name)]
        process.refuses = lambda _serial: False
        process.gate.is_open = True

    @rule(name=NAMES)
    def component_dies(self, name: str) -> None:
        self.ground.processes[ComponentName(name)].is_up = False

    @rule(name=NAMES)
    def component_ill(self, name: str) -> None:
        self.ground.processes[ComponentName(name)].gate.is_open = False

    @rule(name=NAMES)
    def component_stopped(self, name: str) -> None:
        process = self.ground.processes[ComponentName(name)]
        process.is_now, process.is_up = ServiceState.STOPPED, False

    @rule(name=NAMES)
    def component_started(self, name: str) -> None:
        process = self.ground.processes[ComponentName(name)]
        process.is_now = ServiceState.UNKNOWN
        process.begin()

    @rule()
    def reboot(self) -> None:
        for process in self.ground.processes.values():
            process.is_now = ServiceState.UNKNOWN
            process.serving.clear()
            process.begin()
        self.ground.restart()

    @rule(reloads=st.booleans())
    def matrix_says(self, reloads: bool) -> None:  # noqa: FBT001
        self.ground.controllers.reloads = reloads

    @rule(rereads=st.booleans())
    def controllers_reread(self, rereads: bool) -> None:  # noqa: FBT001
        self.ground.controllers.rereads = rereads

    @rule(deaf=st.booleans(), mute=st.booleans())
    def controllers_do_not_listen(self, deaf: bool, mute: bool) -> None:  # noqa: FBT001
        self.ground.controllers.deaf, self.ground.controllers.mute = deaf, mute

    @rule(days=st.integers(0, 40))
    def loopback_certificate_ends(self, days: int) -> None:
        ground = self.ground
        ground.controllers.loopback_ends = ground.clock.now() + timedelta(days=days)

    @rule(which=st.integers(0, 1), content=CONTENTS, ahead=AHEAD)
    def person_changes_a_file(self, which: int, content: bytes, ahead: int) -> None:
        ground = self.ground
        if ground.clock.now() < ground.latest:
            return  # its time would say nothing
        ground.clock.advance(timedelta(seconds=1))
        file = ground.controllers.component.reads[which]
        if content:
            ground.controllers.write(file, content, timedelta(hours=ahead))
        else:
            Path(file.path).unlink(missing_ok=True)

    @rule(name=NAMES, which=st.integers(0, 2), how=st.sampled_from(("delete", "plain", "garbage")))
    def person_edits(self, name: str, which: int, how: str) -> None:
        spec = next(each for each in self.ground.specs if each.component == name)
        output = spec.outputs[which]
        if Path(output.path).exists():
            self.ground.touched.add(spec.name)
            edit(output, how)

    @rule(name=NAMES)
    def person_deletes_the_store(self, name: str) -> None:
        spec = next(each for each in self.ground.specs if each.component == name)
        self.ground.touched.add(spec.name)
        shutil.rmtree(self.ground.root / name / ".certrotd", ignore_errors=True)

    @rule()
    def person_deletes_the_state(self) -> None:
        self.ground.forget_state()

    @rule(name=NAMES)
    def person_configures(self, name: str) -> None:
        self.ground.change(name)

    @precondition(lambda self: self.busy >= 30)
    @rule()
    def comes_to_rest(self) -> None:
        self.ground.settle()
        self.busy = 0

    @invariant()
    def all_is_well(self) -> None:
        Life.steps += 1
        self.busy += 1
        self.ground.check()

    def teardown(self) -> None:
        try:
            self.ground.settle()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)
