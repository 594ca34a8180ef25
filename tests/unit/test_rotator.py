from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.core.errors import (
    IssuerRefused,
    IssuerUnavailable,
    LockHeld,
    OnHold,
    PermanentError,
    PublishRefused,
    PublishUncertain,
)
from certrotd.core.model import (
    ActivationKind,
    Answer,
    ComponentName,
    EntryKind,
    Reason,
    Result,
    ServiceState,
)
from certrotd.core.planning import Wish
from certrotd.ports import Event
from tests.factories import Lab
from tests.fakes.journal import FakeJournal
from tests.fakes.store import FakeStore
from tests.unit.stage import Stage, renamed

if TYPE_CHECKING:
    from datetime import datetime

    from certrotd.core.model import CertificateSpec, Entry


class Killed(BaseException):
    """kill -9: nothing after this point happens."""


def kill() -> None:
    raise Killed


def test_on_empty_directories_everything_is_published_and_nothing_is_told() -> None:
    stage = Stage("etcd", "apiserver")
    report = stage.run()
    assert stage.results(report) == {"etcd": "stopped", "apiserver": "stopped"}
    assert report.result is Result.STOPPED
    assert stage["etcd"].activations == 0
    assert stage.run().steps == ()


def test_what_is_fresh_is_left_alone() -> None:
    stage = Stage().started()
    assert stage.run().steps == ()
    assert stage["etcd"].activations == 0
    assert stage.issuer.asked == ["etcd"]
    assert Event.RUN_STARTED not in stage.log.events[-1:]


def test_after_the_slot_everything_is_replaced_in_order_and_proved() -> None:
    stage = Stage("etcd", "apiserver", "scheduler").started().next_day()
    before = {name: stage.serial(name) for name in ("etcd", "apiserver", "scheduler")}
    report = stage.run()
    assert [step.component for step in report.steps] == ["etcd", "apiserver", "scheduler"]
    assert report.result is Result.DONE
    for step in report.steps:
        (change,) = step.changes
        assert change.old_serial == before[step.component]
        assert change.new_serial == stage.serial(step.component)
        assert all(each.holds for each in step.evidence)
    assert stage.run().steps == ()


def test_each_step_is_written_down_from_begin_to_end() -> None:
    stage = Stage().started().next_day()
    entries = len(stage.journal.entries)
    stage.run()
    kinds = [entry.kind for entry in stage.journal.entries[entries:]]
    assert kinds == [
        EntryKind.ISSUED, EntryKind.BEGUN, EntryKind.PUBLISHED, EntryKind.ACTIVATED, EntryKind.DONE,
    ]  # fmt: skip


def test_only_what_is_named_is_forced() -> None:
    stage = Stage("etcd", "apiserver").started()
    report = stage.run("apiserver", force=True)
    assert stage.results(report) == {"apiserver": "done"}


def test_a_component_that_refuses_gets_the_old_pair_back_and_the_run_stops() -> None:
    stage = Stage("etcd", "apiserver", "scheduler").started().next_day()
    old = stage.serial("apiserver")
    stage["apiserver"].refuses = lambda serial: serial != old
    untouched = stage.serial("scheduler")
    report = stage.run()
    assert stage.results(report) == {
        "etcd": "done", "apiserver": "rolled_back", "scheduler": "skipped",
    }  # fmt: skip
    assert report.result is Result.ROLLED_BACK
    assert stage.serial("apiserver") == old
    assert stage["scheduler"].activations == 0
    assert stage.serial("scheduler") == untouched
    assert stage.journal.entries[-1].kind is EntryKind.ROLLED_BACK
    assert stage.hold.present is not None
    assert "apiserver" in stage.hold.present[0]


def test_on_hold_nothing_is_done_until_a_person_lifts_it() -> None:
    stage = Stage("etcd", "apiserver").started().next_day()
    old = stage.serial("etcd")
    stage["etcd"].refuses = lambda serial: serial != old
    stage.run()
    asked = list(stage.issuer.asked)
    with pytest.raises(OnHold, match="etcd"):
        stage.run()
    assert stage.issuer.asked == asked
    stage.hold.lift()
    stage["etcd"].refuses = lambda _: False
    assert stage.results(stage.run()) == {"etcd": "done", "apiserver": "done"}


def test_a_component_that_cannot_be_told_is_rolled_back_too() -> None:
    stage = Stage().started().next_day()
    old = stage.serial("etcd")
    failures = [PermanentError("unit failed to start")]

    def fail_once() -> None:
        if failures:
            raise failures.pop()

    stage["etcd"].on_activate = fail_once
    assert stage.results(stage.run()) == {"etcd": "rolled_back"}
    assert stage.serial("etcd") == old


