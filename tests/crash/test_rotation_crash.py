"""Whole rotations, interrupted anywhere: a few points in every test run, all with `make crash`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash import sweeps
from tests.crash.components import Components
from tests.crash.disks import MEMORY
from tests.crash.sweeps import STORIES, Story, Tally
from tests.crash.whole import Whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Sweep = Callable[[Whole, Story, Tally, int, int], Tally]

STRIDES: dict[Sweep, int] = {
    sweeps.kills: 131,
    sweeps.torn: 197,
    sweeps.errors: 1201,
    sweeps.lasting: 1201,
    sweeps.lies: 11,
}
"""How far apart the points of the quick run are."""


@pytest.fixture(scope="module")
def node() -> Iterator[Whole]:
    components = Components()
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
        yield Whole(Path(directory) / "node", components)
    components.close()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_at_every_instant_every_path_shows_one_whole_generation(node: Whole, story: Story) -> None:
    tally = sweeps.instants(node, story, Tally())
    assert tally.points > 100
    assert tally.bad == []


@pytest.mark.parametrize("sweep", STRIDES, ids=lambda sweep: sweep.__name__)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_interrupted_anywhere_the_next_run_mends_it(
    node: Whole, story: Story, sweep: Sweep
) -> None:
    stride = STRIDES[sweep]
    tally = sweep(node, story, Tally(), stride, stride // 2)
    assert tally.points > 0
    assert tally.bad == []
