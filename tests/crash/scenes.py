"""Scenes of the store's life, and what must hold whenever somebody looks."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.adapters.store import GenerationStore
from certrotd.core.model import Output, OutputKind
from certrotd.core.render import render
from tests.factories import NOW, lab, make_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.core.model import CertificateSpec, Verified

Files = dict[str, bytes | None]
LATER = NOW + timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Place:
    """A directory with a home, a second output directory and a state directory."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "pki"

    @property
    def elsewhere(self) -> Path:
        return self.root / "other" / "place"

    @property
    def history(self) -> str:
        return str(self.root / "state" / "history")

    @property
    def store(self) -> GenerationStore:
        return GenerationStore(self.history, keep=5)

    def clear(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.root, ignore_errors=True)
        for each in (self.home, self.elsewhere):
            each.mkdir(parents=True)
            each.chmod(0o755)


@dataclass(frozen=True, slots=True)
class Scene:
    """`prepare` sets the stage, `act` is what may be interrupted.

    Whatever happens, the paths of `spec` show exactly `before` or exactly `after`.
    """

    spec: CertificateSpec
    prepare: Callable[[], None]
    act: Callable[[], None]
    before: Files
    after: Files
    fresh: Verified

    def shown(self) -> Files:
        """Return what a component sees."""
        return {each.path: _bytes(each.path) for each in self.spec.outputs}