def test_a_gate_that_closes_after_activation_is_a_failure() -> None:
    stage = Stage().started().next_day()
    process = stage["etcd"]
    old = stage.serial("etcd")

    def sick_with_new_pair() -> None:
        process.load()
        process.gate.is_open = stage.serial("etcd") == old

    process.on_activate = sick_with_new_pair
    report = stage.run()
    assert stage.results(report) == {"etcd": "rolled_back"}
    assert "not healthy" in report.steps[0].error
    assert stage.serial("etcd") == old


def test_gates_must_hold_for_the_whole_settle_time() -> None:
    stage = Stage(settle=timedelta(seconds=3)).started().next_day()
    stage["etcd"].on_activate = lambda: stage["etcd"].gate.script.extend([True, True, False])
    started = stage.clock.monotonic()
    assert stage.results(stage.run()) == {"etcd": "done"}
    assert stage.clock.monotonic() - started >= 3
    assert stage["etcd"].gate.looks > 4


def test_an_unhealthy_component_is_not_touched_and_there_is_no_hold() -> None:
    stage = Stage("etcd", "apiserver").started().next_day()
    stage["etcd"].gate.is_open = False
    report = stage.run()
    assert stage.results(report) == {"etcd": "failed", "apiserver": "skipped"}
    assert stage["etcd"].activations == 0
    assert stage.hold.present is None
    stage["etcd"].gate.is_open = True
    assert stage.run().result is Result.DONE


def test_a_component_that_is_deliberately_down_stays_down_with_the_new_pair_on_disk() -> None:
    stage = Stage().started().next_day()
    stage["etcd"].is_now = ServiceState.STOPPED
    report = stage.run()
    assert stage.results(report) == {"etcd": "stopped"}
    assert stage["etcd"].activations == 0
    assert report.steps[0].changes
    assert stage.run().steps == ()


@pytest.mark.parametrize("forced", [False, True])
def test_killed_between_publication_and_activation_the_next_run_finishes(*, forced: bool) -> None:
    stage = Stage().started().next_day()
    old = stage.serial("etcd")
    stage["etcd"].on_activate = kill
    with pytest.raises(Killed):
        stage.run()
    assert stage.serial("etcd") == old
    stage["etcd"].on_activate = lambda: None
    stage["etcd"].is_up = False  # nobody can see on the socket what it uses
    stage.rotator = stage.another()
    stage["etcd"].on_activate = lambda: setattr(stage["etcd"], "is_up", True)
    asked = len(stage.issuer.asked)
    assert stage.results(stage.run(force=forced)) == {"etcd": "done"}
    assert len(stage.issuer.asked) == asked + forced
    assert stage.serial("etcd") != old
    assert stage.run().steps == ()


@pytest.mark.parametrize(("refuses", "result"), [(False, "done"), (True, "rolled_back")])
def test_killed_before_the_publication_was_written_down_it_is_owed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, result: str, *, refuses: bool
) -> None:
    stage = Stage().started().next_day()
    old = stage.serial("etcd")
    append = FakeJournal.append

    def torn(journal: FakeJournal, *entries: Entry) -> None:
        if entries[0].kind is EntryKind.PUBLISHED:
            kill()
        append(journal, *entries)

    with monkeypatch.context() as patched:
        patched.setattr(FakeJournal, "append", torn)
        with pytest.raises(Killed):
            stage.run()
    stage.rotator = stage.another()
    if refuses:
        stage["etcd"].refuses = lambda serial: serial != old
    assert stage.results(stage.run()) == {"etcd": result}
    assert (stage.serial("etcd") == old) is refuses


def test_an_owed_pair_that_is_refused_goes_back_to_what_was_proved_before() -> None:
    stage = Stage().started().next_day()
    old = stage.serial("etcd")
    stage["etcd"].on_activate = kill
    with pytest.raises(Killed):
        stage.run()
    stage["etcd"].on_activate = lambda: None
    stage["etcd"].refuses = lambda serial: serial != old
    stage.rotator = stage.another()
    report = stage.run(force=True)
    assert stage.results(report) == {"etcd": "rolled_back"}
    assert stage.serial("etcd") == old


def test_a_leaf_that_is_not_served_is_activated_without_asking_the_issuer() -> None:
    stage = Stage().started()
    name = stage["etcd"].component.certificates[0].name
    stage["etcd"].serving[name] = ("another", "abc")
    stage.journal.entries.clear()
    plan = stage.rotator.plan(Wish())
    assert [f.reason for f in plan.observations[0].findings] == [Reason.NOT_SERVED]
    assert stage.results(stage.run()) == {"etcd": "done"}
    assert stage.issuer.asked == ["etcd"]


