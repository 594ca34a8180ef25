"""What a rotator is refused, by issuers, disks and people, and what an operator asks it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.core.errors import (
    IssuerRefused,
    IssuerUnavailable,
    LockHeld,
    PermanentError,
    PublishRefused,
    PublishUncertain,
)
from certrotd.core.model import (
    ActivationKind,
    Answer,
    ComponentName,
    Reason,
    Result,
)
from certrotd.core.planning import Wish
from certrotd.ports import Event
from tests.factories import Lab
from tests.fakes.store import FakeStore
from tests.unit.stage import Stage, renamed

if TYPE_CHECKING:
    from datetime import datetime

    from certrotd.core.model import CertificateSpec


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
