"""The power goes at any moment of a disk's past: its record is replayed up to there.

Whatever was written after the last flush may be on the disk or not, each piece on its own: nothing
of it, all, every second piece, all but one, or a last one torn in the middle of its sectors.
"""

from __future__ import annotations

import os
import random
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.core.errors import CertrotdError
from certrotd.ports import Event
from tests.crash import disks, oracle, recording, scenes
from tests.crash.components import Components
from tests.crash.disks import MEMORY, Disk, made
from tests.crash.sweeps import Tally, recover, told
from tests.crash.whole import Whole
from tests.fakes.log import RecordingLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crash.recording import Record
    from tests.crash.scenes import Place, Scene
    from tests.crash.sweeps import Story

SECTOR = 512
LAST = 1 << 63
"""Where a flush ends that never came."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When the power went: `lasting` is how much of the record was flushed by then.

    `how` says what of the rest is there; `over` that all had been reported as done.
    """

    how: str
    lasting: int
    over: bool


@dataclass(slots=True)
class Recorder:
    """A disk below `root` and what was recorded of it; `began` is where the play begins."""

    root: Path
    kind: str
    began: int = 0
    disk: Disk = field(init=False)

    def __post_init__(self) -> None:
        self.disk = Disk(self.root / "file", self.root / "disk", self.kind)

    @property
    def length(self) -> int:
        """How long the record is now."""
        return (self.root / "log").stat().st_size

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Mount a fresh disk that is recorded.

        Raises:
            NoDisk: that cannot be done here.
        """
        plain = Disk(self.root / "image", self.disk.mountpoint, self.kind)
        with made(plain):
            plain.format()
            copy(plain.image, self.root / "blank")
            server = recording.recorded(plain.image, self.root / "log", self.root / "file")
            server.__enter__()
        try:
            self.disk.mount()
            try:
                yield
            finally:
                self.disk.unmount()
        finally:
            server.__exit__(None, None, None)

    def begin(self) -> None:
        """Make all that was done so far lasting, and begin."""
        self.disk.flush()
        self.began = self.length

    def pasts(self, ended: int, stride: int) -> Iterator[Moment]:
        """Mount the disk as it may have been left at each moment from `began` to `ended`.

        What happened after `ended`, such as unmounting, was never done.
        """
        records = [each for each in recording.read(self.root / "log") if each.end <= ended]
        state = self.root / "state"
        copy(self.root / "blank", state)
        chance = random.Random(0)  # the same each time
        number, lasting = 0, 0
        for batch, end in _batches(records):
            if end > self.began:
                for how, pieces in _chosen(batch, chance, last=end == LAST):
                    if number % stride == 0:
                        moment = Moment(how, lasting, over=end == LAST)
                        yield from self._mounted(state, pieces, moment)
                    number += 1
            apply(state, batch)
            lasting = end

    def _mounted(self, state: Path, pieces: list[Record], moment: Moment) -> Iterator[Moment]:
        image = self.root / "replayed"
        copy(state, image)
        apply(image, pieces)
        disk = Disk(image, self.disk.mountpoint, self.kind)
        disk.mount()
        try:
            yield moment
        finally:
            disk.unmount()


def _batches(records: list[Record]) -> Iterator[tuple[list[Record], int]]:
    """Return what was written between two flushes, and where it was flushed; LAST: never."""
    batch: list[Record] = []
    for each in records:
        if each.data is not None:
            batch.append(each)
        elif batch:
            yield batch, each.end
            batch = []
    yield batch, LAST


def _chosen(
    batch: list[Record], chance: random.Random, *, last: bool
) -> Iterator[tuple[str, list[Record]]]:
    """Choose what of the pieces that were not flushed is on the disk all the same."""
    yield "nothing since the flush", []
    if not batch:
        return
    if last:  # else it is what comes next
        yield "all", batch
    torn = batch[-1]
    half = (torn.data or b"")[: len(torn.data or b"") // 2 // SECTOR * SECTOR]
    yield "the last piece torn", [*batch[:-1], recording.Record(torn.offset, half, torn.end)]
    if len(batch) > 1:
        yield "every second piece", batch[::2]
        lost = chance.randrange(len(batch))
        yield "all but one", [each for i, each in enumerate(batch) if i != lost]
        yield "some", [each for each in batch if chance.random() < 0.5]


def apply(image: Path, records: list[Record]) -> None:
    """Write what was recorded into an image."""
    fd = os.open(image, os.O_WRONLY)
    try:
        for each in records:
            os.pwrite(fd, each.data or b"", each.offset)
    finally:
        os.close(fd)


def written(log: Path) -> list[Record]:
    """Return all that was ever written."""
    return [each for each in recording.read(log) if each.data is not None]


def copy(image: Path, to: Path) -> None:
    """Copy an image, with its holes."""
    to.unlink(missing_ok=True)
    disks.run("cp", "--sparse=always", str(image), str(to))


@contextmanager
def recorder(kind: str) -> Iterator[Recorder]:
    """Make a place for a recorded disk, in memory if there is some."""
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
        yield Recorder(Path(directory), kind)


def scene(kind: str, make: Callable[[Place], Scene], tally: Tally, stride: int = 1) -> Tally:
    """Replay one publication.

    Raises:
        NoDisk: that cannot be done here.
    """
    with recorder(kind) as disk:
        place = scenes.Place(disk.disk.mountpoint / "place")
        played = make(place)
        with disk.recording():
            place.clear()
            played.prepare()
            disk.begin()
            played.act()
            ended = disk.length
        for moment in disk.pasts(ended, stride):
            found = []
            try:
                if moment.over:
                    assert played.shown() == played.after, "success was undone"
                scenes.assert_whole(place, played)
                scenes.assert_converges(place, played)
            except (AssertionError, CertrotdError) as e:
                found.append(str(e))
            tally.add(f"{make.__name__} on {kind}, {moment}", found)
    return tally


class Promises(RecordingLog):
    """Remembers how long the record was when each pair was said to be published."""

    def __init__(self, disk: Recorder) -> None:
        super().__init__()
        self._disk = disk
        self.made: list[tuple[int, str, str]] = []

    def __call__(self, event: Event, /, **facts: object) -> None:
        super().__call__(event, **facts)
        if event is Event.CERTIFICATE_PUBLISHED:
            promise = (self._disk.length, str(facts["certificate"]), str(facts["serial"]))
            self.made.append(promise)

    def broken(self, node: Whole, moment: Moment) -> list[str]:
        """Say which pair was published before `moment` and is not there."""
        shown = {str(each.name): oracle.serial_of(oracle.held(each).leaf) for each in node.specs}
        return [
            f"{name}: was published and is not there"
            for length, name, serial in self.made
            if moment.lasting >= length and shown[name] != serial
        ]


def story(kind: str, play: Story, tally: Tally, stride: int = 1) -> Tally:
    """Replay a whole run: the node is started with what the disk shows, and certrotd runs.

    Raises:
        NoDisk: that cannot be done here.
    """
    components = Components()
    try:
        with recorder(kind) as disk:
            node = Whole(disk.disk.mountpoint / "node", components)
            with disk.recording():
                play.prepare(node)
                node.log = promises = Promises(disk)
                disk.begin()
                report = play.act(node)
                ended = disk.length
            now, node.log = node.clock.now(), RecordingLog()
            for moment in disk.pasts(ended, stride):
                node.clock.set(now)
                node.start_over(start=not play.bootstrap)
                found = node.faults(bootstrap=play.bootstrap) + promises.broken(node, moment)
                found += told(node, report) if moment.over else []
                tally.add(f"{play.name} on {kind}, {moment}", found + recover(node, play))
    finally:
        components.close()
    return tally