def test_on_the_first_day_there_is_nothing_to_go_back_to_and_that_is_said() -> None:
    stage = Stage()
    stage["etcd"].is_now = ServiceState.RUNNING
    stage["etcd"].refuses = lambda _: True
    report = stage.run()
    assert stage.results(report) == {"etcd": "failed"}
    assert "no working pair to go back to" in report.steps[0].hint
    assert stage.hold.present is not None
    stage.hold.lift()
    stage["etcd"].refuses = lambda _: False
    assert stage.results(stage.run()) == {"etcd": "done"}
    assert stage.issuer.asked == ["etcd"]


def test_when_putting_back_fails_both_causes_are_told_and_it_is_owed() -> None:
    stage = Stage().started().next_day()
    stage["etcd"].refuses = lambda _: True
    stage["etcd"].is_up = False
    report = stage.run()
    assert stage.results(report) == {"etcd": "failed"}
    assert "putting the old pair back did not work either" in report.steps[0].error
    assert Event.ROLLBACK_FAILED in stage.log.events
    stage.hold.lift()
    stage["etcd"].refuses, stage["etcd"].is_up = (lambda _: False), True
    assert stage.results(stage.run()) == {"etcd": "done"}


def test_a_broken_pair_is_not_put_back() -> None:
    stage = Stage().started()
    key = next(p for p in stage.store.files if p.endswith(".key"))
    stage.store.files[key] = b"rubbish"
    old = stage.serial("etcd")
    stage["etcd"].refuses = lambda serial: serial != old
    report = stage.run()
    assert stage.results(report) == {"etcd": "failed"}
    assert not [call for call in stage.store.calls if call[0] == "restore"]


def test_an_issuer_that_refuses_one_component_does_not_keep_back_the_others() -> None:
    stage = Stage("etcd", "apiserver").started().next_day()
    stage.issuer.failures["etcd"] = IssuerRefused("unknown role", hint="create it", status=400)
    report = stage.run()
    assert stage.results(report) == {"etcd": "failed", "apiserver": "done"}
    assert report.steps[0].hint == "create it"
    assert stage["etcd"].activations == 0
    assert stage.hold.present is None


def test_an_issuer_that_is_away_defers_and_changes_nothing() -> None:
    stage = Stage("etcd", "apiserver").started().next_day()
    stage.issuer.away = IssuerUnavailable("Vault is sealed", hint="vault operator unseal")
    files = dict(stage.store.files)
    report = stage.run()
    assert report.result is Result.DEFERRED
    assert {step.error for step in report.steps} == {"Vault is sealed"}
    assert stage.store.files == files
    assert len(stage.issuer.asked) == 2


def test_clocks_that_are_apart_stop_everything_before_anything_is_signed() -> None:
    stage = Stage().started().next_day()
    stage.issuer.ahead = timedelta(minutes=5)
    report = stage.run()
    assert stage.results(report) == {"etcd": "failed"}
    assert "300 s apart" in report.steps[0].error
    assert len(stage.issuer.asked) == 1


def test_an_answer_of_another_ca_is_never_published() -> None:
    stage = Stage().started().next_day()
    foreign = Lab(stage.clock.now(), common_name="foreign")
    spec = stage.components[0].certificates[0]
    chain = foreign.issued(spec, stage.clock.now()).chain
    stage.issuer.tamper = lambda _: Answer(chain=chain)
    files = dict(stage.store.files)
    report = stage.run()
    assert stage.results(report) == {"etcd": "failed"}
    assert "public key" in report.steps[0].error
    assert "chain" in report.steps[0].error
    assert stage.store.files == files


def test_a_directory_that_cannot_be_written_is_found_before_the_issuer_is_asked() -> None:
    stage = Stage("etcd", "apiserver").started().next_day()
    stage.store.unwritable.add("/pki/etcd")
    report = stage.run()
    assert stage.results(report) == {"etcd": "failed", "apiserver": "done"}
    assert stage.issuer.asked.count("etcd") == 1


def test_a_pair_that_could_not_be_published_is_kept_and_not_signed_again() -> None:
    stage = Stage().started().next_day()
    stage.store.failures = [PublishRefused("disk full", path="/pki/etcd")] * 5
    for _ in range(5):
        assert stage.results(stage.run()) == {"etcd": "failed"}
    assert stage["etcd"].activations == 0
    assert stage.hold.present is None
    assert stage.results(stage.run()) == {"etcd": "done"}
    assert stage.issuer.asked.count("etcd") == 2


def test_a_kept_pair_is_forgotten_when_the_specification_changes() -> None:
    stage = Stage().started().next_day()
    stage.store.failures = [PublishRefused("disk full", path="/pki/etcd")]
    stage.run()
    rotator = stage.rotator
    stage.components = (renamed(stage.components[0], "other.example"),)
    stage["etcd"].component = stage.components[0]
    rotator._world = replace(rotator._world, components=stage.components)
    rotator._issuing._world = rotator._world
    assert stage.results(stage.run()) == {"etcd": "done"}
    assert stage.issuer.asked.count("etcd") == 3


