"""What strace interrupts: whole runs of a node, and the store's work alone."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.core.errors import PublishRefused, PublishUncertain
from tests.crash import oracle, scenes
from tests.crash.components import Components
from tests.crash.disks import MEMORY
from tests.crash.straced import Stage
from tests.crash.sweeps import STORIES, recover, told
from tests.crash.whole import Whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crash.scenes import Place, Scene
    from tests.crash.sweeps import Story


@contextmanager
def a_node() -> Iterator[Whole]:
    """Give a node in memory."""
    components = Components()
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
        yield Whole(Path(directory) / "node", components)
    components.close()


SCENES = {f"store, {make.__name__}": make for make in scenes.SCENES}
"""What the store is seen to do, by name."""


@contextmanager
def of(name: str) -> Iterator[Stage]:
    """Give the stage of a scene of the store, or of a story of a node."""
    if make := SCENES.get(name):
        with tempfile.TemporaryDirectory(dir=MEMORY, prefix="certrotd-") as directory:
            yield _of_scene(scenes.Place(Path(directory) / "place"), make)
        return
    story = next(each for each in STORIES if each.name == name)
    with a_node() as node:
        yield _of_story(node, story)


def _of_story(node: Whole, story: Story) -> Stage:
    story.prepare(node)
    saved, now = node.save(), node.clock.now()

    def prepare() -> None:
        node.clock.set(now)
        node.begin_from(saved, start=not story.bootstrap)

    return Stage(
        name=story.name,
        prepare=prepare,
        act=partial(story.act, node),
        told=partial(told, node),
        look=partial(node.faults, bootstrap=story.bootstrap),
        mend=partial(recover, node, story),
        record=node.root.with_name("record"),
    )


def _of_scene(place: Place, make: Callable[[Place], Scene]) -> Stage:
    scene = make(place)

    def prepare() -> None:
        place.clear()
        scene.prepare()

    def act() -> str:
        try:
            scene.act()
        except PublishRefused:
            return "refused"
        except PublishUncertain:
            return "uncertain"
        return "done"

    def told(said: str) -> list[str]:
        sides = {"done": scene.after, "refused": scene.before}
        honest = said == "uncertain" or scene.shown() == sides[said]
        return [] if honest else [f"said to be {said}: {scenes.told(scene, scene.shown())}"]

    def look() -> list[str]:
        shown, sides = scene.shown(), (scene.before, scene.after)
        found = [
            f"{path}: shows what was never there"
            for path, content in shown.items()
            if content not in [each.get(path) for each in sides]
        ]
        if shown not in sides:
            found.append(f"mixed: {scenes.told(scene, shown)}")
        return found + oracle.exposed(place.root, [scene.spec])

    def mend() -> list[str]:
        try:
            scenes.assert_whole(place, scene)
            scenes.assert_converges(place, scene)
        except AssertionError as e:
            return [str(e)]
        return []

    return Stage(
        name=f"store, {make.__name__}",
        prepare=prepare,
        act=act,
        told=told,
        look=look,
        mend=mend,
        record=place.root.with_name("record"),
    )
