"""A disk that remembers: its past is replayed to every flush, with and without what came after."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.store import store
from certrotd.adapters.store.directory import Directory
from tests.crash import replay, scenes
from tests.crash.disks import KINDS, NoDisk
from tests.crash.sweeps import STORIES, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.scenes import Place, Scene
    from tests.crash.sweeps import Story

pytestmark = pytest.mark.crash


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        with replay.recorder(request.param) as disk, disk.recording():
            return str(request.param)
    except NoDisk as e:
        pytest.skip(str(e))


@pytest.mark.parametrize("make", [scenes.adoption, scenes.renewal])
def test_whatever_was_flushed_shows_one_whole_set(
    kind: str, make: Callable[[Place], Scene]
) -> None:
    tally = replay.scene(kind, make, Tally(), stride=3)
    assert tally.points > 5
    assert tally.bad == []


@pytest.mark.parametrize("play", STORIES, ids=lambda play: play.name)
def test_whatever_was_flushed_the_next_run_mends_it(kind: str, play: Story) -> None:
    tally = replay.story(kind, play, Tally(), stride=23)
    assert tally.points > 2
    assert tally.bad == []


def no_directory_is_flushed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Directory, "sync", lambda _self: None)


def no_file_is_flushed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store, "flush", lambda _descriptors: None)


@pytest.mark.parametrize("mutant", [no_directory_is_flushed, no_file_is_flushed])
def test_a_mutant_that_forgets_to_flush_is_found(
    kind: str, monkeypatch: pytest.MonkeyPatch, mutant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        replay.scene(kind, scenes.renewal, Tally(at_first=True))


def test_the_past_is_real(kind: str) -> None:
    with replay.recorder(kind) as disk:
        file, other = (disk.disk.mountpoint / name for name in ("flushed", "not-flushed"))
        with disk.recording():
            disk.begin()
            with file.open("wb") as written:
                written.write(b"here")
                written.flush()
                os.fsync(written.fileno())
            flushed = disk.length
            other.write_bytes(b"not yet")
            ended = disk.length
        seen = [
            (moment.lasting >= flushed, file.exists() and file.read_bytes(), other.exists())
            for moment in disk.pasts(ended, 1)
        ]
    assert (False, False, False) in seen
    assert seen[-1] == (True, b"here", False)
    assert all(content == b"here" for lasting, content, _ in seen if lasting)


def test_the_record_is_what_is_on_the_disk(kind: str) -> None:
    with replay.recorder(kind) as disk:
        with disk.recording():
            (disk.disk.mountpoint / "file").write_bytes(bytes(range(256)) * 1000)
            disk.disk.flush()
        made = disk.root / "made"
        replay.copy(disk.root / "blank", made)
        replay.apply(made, replay.written(disk.root / "log"))
        assert made.read_bytes() == (disk.root / "image").read_bytes()
