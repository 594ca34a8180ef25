"""The activation AUTO: the reload matrix decides, the proof has the last word."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certrotd.core import render, x509
from certrotd.core.errors import GateClosed
from certrotd.core.model import (
    ActivationKind,
    ComponentName,
    EntryKind,
    Result,
    RuntimeFacts,
    SeenFile,
)
from certrotd.core.planning import Wish
from certrotd.ports import Event
from tests.fakes.runtime import FakeRuntime
from tests.unit.autostage import API, ETCD_CA, SIGNING, decision, row, stage
from tests.unit.stage import Stage


def test_what_reloads_by_itself_is_not_restarted() -> None:
    made = stage()
    made["apiserver"].watches = True
    assert not decision(made).restart
    report = made.run()
    assert report.result is Result.DONE
    assert made["apiserver"].activations == 0
    assert Event.RELOAD_AWAITED in made.log.events
    assert Event.RELOAD_NOT_SEEN not in made.log.events


def test_what_should_reload_and_is_not_seen_to_is_restarted() -> None:
    made = stage()
    before = made.clock.now()
    report = made.run()
    assert report.result is Result.DONE
    assert made["apiserver"].activations == 1
    assert Event.RELOAD_NOT_SEEN in made.log.events
    limit = made.components[0].proof_deadline
    assert made.clock.now() - before >= limit


def test_what_is_read_at_the_start_only_is_restarted_at_once() -> None:
    made = stage("kubeconfig-embedded")
    decided = decision(made)
    assert decided.restart
    assert any("read at the start only" in reason for reason in decided.reasons)
    report = made.run()
    assert report.result is Result.DONE
    assert made["apiserver"].activations == 1
    assert Event.RELOAD_AWAITED not in made.log.events
    (step,) = report.steps
    assert any("started at" in each.detail for each in step.evidence)


def test_a_restart_that_starts_nothing_anew_is_no_success() -> None:
    made = stage("kubeconfig-embedded")
    made["apiserver"].on_activate = lambda: None
    report = made.run()
    (step,) = report.steps
    assert step.result in (Result.FAILED, Result.ROLLED_BACK)
    assert "before the restart" in step.error


def test_an_unknown_version_says_so_and_takes_the_safest_row() -> None:
    made = stage()
    made.matrix = (
        row("serving", reloads=True, since=(1, 30, 0)),
        row("serving", reloads=False, before=(1, 30, 0)),
        row("client-ca", reloads=True),
    )
    made.runtimes[API].told = RuntimeFacts(detail="https://127.0.0.1/version: connection refused")
    decided = decision(made)
    assert decided.restart
    assert any("is not known" in reason for reason in decided.reasons)
    assert any("connection refused" in reason for reason in decided.reasons)


def test_a_material_without_a_row_is_restarted() -> None:
    assert decision(stage("something-else")).restart


@pytest.mark.parametrize(
    ("left", "restart"), [(timedelta(minutes=9), True), (timedelta(hours=1), False)]
)
def test_a_client_pair_near_its_end_is_not_waited_for(left: timedelta, *, restart: bool) -> None:
    made = stage("kubeconfig-pair")
    (seen,) = made.rotator.plan(Wish()).observations
    assert seen.leaf is not None
    made.clock.advance(seen.leaf.not_after - left - made.clock.now())
    assert decision(made).restart is restart


def test_a_loopback_certificate_near_its_end_asks_for_one_restart() -> None:
    made = stage()
    made["apiserver"].watches = True
    ends = made.clock.now() + timedelta(days=20)
    made.runtimes[API].told = RuntimeFacts(version="1.37.2", loopback_ends=ends)
    made.run()
    assert made["apiserver"].activations == 1
    made.runtimes[API].told = RuntimeFacts(
        version="1.37.2", loopback_ends=ends + timedelta(days=300)
    )
    made.next_day().run()
    assert made["apiserver"].activations == 1


def test_a_ca_file_changed_after_the_start_makes_a_restart_due_once() -> None:
    made = stage("serving", ETCD_CA)
    made["apiserver"].watches = True
    made.run()
    assert made.run().steps == ()
    made.clock.advance(timedelta(hours=1))
    made.runtimes[API].seen[ETCD_CA.path] = SeenFile(file=ETCD_CA, changed_at=made.clock.now())
    made.clock.advance(timedelta(minutes=1))
    (step,) = made.rotator.plan(Wish()).steps
    assert step.replacements == ()
    assert step.owed is not None
    assert "etcd-ca" in step.owed.outdated[0]
    report = made.run()
    assert report.result is Result.DONE
    assert made["apiserver"].activations == 1
    assert made.run().steps == ()


def test_a_file_of_the_future_makes_one_restart_due_when_its_time_has_come() -> None:
    made = stage("serving", ETCD_CA)
    made["apiserver"].watches = True
    made.run()
    later = made.clock.now() + timedelta(hours=2)
    made.runtimes[API].seen[ETCD_CA.path] = SeenFile(file=ETCD_CA, changed_at=later)
    for _ in range(3):
        made.clock.advance(timedelta(minutes=1))
        assert made.run().steps == ()
    made.clock.advance(timedelta(hours=2))
    assert made.run().result is Result.DONE
    assert made.run().steps == ()
    assert made["apiserver"].activations == 1


def test_a_daemon_restarts_for_a_changed_file_at_its_own_time_and_once_a_slot() -> None:
    made = stage("serving", ETCD_CA)
    made["apiserver"].watches = True
    made.run()
    changed = made.clock.now()
    made.runtimes[API].seen[ETCD_CA.path] = SeenFile(file=ETCD_CA, changed_at=changed)
    made.clock.advance(timedelta(seconds=20))
    assert made.run(by_itself=True).steps == ()  # it may still be being written
    assert made.rotator.plan(Wish()).steps  # a person sees it at once
    made.clock.advance(timedelta(seconds=20))
    assert made.run(by_itself=True).result is Result.DONE
    assert made["apiserver"].activations == 1
    for _ in range(30):
        made.runtimes[API].seen[ETCD_CA.path] = SeenFile(file=ETCD_CA, changed_at=made.clock.now())
        made.clock.advance(timedelta(minutes=1))
        made.run(by_itself=True)
    assert made["apiserver"].activations == 1


def test_a_reload_that_takes_longer_than_the_deadline_is_waited_for() -> None:
    made = stage()
    slow = timedelta(minutes=2)
    made.matrix = (row("serving", reloads=True, within=slow), row("client-ca", reloads=True))
    before = made.clock.now()
    made.run()
    assert made.clock.now() - before >= slow


def test_what_would_not_start_again_keeps_nobody_else_from_what_cannot_wait() -> None:
    made = Stage("first", "second").started()
    made.matrix = (row("serving", reloads=False),)
    made.replace_component(
        "first", activation=ActivationKind.AUTO, program="kube-apiserver", reads=(SIGNING,)
    )
    runtime = FakeRuntime(RuntimeFacts(version="1.37.2"), made.clock.now() - timedelta(days=9))
    runtime.seen[SIGNING.path] = SeenFile(file=SIGNING, changed_at=None, problem="no such file")
    made.runtimes[ComponentName("first")] = runtime
    made.rotator = made.another()
    made.clock.advance(timedelta(days=5))
    assert made.results(made.run()) == {"first": "failed", "second": "done"}


def test_a_ca_that_an_interrupted_run_changed_is_not_forgotten_when_the_pair_is_due_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = stage()
    made.matrix = (row("serving", reloads=True), row("client-ca", reloads=False))
    made["apiserver"].watches = True
    (spec,) = made.components[0].certificates
    ca = next(each for each in spec.outputs if each.kind == "ca")
    made.store.files[ca.path] = b"an older CA"

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    monkeypatch.setattr(made["apiserver"], "on_activate", kill)
    with pytest.raises(Killed):
        made.run()
    monkeypatch.undo()
    made.next_day()
    assert decision(made).restart


def test_a_changed_file_that_is_read_again_is_left_alone_and_asks_nobody_twice() -> None:
    made = stage("serving", SIGNING)
    made["apiserver"].watches = True
    made.run()
    made.runtimes[API].seen[SIGNING.path] = SeenFile(file=SIGNING, changed_at=made.clock.now())
    assert made.run().steps == ()


def test_nothing_is_asked_while_nothing_changed() -> None:
    made = stage("serving", ETCD_CA)
    made["apiserver"].watches = True
    made.run()
    made.runtimes[API].asked = 0
    assert made.run().steps == ()
    assert made.runtimes[API].asked == 0


def test_an_ill_component_is_not_restarted_for_a_changed_file() -> None:
    made = stage("serving", ETCD_CA)
    made["apiserver"].watches = True
    made.run()
    made.runtimes[API].seen[ETCD_CA.path] = SeenFile(
        file=ETCD_CA, changed_at=made.clock.now() + timedelta(seconds=1)
    )
    made.clock.advance(timedelta(minutes=1))
    made["apiserver"].gate.is_open = False
    (step,) = made.run().steps
    assert step.result is Result.FAILED
    assert "was not touched" in step.error
    assert made["apiserver"].activations == 0
    assert made.hold.present is None


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (SeenFile(file=SIGNING, changed_at=None, problem="no such file"), "no such file"),
        (SeenFile(file=SIGNING, changed_at=None, certificates=2), "exactly one"),
    ],
)
def test_a_process_that_would_not_start_again_is_not_restarted(seen: SeenFile, said: str) -> None:
    made = stage("kubeconfig-embedded", SIGNING)
    old = made.serial("apiserver")
    made.runtimes[API].seen[SIGNING.path] = seen
    (step,) = made.run().steps
    assert step.result is Result.FAILED
    assert said in step.error
    assert made["apiserver"].activations == 0
    assert made.serial("apiserver") == old
    assert EntryKind.BEGUN not in [each.kind for each in made.journal.entries[-2:]]


def test_a_refused_reload_that_needs_a_restart_and_cannot_have_one_is_put_back() -> None:
    made = stage("serving", SIGNING)
    old = made.serial("apiserver")
    made.runtimes[API].seen[SIGNING.path] = SeenFile(
        file=SIGNING, changed_at=None, problem="no such file"
    )
    (step,) = made.run().steps
    assert "would not start again" in step.error
    assert made["apiserver"].activations == 0
    assert step.result is Result.ROLLED_BACK
    assert made.serial("apiserver") == old


def test_a_process_that_refuses_after_its_restart_is_restarted_with_the_old_pair() -> None:
    made = stage("kubeconfig-embedded")
    old = made.serial("apiserver")
    made["apiserver"].refuses = lambda serial: serial != old
    (step,) = made.run().steps
    assert step.result is Result.ROLLED_BACK
    assert made["apiserver"].activations == 2
    assert made.serial("apiserver") == old
    assert made.hold.present is not None


def test_owed_work_of_a_killed_run_is_decided_on_the_safe_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = stage("kubeconfig-pair")

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(made.clock, "sleep", kill)  # the grace after the publication
    with pytest.raises(Killed):
        made.run()
    monkeypatch.undo()
    assert made.rotator.plan(Wish()).steps[0].owed is not None
    assert decision(made).restart


def test_an_operators_rollback_changes_nothing_if_the_process_would_not_start_again() -> None:
    made = stage("kubeconfig-embedded", SIGNING)
    made.run()
    made.clock.advance(timedelta(minutes=1))
    serial, entries = made.serial("apiserver"), len(made.journal.entries)
    made.runtimes[API].seen[SIGNING.path] = SeenFile(
        file=SIGNING, changed_at=None, problem="no such file"
    )
    with pytest.raises(GateClosed, match="no such file"):
        made.rotator.rollback(API)
    files = made.store.read(made.components[0].certificates[0]).files
    assert x509.parse_certificate(render.identity(files).chain[0]).serial == serial
    assert len(made.journal.entries) == entries
    assert made.hold.present is None


def test_an_operators_rollback_restarts_only_what_must() -> None:
    made = stage()
    made["apiserver"].watches = True
    old = made.serial("apiserver")
    made.run()
    made.rotator.rollback(API)
    assert made.serial("apiserver") == old
    assert made["apiserver"].activations == 0
