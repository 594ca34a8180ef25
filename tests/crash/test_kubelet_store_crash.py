"""The kubelet's store: killed before every call, and failing in every call."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.kubelet import FileRecords, KubeletStore
from certrotd.core import kubelets
from certrotd.core.errors import PublishRefused, PublishUncertain
from certrotd.core.kubelets import Cause, Record
from certrotd.core.model.kubelets import Purpose
from tests.adapters.test_kubelet_store import fingerprint, pair
from tests.crash.disks import MEMORY
from tests.crash.faults import CHANGING, FAILING, count, failing, injected, killed
from tests.factories import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

LATER = NOW + timedelta(hours=1)


@dataclass
class Place:
    """A store with one pair, and a second pair to write."""

    root: Path

    def __post_init__(self) -> None:
        self.old, self.new = pair(), pair()

    @property
    def store(self) -> KubeletStore:
        return KubeletStore(str(self.root / "pki"), str(self.root / "kubelet.conf"))

    @property
    def shown(self) -> str | None:
        """What a kubelet that starts now would use."""
        held = self.store.read(Purpose.CLIENT)
        assert not held.problem
        return held.leaf.fingerprint if held.leaf else None

    def prepare(self, *, empty: bool) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        if not empty:
            self.store.write(Purpose.CLIENT, *self.old, NOW)

    def act(self) -> None:
        self.store.write(Purpose.CLIENT, *self.new, LATER)

    def before(self, *, empty: bool) -> str | None:
        return None if empty else fingerprint(self.old[0])


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
        yield Place(Path(directory) / "place")


def assert_goes_on(place: Place) -> None:
    """The next renewal works, whatever was left lying about."""
    chain, key = pair()
    place.store.write(Purpose.CLIENT, chain, key, LATER + timedelta(minutes=1))
    assert place.shown == fingerprint(chain)
    link = place.root / "pki" / "kubelet-client-current.pem"
    assert stat_is_private(link.resolve())
    assert not os.path.lexists(place.root / "pki" / "kubelet-client-updated.pem")


def stat_is_private(path: Path) -> bool:
    return path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("empty", [False, True])
def test_a_kill_before_any_call_leaves_a_whole_pair(place: Place, *, empty: bool) -> None:
    place.prepare(empty=empty)
    total = len(count(place.act, CHANGING))
    assert place.shown == fingerprint(place.new[0])
    assert total > 8
    for at in range(1, total + 1):
        place.prepare(empty=empty)
        assert killed(at, place.act), f"call {at} of {total} was never made"
        assert place.shown in (place.before(empty=empty), fingerprint(place.new[0]))
        assert_goes_on(place)


def outcome(at: int, code: int, place: Place) -> PublishRefused | PublishUncertain | None:
    """Return what the interrupted work said; any other exception is a defect."""
    try:
        with injected(failing(at, code), tuple(FAILING)):
            place.act()
    except (PublishRefused, PublishUncertain) as e:
        return e
    return None


@pytest.mark.parametrize("empty", [False, True])
def test_an_error_in_any_call_is_told_or_does_no_harm(place: Place, *, empty: bool) -> None:
    place.prepare(empty=empty)
    calls = count(place.act, tuple(FAILING))
    for at, name in enumerate(calls, 1):
        for code in FAILING[name]:
            place.prepare(empty=empty)
            said = outcome(at, code, place)
            refused = isinstance(said, PublishRefused)
            expected = place.before(empty=empty) if refused else fingerprint(place.new[0])
            assert place.shown == expected, f"call {at}, {name}: {said!r}"
            assert_goes_on(place)


def test_a_record_is_the_old_or_the_new_one_whenever_it_is_interrupted(place: Place) -> None:
    place.prepare(empty=True)
    records = FileRecords(str(place.root / "kubelet"))
    wanted = kubelets.Wanted(node="node-1", purpose=Purpose.CLIENT)
    old = Record(requests=(NOW,), attempt=kubelets.begin(wanted, Cause.MISSING, NOW))
    new = Record(requests=(NOW, LATER))

    def act() -> None:
        records.save(Purpose.CLIENT, new)

    records.save(Purpose.CLIENT, old)
    total = len(count(act, CHANGING))
    for at in range(1, total + 1):
        records.save(Purpose.CLIENT, old)
        assert killed(at, act)
        assert records.load(Purpose.CLIENT) in (old, new)
    records.save(Purpose.CLIENT, old)
    at = count(act, tuple(FAILING)).index("write") + 1
    full = injected(failing(at, errno.ENOSPC), tuple(FAILING))
    with full, pytest.raises(PublishRefused, match="No space"):
        act()
    assert records.load(Purpose.CLIENT) == new  # `act` had run once for the count
