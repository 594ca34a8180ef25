"""Interrupted at the kernel's own calls: a few points in every test run, more with `make crash`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import stages, straced
from tests.crash.sweeps import STORIES, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    Sweep = Callable[[straced.Stage, Tally, int], Tally]


@pytest.mark.parametrize(("sweep", "stride"), [(straced.kills, 97), (straced.errors, 293)])
@pytest.mark.parametrize("name", [*stages.SCENES, *(story.name for story in STORIES)])
def test_interrupted_in_the_kernel_the_next_run_mends_it(
    name: str, sweep: Sweep, stride: int
) -> None:
    tally = Tally()
    try:
        with stages.of(name) as stage:
            sweep(stage, tally, stride)
    except straced.NoTracing as e:
        pytest.skip(str(e))
    assert tally.points > 0
    assert tally.bad == []
