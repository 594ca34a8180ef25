"""The power goes before any call, on a real ext4 and xfs: what was reported is there afterwards.

The file system is told to shut down (as xfstests do) with its log lost or kept, then mounted
again, so that what was only in memory is gone. Needs root and loop devices.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.store import store
from certrotd.adapters.store.directory import Directory
from certrotd.core.errors import CertrotdError
from tests.crash.disks import KINDS, LOG_KEPT, LOG_LOST, Disk, NoDisk, mounted
from tests.crash.faults import CHANGING, Fault, count, injected
from tests.crash.scenes import (
    Place,
    Scene,
    adoption,
    assert_converges,
    assert_whole,
    first_publication,
    other_outputs,
    renewal,
    replaced_by_hand,
    restoring,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.crash

STRIDE = 1 if os.environ.get("CERTROTD_SWEEP") == "all" else 6
"""Every sixth call, so that `make test` ends in time; CERTROTD_SWEEP=all takes every one."""


@pytest.fixture(params=KINDS)
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Disk(tmp_path / "image", tmp_path / "disk", request.param)
    try:
        with mounted(made):
            yield made
    except NoDisk as e:
        pytest.skip(str(e))


def cut_at(disk: Disk, flags: int, at: int, work: Callable[[], None]) -> None:
    """Run in a child; the power goes before call number `at`, or after the last for 0."""
    child = os.fork()
    if child == 0:
        try:

            def act(_name: str) -> None:
                disk.cut(flags)
                os._exit(7)

            with injected(Fault(at, act), CHANGING):
                work()
            disk.cut(flags)
        except BaseException:  # noqa: BLE001  # a child must never return into pytest
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (7 if at else 0)


def sweep(disk: Disk, make: Callable[[Place], Scene], flags: int, stride: int) -> int:
    """Return how many points were tried."""
    place = Place(disk.mountpoint / "place")
    scene = make(place)

    def begin() -> None:
        place.clear()
        scene.prepare()
        disk.flush()

    begin()
    total = len(count(scene.act, CHANGING))
    points = range(0, total + 1, stride)
    for at in points:
        begin()
        cut_at(disk, flags, at, scene.act)
        disk.unmount()
        disk.mount()
        if at == 0:
            assert scene.shown() == scene.after, "success was undone"
        assert_whole(place, scene)
        assert_converges(place, scene)
    return len(points)


MAKES = (first_publication, adoption, renewal, restoring, replaced_by_hand, other_outputs)


@pytest.mark.parametrize("flags", [LOG_LOST, LOG_KEPT], ids=["log lost", "log kept"])
@pytest.mark.parametrize("make", MAKES)
def test_a_power_cut_leaves_one_whole_set_and_never_undoes_success(
    disk: Disk, make: Callable[[Place], Scene], flags: int
) -> None:
    sweep(disk, make, flags, STRIDE)


def no_directory_is_flushed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Directory, "sync", lambda _self: None)


def no_file_is_flushed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store, "flush", lambda _descriptors: None)


@pytest.mark.parametrize("mutant", [no_directory_is_flushed, no_file_is_flushed])
def test_a_mutant_that_forgets_to_flush_is_found(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, mutant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, CertrotdError)):
        sweep(disk, renewal, LOG_LOST, STRIDE)


def test_the_cut_is_real(disk: Disk) -> None:
    place = Place(disk.mountpoint / "place")
    place.clear()
    disk.flush()

    def careless() -> None:
        (place.home / "file").write_bytes(b"never flushed")

    cut_at(disk, LOG_LOST, 0, careless)
    disk.unmount()
    disk.mount()
    assert not (place.home / "file").exists()
