"""Random lives on real TLS servers and a real Vault, as a hypothesis machine.

Smaller than `machine.Life` and slower: what is played here is what memory cannot show. The rules
are drawn from a seed; how the processes take turns is not.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from certrotd.adapters.flock import FileLock
from certrotd.core.errors import LockHeld
from certrotd.core.model import ComponentName
from tests.crash import components
from tests.crash.disks import MEMORY
from tests.crash.faults import FAILING, failing, injected
from tests.crash.machine import CODES
from tests.crash.people import edit
from tests.crash.sweeps import Lasting, void
from tests.crash.vaultnode import VaultNode
from tests.hostile.proxy import Purpose

if TYPE_CHECKING:
    from tests.testbed.vaultserver import VaultServer

NAMES = st.sampled_from(components.NAMES)
ROLES = st.sampled_from(("etcd", "etcd-peer", "apiserver", "scheduler"))
CALLS = st.integers(1, 160) | st.integers(1, 750)
"""A run that finds nothing to do makes so many calls that change something, and one that replaces
everything."""
ANSWERS: tuple[dict[str, Any], ...] = (
    {"max_ttl": "1h"},
    {"not_before_duration": "400h"},
    {"organization": ["another"]},
    {"client_flag": True},
    {"key_usage": ["KeyAgreement"]},
    {"allow_any_name": False, "allowed_domains": ["elsewhere.example"]},
    {"key_type": "rsa", "key_bits": 2048},
)
"""Roles that answer another question than was asked, and two that refuse."""
CUTS = st.sampled_from(
    [(Purpose.HEALTH, False), (Purpose.LOGIN, False), (Purpose.LOGIN, True), (Purpose.SIGN, False),
     (Purpose.SIGN, True)]
)  # fmt: skip


def _can_be_asked(life: RealLife) -> bool:
    return life.node.pki.can_be_asked


class RealLife(RuleBasedStateMachine):
    """A node from its first day on, over `vault`; `steps` counts over all lives."""

    vault: ClassVar[VaultServer]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.mkdtemp(dir=MEMORY, prefix="certrotd-")
        self.node = VaultNode(Path(self._directory) / "node", self.vault)

    @initialize(fresh=st.booleans())
    def first_day(self, fresh: bool) -> None:  # noqa: FBT001  # a drawn value
        if not fresh:
            self.node.bootstrap()

    # -- what certrotd does

    @rule()
    def tick(self) -> None:
        self.node.tick()

    @rule()
    def force_all(self) -> None:
        self.node.tick(force=True)

    @rule(name=NAMES)
    def force(self, name: str) -> None:
        self.node.tick(name, force=True)

    @rule(name=NAMES)
    def roll_back(self, name: str) -> None:
        self.node.attempt(lambda rotator: rotator.rollback(ComponentName(name)))

    @rule()
    def new_process(self) -> None:
        self.node.restart()

    @rule(at=CALLS, force=st.booleans())
    def killed(self, at: int, force: bool) -> None:  # noqa: FBT001  # a drawn value
        wish = self.node.wish(force=force)
        self.node.killed(at, lambda rotator: rotator.run(wish))

    @rule(at=CALLS, name=NAMES)
    def killed_in_a_rollback(self, at: int, name: str) -> None:
        self.node.killed(at, lambda rotator: rotator.rollback(ComponentName(name)))

    @rule(at=CALLS, code=CODES, lasts=st.booleans(), force=st.booleans())
    def disk_fails(self, at: int, code: int, lasts: bool, force: bool) -> None:  # noqa: FBT001
        fault = Lasting(at, void, code=code) if lasts else failing(at, code)
        self.node.run_within(injected(fault, tuple(FAILING)), self.node.wish(force=force))

    @rule(force=st.booleans())
    def another_has_the_lock(self, force: bool) -> None:  # noqa: FBT001
        node = self.node
        before, path = node.generations(), str(node.root / "state" / "lock")
        with FileLock(path, clock=node.clock).hold("rotate"):
            answer = node.tick(force=force)
        assert isinstance(answer, LockHeld)
        assert node.generations() == before

    @rule()
    def slot_comes(self) -> None:
        self.node.slot_comes()
        self.node.tick()

    # -- a good day, but

    @rule()
    def everything_is_mended(self) -> None:
        self.node.mend()

    @rule(name=NAMES)
    def a_good_day_but_one_takes_no_other_pair(self, name: str) -> None:
        self.node.mend()
        worked = self.node.mislead(name)
        self.node.tick(name, force=True)
        assert worked in (None, self.node.leaf(name)), "what worked did not come back"

    @rule(role=ROLES, fields=st.sampled_from(ANSWERS))
    def a_good_day_but_vault_answers_another_question(
        self, role: str, fields: dict[str, Any]
    ) -> None:
        self.node.mend()
        self.node.pki.define(role, **fields)
        self.node.tick(force=True)

    @rule()
    def a_good_day_but_the_token_was_revoked(self) -> None:
        self.node.mend()
        self.node.tick("etcd", force=True)
        self.node.pki.revoke_tokens()
        self.node.tick("etcd", force=True)

    @rule(name=NAMES)
    def a_good_day_but_answers_are_lost(self, name: str) -> None:
        self.node.mend()
        self.node.pki.cut(Purpose.SIGN, after=True)
        self.node.tick(name, force=True)

    @rule(at=CALLS)
    def a_good_day_but_killed(self, at: int) -> None:
        self.node.mend()
        wish = self.node.wish(force=True)
        self.node.killed(at, lambda rotator: rotator.run(wish))
        self.node.tick()

    @rule(name=NAMES)
    def a_good_day_but_killed_when_it_tells(self, name: str) -> None:
        self.node.mend()
        wish = self.node.wish(name, force=True)
        self.node.killed(0, lambda rotator: rotator.run(wish), telling=name)
        self.node.tick()

    # -- Vault and the way to it

    @precondition(_can_be_asked)
    @rule()
    def vault_is_sealed(self) -> None:
        self.node.pki.seal()

    @rule()
    def vault_is_frozen(self) -> None:
        self.node.pki.freeze()

    @rule(name=NAMES)
    def vault_freezes_when_it_shall_sign(self, name: str) -> None:
        self.node.pki.freeze_at_signature()
        self.node.tick(name, force=True)

    @rule(cut=CUTS)
    def connections_are_cut(self, cut: tuple[Purpose, bool]) -> None:
        purpose, after = cut
        self.node.pki.cut(purpose, after=after)

    @precondition(_can_be_asked)
    @rule()
    def token_is_revoked(self) -> None:
        self.node.pki.revoke_tokens()

    @precondition(_can_be_asked)
    @rule()
    def identity_is_destroyed(self) -> None:
        self.node.pki.destroy_identity()

    @precondition(_can_be_asked)
    @rule()
    def nothing_is_permitted(self) -> None:
        self.node.pki.permit(nothing=True)

    @precondition(_can_be_asked)
    @rule(role=ROLES, fields=st.sampled_from(ANSWERS))
    def role_answers_another_question(self, role: str, fields: dict[str, Any]) -> None:
        self.node.pki.define(role, **fields)

    @precondition(_can_be_asked)
    @rule(role=ROLES)
    def role_is_gone(self, role: str) -> None:
        self.node.pki.remove(role)

    @rule()
    def vault_is_well(self) -> None:
        self.node.vault_is_well()

    # -- components

    @rule(name=NAMES)
    def component_starts(self, name: str) -> None:
        self.node.start(name)

    @rule(name=NAMES)
    def component_is_stopped(self, name: str) -> None:
        self.node.stop(name)

    @rule(name=NAMES)
    def component_dies(self, name: str) -> None:
        self.node.die(name)

    @rule(name=NAMES)
    def component_takes_no_other_pair(self, name: str) -> None:
        self.node.mislead(name)

    @rule()
    def reboot(self) -> None:
        self.node.reboot()

    # -- people

    @rule()
    def person_holds(self) -> None:
        self.node.hold.place("maintenance", self.node.clock.now())

    @rule()
    def person_resumes(self) -> None:
        self.node.hold.lift()

    @rule(name=ROLES, which=st.integers(0, 9), how=st.sampled_from(("delete", "plain", "garbage")))
    def person_edits(self, name: str, which: int, how: str) -> None:
        spec = next(each for each in self.node.specs if each.name == name)
        output = spec.outputs[which % len(spec.outputs)]
        if Path(output.path).exists():
            self.node.touched.add(spec.name)
            edit(output, how)

    @rule(which=st.integers(0, 2))
    def person_deletes_a_store(self, which: int) -> None:
        self.node.forget_store(self.node.homes[which])

    @rule()
    def person_deletes_the_state(self) -> None:
        self.node.forget_state()

    @rule(name=NAMES, number=st.integers(0, 3))
    def person_configures(self, name: str, number: int) -> None:
        self.node.configure(name, f"{name}-{number}.example")

    # -- what must hold

    @invariant()
    def all_is_well(self) -> None:
        RealLife.steps += 1
        self.node.check()

    def teardown(self) -> None:
        try:
            self.node.settle()
        finally:
            self.node.close()
            shutil.rmtree(self._directory, ignore_errors=True)
