"""The parts of the table: each is one row or a few, and none needs another."""

from __future__ import annotations

import tempfile
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis.errors import Flaky

from tests.crash import (
    disks,
    replay,
    scenes,
    stages,
    straced,
    sweeps,
    test_power_cut,
    test_store_crash,
)
from tests.crash.disks import MEMORY
from tests.crash.hunts import live, live_really, named, power
from tests.crash.mutants import MUTANTS, SOUND, Mutant, catch
from tests.crash.stages import a_node
from tests.crash.sweeps import STORIES, Tally
from tests.testbed.build import BuildFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.crash.straced import Stage

STRIDES = {"kills": (1, 1), "torn": (11, 1), "errors": (23, 2), "lasting": (23, 2), "lies": (2, 1)}
"""How far apart the points are, in the short and the long form."""
WORDS = {
    "kills": "kill before every call",
    "torn": "the same, each write cut short",
    "errors": "an error in every call",
    "lasting": "an error in every call from then on",
    "lies": "a flush fails once, then lies",
}
LIVES = 60
"""How many lives a seed has."""
SEEDS = {False: 1, True: 42}
"""How many seeds are played; all of them together have 100,000 steps."""
REAL_LIVES = {False: 35, True: 120}
"""The same on real servers, in the short and the long form: three minutes and ten."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a part found; `note` says why it could not be tried."""

    name: str
    points: int
    bad: tuple[str, ...]
    took: float
    note: str = ""


def scenarios(*, long: bool) -> Iterator[Callable[[], Row]]:
    """Return all that is swept."""
    for number in range(len(STORIES)):
        yield partial(_instants, number)
        yield from (partial(_swept, number, name, long=long) for name in STRIDES)
    yield partial(_store, 1 if long else 3)
    stride = 1 if long else 4
    for kind in disks.KINDS:
        yield partial(_power, kind, stride)
        yield partial(_replayed_scenes, kind)
        yield from (partial(_replayed, kind, number, stride) for number in range(len(STORIES)))
    for stage in ("store", *(story.name for story in STORIES)):
        yield partial(_straced, stage, straced.kills, "kill", 1)
        yield partial(_straced, stage, straced.errors, "an error", 1 if long else 17)


def lives(seed: int, *, long: bool) -> Iterator[Callable[[], Row]]:
    """Return the random lives, seed by seed."""
    yield from (partial(_lived, each) for each in range(seed, seed + SEEDS[long]))
    yield partial(_really_lived, seed, REAL_LIVES[long])


def mutants(words: Iterable[str]) -> list[Callable[[], tuple[str, str, float]]]:
    """Return the mutants with all these words, and the package as it is if there are no words."""
    wanted = tuple(words)
    chosen = [each for each in MUTANTS if all(word in each.name for word in wanted)]
    return [partial(_caught, each) for each in ([] if wanted else [SOUND]) + chosen]


def _caught(mutant: Mutant) -> tuple[str, str, float]:
    """Return the mutant's name, who found it, and how long that took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
        hunter, how = catch(mutant, Path(directory) / "copy")
    name = f"{mutant.name} {how}" if mutant is SOUND and hunter else mutant.name
    return name, hunter, time.monotonic() - began


def _row(name: str, tally: Tally, began: float) -> Row:
    return Row(name, tally.points, tuple(tally.bad), time.monotonic() - began)


def _instants(number: int) -> Row:
    began, story = time.monotonic(), STORIES[number]
    with a_node() as node:
        tally = sweeps.instants(node, story, Tally())
    return _row(f"{story.name}: every instant", tally, began)


def _swept(number: int, name: str, *, long: bool) -> Row:
    began, story = time.monotonic(), STORIES[number]
    with a_node() as node:
        tally = named(name)(node, story, Tally(), STRIDES[name][long], 0)
    return _row(f"{story.name}: {WORDS[name]}", tally, began)


def _store(stride: int) -> Row:
    """Sweep the scenes of the store alone."""
    began, tally = time.monotonic(), Tally()
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
        place = scenes.Place(Path(directory) / "place")
        for make in scenes.SCENES:
            for sweep in (test_store_crash.sweep_kills, test_store_crash.sweep_errors):
                try:
                    tally.points += sweep(place, make(place), stride)
                except AssertionError as e:
                    tally.bad.append(f"{make.__name__}: {e}")
    return _row("store: kill and errors, eight scenes", tally, began)


def _power(kind: str, stride: int) -> Row:
    began, tally = time.monotonic(), Tally()
    name = f"store: power cut on {kind}, log lost and kept"
    for make in test_power_cut.MAKES:
        try:
            tally.points += power(kind, make, stride)
        except AssertionError as e:
            tally.bad.append(f"{make.__name__}: {e}")
        except disks.NoDisk as e:
            return Row(name, 0, (), 0, note=str(e))
    return _row(name, tally, began)


def _replayed_scenes(kind: str) -> Row:
    """Replay the disk's record of publications."""
    began, tally = time.monotonic(), Tally()
    name = f"store: {kind} replayed to every flush"
    try:
        for make in test_power_cut.MAKES:
            replay.scene(kind, make, tally)
    except disks.NoDisk as e:
        return Row(name, 0, (), 0, note=str(e))
    return _row(name, tally, began)


def _replayed(kind: str, number: int, stride: int) -> Row:
    """Replay the disk's record of a whole run."""
    began, story = time.monotonic(), STORIES[number]
    name = f"{story.name}: {kind} replayed to every flush"
    try:
        tally = replay.story(kind, story, Tally(), stride)
    except disks.NoDisk as e:
        return Row(name, 0, (), 0, note=str(e))
    return _row(name, tally, began)


def _straced(name: str, sweep: Callable[[Stage, Tally, int], Tally], word: str, stride: int) -> Row:
    """Interrupt a story, or all scenes of the store, at the kernel's own calls."""
    began, tally, title = time.monotonic(), Tally(), f"{name}: {word} in the kernel's own calls"
    try:
        for each in stages.SCENES if name == "store" else (name,):
            with stages.of(each) as stage:
                sweep(stage, tally, stride)
    except straced.NoTracing as e:
        return Row(title, 0, (), 0, note=str(e))
    return _row(title, tally, began)


def _lived(seed: int) -> Row:
    """Play a seed; one that finds something prints its life."""
    began, steps, bad = time.monotonic(), 0, tuple[str, ...]()
    try:
        steps = live(LIVES, seed)
    except AssertionError as e:
        traceback.print_exc()
        bad = (str(e),)
    return Row(f"random lives, seed {seed} (steps)", steps, bad, time.monotonic() - began)


def _really_lived(seed: int, lives: int) -> Row:
    """Play a seed on real servers."""
    began, steps, bad = time.monotonic(), 0, tuple[str, ...]()
    name = f"random lives on real TLS and Vault, seed {seed} (steps)"
    try:
        steps = live_really(lives, seed)
    except BuildFailed as e:
        return Row(name, 0, (), 0, note=str(e))
    except (AssertionError, Flaky) as e:
        traceback.print_exc()
        bad = (str(e),)
    return Row(name, steps, bad, time.monotonic() - began)