def test_when_durability_is_unknown_a_fresh_generation_is_published() -> None:
    stage = Stage().started().next_day()
    stage.store.failures = [PublishUncertain("fsync failed", path="/pki/etcd")]
    assert stage.results(stage.run()) == {"etcd": "done"}
    assert [call for call, _ in stage.store.calls].count("publish") == 3


def test_signatures_are_bounded_however_often_a_pair_is_lost() -> None:
    stage = Stage().started()
    for _ in range(2):
        assert stage.results(stage.run(force=True)) == {"etcd": "done"}
    report = stage.run(force=True)
    assert "signed 3 times in 24 hours" in report.steps[0].error
    stage.rotator = stage.another()
    assert stage.run(force=True).result is Result.FAILED
    stage.clock.advance(timedelta(days=1))
    assert stage.run().result is Result.DONE


def test_refusals_cost_no_signature() -> None:
    stage = Stage().started().next_day()
    stage.issuer.failures["etcd"] = IssuerRefused("no", status=403)
    for _ in range(5):
        assert stage.run().result is Result.FAILED
    stage.issuer.failures.clear()
    assert stage.run().result is Result.DONE


def test_a_journal_that_cannot_be_written_keeps_everything_as_it_is() -> None:
    stage = Stage().started().next_day()
    stage.journal.failures = [PublishRefused("read-only", path="/state/journal")]
    with pytest.raises(PublishRefused):
        stage.run()
    assert stage.issuer.asked == ["etcd"]


def test_asked_to_stop_it_finishes_the_step_in_hand_and_defers_the_rest() -> None:
    stage = Stage("etcd", "apiserver").started().next_day()
    stage["etcd"].on_activate = lambda: setattr(stage, "stop", True)
    report = stage.run()
    assert stage.results(report) == {"etcd": "done", "apiserver": "deferred"}
    assert stage["apiserver"].activations == 0


def test_a_second_certrotd_is_told_who_is_at_work() -> None:
    stage = Stage()
    stage.lock.holder = "process 4711"
    with pytest.raises(LockHeld, match="4711"):
        stage.run()


def test_watchers_of_a_reloading_component_are_woken_before_it_is_proved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(activation=ActivationKind.RELOAD).started().next_day()
    process = stage["etcd"]
    retire = FakeStore.retire

    def wake(
        store: FakeStore, spec: CertificateSpec, before: datetime, *, prune: bool = True
    ) -> int:
        process.load()
        return retire(store, spec, before, prune=prune)

    monkeypatch.setattr(process, "activate", lambda: None)
    monkeypatch.setattr(FakeStore, "retire", wake)
    assert stage.results(stage.run()) == {"etcd": "done"}
    assert 2.0 in stage.clock.slept


def test_replaced_generations_go_after_the_grace() -> None:
    stage = Stage().started().next_day()
    stage.run()
    stage.clock.advance(timedelta(minutes=1))
    stage.run()
    assert stage.log.of(Event.GENERATIONS_RETIRED) == [{"count": 1}]


def test_an_operator_goes_back_and_rotation_holds() -> None:
    stage = Stage("etcd", "apiserver").started()
    old = stage.serial("etcd")
    stage.run("etcd", force=True)
    report = stage.rotator.rollback(ComponentName("etcd"))
    assert report.result is Result.ROLLED_BACK
    assert stage.serial("etcd") == old
    assert stage.hold.present is not None
    assert stage["apiserver"].activations == 0


def test_an_operator_never_goes_back_to_what_was_refused() -> None:
    stage = Stage().started()
    first = stage.serial("etcd")
    stage.run(force=True)
    good = stage.serial("etcd")
    stage["etcd"].refuses = lambda serial: serial not in (first, good)
    assert stage.results(stage.run(force=True)) == {"etcd": "rolled_back"}
    assert stage.serial("etcd") == good
    stage.rotator.rollback(ComponentName("etcd"))
    assert stage.serial("etcd") in (first, good)


def test_without_an_earlier_generation_there_is_nothing_to_go_back_to() -> None:
    stage = Stage().started()
    with pytest.raises(PermanentError, match="no earlier generation"):
        stage.rotator.rollback(ComponentName("etcd"))
    assert stage.hold.present is None


def test_a_plan_changes_nothing_and_names_the_reason() -> None:
    stage = Stage().started().next_day()
    files, entries = dict(stage.store.files), list(stage.journal.entries)
    plan = stage.rotator.plan(Wish())
    assert [each.findings[0].reason for each in plan.replacements] == [Reason.DUE]
    assert stage.store.files == files
    assert stage.journal.entries == entries
    assert stage.issuer.asked == ["etcd"]
