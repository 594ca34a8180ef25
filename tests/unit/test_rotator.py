from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.core.errors import (
    OnHold,
    PermanentError,
)
from certrotd.core.model import (
    EntryKind,
    Reason,
    Result,
    ServiceState,
)
from certrotd.core.planning import Wish
from certrotd.ports import Event
from tests.fakes.journal import FakeJournal
from tests.unit.stage import Stage

if TYPE_CHECKING:
    from certrotd.core.model import Entry


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
