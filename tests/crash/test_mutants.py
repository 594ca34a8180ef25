"""The sweeps can see: a store with one defence taken out turns them red."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.store import adoption
from certrotd.adapters.store.directory import Directory
from certrotd.adapters.store.tree import Tree
from certrotd.durable import located
from tests.crash import scenes
from tests.crash.test_store_crash import place as place  # noqa: PLC0414  # the fixture
from tests.crash.test_store_crash import sweep_kills

if TYPE_CHECKING:
    from certrotd.core.model import GenerationId
    from tests.crash.scenes import Place


pytestmark = pytest.mark.crash


def no_adoption(patch: pytest.MonkeyPatch) -> None:
    """Links are made of the paths without a copy to lead to."""
    patch.setattr(adoption, "to_adopt", lambda _seen, _live: {})


def readable_from_the_start(patch: pytest.MonkeyPatch) -> None:
    """Files are created as open(2) likes, and get their mode later."""

    def create(self: Directory, name: str) -> int:
        with located(self.join(name)):
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=self.fd)
            os.write(fd, b"")
            return fd

    patch.setattr(Directory, "create", create)


def removed_outputs_are_dropped(patch: pytest.MonkeyPatch) -> None:
    """What is configured no more is not carried on."""
    patch.setattr(adoption, "carried", lambda _tree, _live, _wanted: {})


def two_steps(patch: pytest.MonkeyPatch) -> None:
    """The live link is removed before it is made anew."""
    real = Tree.commit

    def commit(self: Tree, generation: GenerationId) -> None:
        self.live.unlink(self.spec.name)
        real(self, generation)

    patch.setattr(Tree, "commit", commit)


@pytest.mark.parametrize(
    ("mutant", "make"),
    [
        (no_adoption, scenes.adoption),
        (no_adoption, scenes.replaced_by_hand),
        (readable_from_the_start, scenes.renewal),
        (removed_outputs_are_dropped, scenes.other_outputs),
        (two_steps, scenes.renewal),
    ],
)
def test_a_mutant_is_found(
    place: Place, monkeypatch: pytest.MonkeyPatch, mutant: object, make: object
) -> None:
    assert callable(mutant)
    assert callable(make)
    scene = make(place)
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        sweep_kills(place, scene, 1)