def _bytes(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def rendered(verified: Verified) -> Files:
    """Return what publishing it shows."""
    return {output.path: content.reveal() for output, content in render(verified)}


def spec_of(place: Place) -> CertificateSpec:
    """Four outputs, one of them elsewhere."""
    spec = make_spec(place.home)
    client = Output(
        path=str(place.elsewhere / "server.crt"), kind=OutputKind.CERTIFICATE, mode=0o644
    )
    return replace(spec, outputs=(*spec.outputs, client))


def write_plain(verified: Verified) -> None:
    """Put the files there as another tool would."""
    for output, content in render(verified):
        fd = os.open(output.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, content.reveal())
        os.fchmod(fd, output.mode)
        os.close(fd)


def first_publication(place: Place) -> Scene:
    """Nothing is there."""
    spec = spec_of(place)
    new = lab().issue(spec)
    return Scene(
        spec=spec,
        prepare=lambda: None,
        act=lambda: void(place.store.publish(new, NOW)),
        before=dict.fromkeys(rendered(new)),
        after=rendered(new),
        fresh=lab().issue(spec),
    )


def adoption(place: Place) -> Scene:
    """Plain files of another tool are there."""
    spec = spec_of(place)
    old, new = lab().issue(spec), lab().issue(spec)
    return Scene(
        spec=spec,
        prepare=lambda: write_plain(old),
        act=lambda: void(place.store.publish(new, NOW)),
        before=rendered(old),
        after=rendered(new),
        fresh=lab().issue(spec),
    )


def renewal(place: Place) -> Scene:
    """The daily case."""
    spec = spec_of(place)
    old, new = lab().issue(spec), lab().issue(spec)
    return Scene(
        spec=spec,
        prepare=lambda: void(place.store.publish(old, NOW)),
        act=lambda: void(place.store.publish(new, LATER)),
        before=rendered(old),
        after=rendered(new),
        fresh=lab().issue(spec),
    )


def restoring(place: Place) -> Scene:
    """A rollback."""
    spec = spec_of(place)
    old, new = lab().issue(spec), lab().issue(spec)

    def prepare() -> None:
        place.store.publish(old, NOW)
        place.store.publish(new, LATER)

    def act() -> None:
        place.store.restore(spec, place.store.history(spec)[-1], LATER)

    return Scene(
        spec=spec,
        prepare=prepare,
        act=act,
        before=rendered(new),
        after=rendered(old),
        fresh=lab().issue(spec),
    )


def retiring(place: Place) -> Scene:
    """Taking old generations away changes nothing that is seen."""
    spec = spec_of(place)
    old, new = lab().issue(spec), lab().issue(spec)

    def prepare() -> None:
        place.store.publish(old, NOW)
        place.store.publish(new, NOW)

    return Scene(
        spec=spec,
        prepare=prepare,
        act=lambda: void(place.store.retire(spec, LATER)),
        before=rendered(new),
        after=rendered(new),
        fresh=lab().issue(spec),
    )


def pruning(place: Place) -> Scene:
    """Copies beyond what is kept are removed; the latest stays."""
    spec = spec_of(place)
    pairs = [lab().issue(spec) for _ in range(4)]

    def prepare() -> None:
        for each in pairs:
            place.store.publish(each, NOW)

    def act() -> None:
        GenerationStore(place.history, keep=1).retire(spec, LATER)
        assert len(place.store.history(spec)) == 1

    return Scene(
        spec=spec,
        prepare=prepare,
        act=act,
        before=rendered(pairs[-1]),
        after=rendered(pairs[-1]),
        fresh=lab().issue(spec),
    )


def replaced_by_hand(place: Place) -> Scene:
    """Somebody replaced all links by a pair of their own."""
    spec = spec_of(place)
    old, theirs, new = (lab().issue(spec) for _ in range(3))

    def prepare() -> None:
        place.store.publish(old, NOW)
        for each in spec.outputs:
            Path(each.path).unlink()
        write_plain(theirs)

    return Scene(
        spec=spec,
        prepare=prepare,
        act=lambda: void(place.store.publish(new, LATER)),
        before=rendered(theirs),
        after=rendered(new),
        fresh=lab().issue(spec),
    )


def other_outputs(place: Place) -> Scene:
    """One output was removed from the configuration and one added."""
    old_spec = spec_of(place)
    added = Output(path=str(place.home / "both.pem"), kind=OutputKind.COMBINED, mode=0o600)
    removed = old_spec.outputs[2]
    spec = replace(old_spec, outputs=(*(o for o in old_spec.outputs if o != removed), added))
    everything = replace(old_spec, outputs=(*old_spec.outputs, added))
    old, new = lab().issue(old_spec), lab().issue(spec)
    return Scene(
        spec=everything,
        prepare=lambda: void(place.store.publish(old, NOW)),
        act=lambda: void(place.store.publish(new, LATER)),
        before={**rendered(old), added.path: None},
        after={**rendered(new), removed.path: rendered(old)[removed.path]},
        fresh=lab().issue(everything),
    )


SCENES = (
    first_publication, adoption, renewal, restoring, retiring, pruning, replaced_by_hand,
    other_outputs,
)  # fmt: skip


def void(_: object) -> None:
    """Take a value and give nothing back."""


def assert_whole(place: Place, scene: Scene) -> None:
    """Either set is shown, and no key lies anywhere with a wider mode than it was given."""
    shown = scene.shown()
    assert shown in (scene.before, scene.after), f"mixed: {told(scene, shown)}"
    assert_private(place)


def told(scene: Scene, shown: Files) -> dict[str, str]:
    """Say of each path which set it shows."""
    sets = {"before": scene.before, "after": scene.after}
    return {
        path: next((name for name, each in sets.items() if each.get(path) == content), "neither")
        for path, content in shown.items()
    }


def assert_private(place: Place) -> None:
    """No file with a key is open to others, and no unfinished generation can be entered."""
    for directory, names, files in os.walk(place.root):
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink() and b"PRIVATE KEY" in path.read_bytes():
                assert path.stat().st_mode & 0o077 == 0, path
        for name in names:
            if name.startswith(".staging-"):
                mode = Path(directory, name).stat().st_mode & 0o777
                # It is opened when all that is in it has its final mode.
                assert mode == 0o700 or (Path(directory, name) / "MANIFEST").exists()


def assert_converges(place: Place, scene: Scene) -> None:
    """The next publication works, shows itself, leaves no litter, and can be taken back."""
    published = place.store.publish(scene.fresh, LATER + timedelta(hours=1))
    assert scene.shown() == rendered(scene.fresh)
    place.store.retire(scene.fresh.spec, LATER + timedelta(hours=1))
    found = place.store.read(scene.fresh.spec)
    assert found.generation == published.generation
    assert not any(each.problem or each.drift for each in found.files)
    litter = [
        path
        for path in place.root.rglob("*")
        if path.name.endswith(".new") or path.name.startswith(".staging-")
    ]
    assert not litter
    generations = place.home / ".certrotd" / "gen" / "server"
    assert [each.name for each in generations.iterdir()] == [published.generation]
    if published.previous:
        assert place.store.history(scene.fresh.spec)[-1:] == (published.previous,)
    assert_private(place)
