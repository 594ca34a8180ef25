"""What the sweeps and the random runs found, each as a test of its own."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.store import GenerationStore
from certrotd.core import render, x509
from certrotd.core.errors import PublishRefused
from certrotd.core.model import ActivationKind, ComponentName, EntryKind, Result, ServiceState
from certrotd.core.planning import Wish
from certrotd.ports import Event
from tests.crash.faults import CHANGING, count, killed
from tests.crash.oracle import litter
from tests.crash.people import GARBAGE
from tests.factories import NOW, lab, make_spec
from tests.fakes.journal import FakeJournal
from tests.fakes.store import FakeStore
from tests.unit.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.core.model import Entry, GenerationId


class Killed(BaseException):
    """kill -9: nothing after this point happens."""


def killed_at(kind: EntryKind) -> Callable[..., None]:
    """Return an `append` that dies instead of writing such an entry."""
    real = FakeJournal.append

    def append(journal: FakeJournal, *entries: Entry) -> None:
        if any(each.kind is kind for each in entries):
            raise Killed
        real(journal, *entries)

    return append


def test_a_bootstrap_that_was_killed_is_finished_without_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage("etcd", "apiserver")

    for process in stage.processes.values():
        process.is_up = False
    with monkeypatch.context() as patch:
        patch.setattr(FakeJournal, "append", killed_at(EntryKind.PUBLISHED))
        with pytest.raises(Killed):
            stage.run()
    stage.rotator = stage.another()
    report = stage.run()
    assert stage.results(report) == {"etcd": "stopped", "apiserver": "stopped"}
    assert stage.hold.placed() is None
    assert stage.another().plan(Wish()).steps == ()


def test_a_component_that_had_its_files_before_must_prove_itself_after_a_kill() -> None:
    stage = Stage("etcd").started().next_day()
    stage["etcd"].on_activate = kill
    with pytest.raises(Killed):
        stage.run()
    stage["etcd"].is_up = False
    stage["etcd"].on_activate = lambda: None
    stage.rotator = stage.another()
    assert stage.results(stage.run()) == {"etcd": "rolled_back"} or stage.hold.placed()


def kill() -> None:
    raise Killed


def test_after_a_kill_in_a_rollback_nobody_goes_back_to_what_was_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage("etcd").started().next_day()
    good = stage.serial("etcd")
    stage["etcd"].refuses = lambda serial: serial != good
    with monkeypatch.context() as patch:
        patch.setattr(FakeJournal, "append", killed_at(EntryKind.ROLLED_BACK))
        with pytest.raises(Killed):
            stage.run()
    stage.clock.advance(timedelta(minutes=1))
    stage.rotator = stage.another()
    report = stage.run()
    assert stage.results(report) == {"etcd": "rolled_back"}
    files = stage.store.read(stage.components[0].certificates[0]).files
    assert x509.parse_certificate(render.identity(files).chain[0]).serial == good
    assert stage.hold.placed()


def test_what_worked_is_kept_until_something_else_does() -> None:
    stage = Stage("etcd", activation=ActivationKind.RELOAD).started().next_day()
    stage.store.keep = 1
    good = stage.serial("etcd")
    stage["etcd"].refuses = lambda serial: serial != good
    stage["etcd"].on_activate = kill
    for _ in range(2):
        with pytest.raises(Killed):
            stage.run(force=True)
        stage.clock.advance(timedelta(minutes=1))
        stage.rotator = stage.another()
    stage["etcd"].on_activate = lambda: None
    report = stage.run(force=True)
    assert stage.results(report) == {"etcd": "rolled_back"}, report.steps
    files = stage.store.read(stage.components[0].certificates[0]).files
    assert x509.parse_certificate(render.identity(files).chain[0]).serial == good


def test_what_worked_cannot_be_looked_for_and_a_person_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage("etcd").started().next_day()
    with monkeypatch.context() as patch:
        patch.setattr(FakeJournal, "append", killed_at(EntryKind.PUBLISHED))
        with pytest.raises(Killed):
            stage.run()
    stage["etcd"].refuses = lambda _serial: True
    stage.rotator = stage.another()

    def history(_store: FakeStore, _spec: object) -> tuple[GenerationId, ...]:
        raise PublishRefused("/state/history: I/O error", path="/state/history")

    stage["etcd"].on_activate = lambda: monkeypatch.setattr(FakeStore, "history", history)
    stage.clock.advance(timedelta(minutes=1))
    (step,) = stage.run().steps
    assert step.result is Result.FAILED
    assert stage.hold.placed()


def test_a_rollback_does_not_start_what_is_deliberately_down() -> None:
    stage = Stage("etcd").started().next_day()
    stage.run()
    stage["etcd"].is_now = ServiceState.STOPPED
    before = stage["etcd"].activations
    report = stage.rotator.rollback(ComponentName("etcd"))
    assert stage.results(report) == {"etcd": "rolled_back"}
    assert stage["etcd"].activations == before
    assert Event.COMPONENT_LEFT_STOPPED in stage.log.events


@pytest.mark.parametrize("kind", [ActivationKind.RELOAD, ActivationKind.AUTO])
def test_what_is_deliberately_down_is_not_told_of_a_pair_put_back(
    kind: ActivationKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage("etcd").started().next_day()
    stage.replace_component("etcd", activation=kind)
    stage["etcd"].is_now = ServiceState.STOPPED
    before, good = stage["etcd"].activations, stage.serial("etcd")
    real = FakeJournal.append

    def append(journal: FakeJournal, *entries: Entry) -> None:
        if any(each.kind is EntryKind.DONE for each in entries):
            raise PublishRefused("/state/journal: no space", path="/state/journal")
        real(journal, *entries)

    monkeypatch.setattr(FakeJournal, "append", append)
    (step,) = stage.run().steps
    assert step.result is Result.FAILED
    assert step.error == "/state/journal: no space"
    assert stage["etcd"].activations == before
    assert stage.hold.placed() is None
    files = stage.store.read(stage.components[0].certificates[0]).files
    assert x509.parse_certificate(render.identity(files).chain[0]).serial == good


def test_a_pair_beside_a_ca_that_was_damaged_is_not_gone_back_to(tmp_path: Path) -> None:
    home = tmp_path / "pki"
    home.mkdir(mode=0o755)
    store = GenerationStore(str(tmp_path / "state" / "history"), keep=3)
    spec = make_spec(home)
    first = store.publish(lab().issue(spec), NOW)
    Path(spec.outputs[2].path).write_bytes(GARBAGE)
    second = store.publish(lab().issue(spec), NOW + timedelta(hours=1))
    assert second.previous is None
    assert first.generation not in store.history(spec)


def test_a_parent_that_cannot_be_looked_at_is_told_before_anybody_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat

    def stat(path: object, *args: object, **kwargs: object) -> os.stat_result:
        if path == str(tmp_path):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return real(path, *args, **kwargs)  # type: ignore[arg-type]

    home = tmp_path / "pki"
    home.mkdir()
    store = GenerationStore(str(tmp_path / "state" / "history"), keep=3)
    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(PublishRefused) as refused:
        store.preflight([make_spec(home)])
    assert refused.value.path == str(tmp_path)


def test_what_a_killed_look_at_the_disk_left_is_gone_after_a_run_with_nothing_to_do(
    tmp_path: Path,
) -> None:
    home = tmp_path / "pki"
    home.mkdir(mode=0o755)
    store = GenerationStore(str(tmp_path / "state" / "history"), keep=3)
    spec = make_spec(home)
    store.publish(lab().issue(spec), NOW)
    store.publish(lab().issue(spec), NOW + timedelta(hours=1))
    total = len(count(lambda: store.preflight([spec]), CHANGING))
    for at in range(1, total + 1):
        assert killed(at, lambda: store.preflight([spec]))
        store.retire(spec, NOW)
        assert litter(tmp_path) == [], at
