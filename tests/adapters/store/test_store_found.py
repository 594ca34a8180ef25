"""What the store finds: other tools' files, changed files, other configurations."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.core.errors import PublishRefused
from certrotd.core.model import Output, OutputKind, StoredFile
from tests.adapters.store.words import (
    MINUTE,
    bytes_of,
    drift,
    on_disk,
)
from tests.factories import NOW, lab, make_outputs, make_spec, make_verified

if TYPE_CHECKING:
    from collections.abc import Callable

    from certrotd.adapters.store import GenerationStore


def test_a_link_of_another_tool_is_adopted_by_content(
    store: GenerationStore, home: Path, tmp_path: Path
) -> None:
    before = make_verified(home)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for path, content in bytes_of(before).items():
        (theirs / Path(path).name).write_bytes(content)
        Path(path).symlink_to(theirs / Path(path).name)
    verified = make_verified(home)
    previous = store.publish(verified, NOW).previous
    assert on_disk(verified.spec) == bytes_of(verified)
    # Theirs is left alone.
    assert (theirs / "server.key").read_bytes() == before.private_key.reveal()
    assert previous
    store.restore(verified.spec, previous, NOW + MINUTE)
    assert on_disk(verified.spec) == bytes_of(before)


def test_a_link_that_leads_nowhere_is_nothing(store: GenerationStore, home: Path) -> None:
    (home / "server.key").symlink_to("nowhere")
    verified = make_verified(home)
    assert store.read(verified.spec).files[1] == StoredFile(
        output=verified.spec.outputs[1], content=None
    )
    store.publish(verified, NOW)
    assert on_disk(verified.spec) == bytes_of(verified)
    assert not (home / "nowhere").exists()


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (lambda path: path.mkdir(), "is a directory"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.write_bytes(bytes(2 << 20)), "is larger than 1024 KiB"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_named_and_left_alone(
    store: GenerationStore, home: Path, put: Callable[[Path], None], said: str
) -> None:
    verified = make_verified(home)
    key = home / "server.key"
    put(key)
    found = store.read(verified.spec).files[1]
    assert found.content is None
    assert found.problem.lower() == said.lower()
    before = key.lstat()
    for act in (
        lambda: store.preflight([verified.spec]),
        lambda: store.publish(verified, NOW),
    ):
        with pytest.raises(PublishRefused, match=said) as caught:
            act()
        assert caught.value.path == str(key)
    assert key.lstat().st_ino == before.st_ino
    assert not (home / "server.crt").exists()


@pytest.mark.parametrize(
    ("change", "names", "said"),
    [
        (lambda key: key.write_bytes(b"x"), {"server.key"}, "content"),
        (lambda key: key.chmod(0o644), {"server.key"}, "mode is 0644 instead of 0600"),
        (lambda key: (key.unlink(), key.write_bytes(b"x")), {"server.key"}, "a file in the place"),
        (
            lambda key: (key.unlink(), key.symlink_to("server.crt")),
            {"server.key"},
            "another link in the place",
        ),
        (
            lambda key: (key.parent / ".certrotd/live/server/MANIFEST").write_bytes(b"{}"),
            {"server.crt", "server.key", "server-ca.crt"},
            "damaged",
        ),
        (
            lambda key: (key.parent / ".certrotd/live/server/MANIFEST").unlink(),
            {"server.crt", "server.key", "server-ca.crt"},
            "damaged",
        ),
        (
            lambda key: os.chown(key, 77, -1) if os.geteuid() == 0 else key.chmod(0o400),
            {"server.key"},
            "77:" if os.geteuid() == 0 else "0400",
        ),
    ],
)
def test_what_somebody_else_changed_is_told_and_mended(
    store: GenerationStore,
    home: Path,
    change: Callable[[Path], object],
    names: set[str],
    said: str,
) -> None:
    verified = make_verified(home)
    store.publish(verified, NOW)
    change(home / "server.key")
    told = drift(store, verified.spec)
    assert set(told) == names
    assert all(said in each for each in told.values())
    again = make_verified(home)
    store.publish(again, NOW + MINUTE)
    assert on_disk(again.spec) == bytes_of(again)
    assert drift(store, again.spec) == {}


def test_a_mode_that_is_configured_anew_is_drift(store: GenerationStore, home: Path) -> None:
    store.publish(make_verified(home), NOW)
    spec = make_spec(home, outputs=make_outputs(home, mode=0o640))
    assert drift(store, spec) == {"server.key": "its mode is 0600 instead of 0640"}


def test_a_lost_live_link_is_made_anew(store: GenerationStore, home: Path) -> None:
    verified = make_verified(home)
    store.publish(verified, NOW)
    (home / ".certrotd/live/server").unlink()
    assert {each.content for each in store.read(verified.spec).files} == {None}
    assert store.retire(verified.spec, NOW + MINUTE) == 0
    again = make_verified(home)
    assert store.publish(again, NOW + MINUTE).previous is None
    assert on_disk(again.spec) == bytes_of(again)


def test_another_home_takes_over_what_the_first_one_showed(
    store: GenerationStore, home: Path, tmp_path: Path
) -> None:
    spec = make_spec(home)
    first = lab().issue(spec)
    store.publish(first, NOW)
    new_home = tmp_path / "new"
    new_home.mkdir()
    front = Output(path=str(new_home / "chain.crt"), kind=OutputKind.CERTIFICATE, mode=0o644)
    moved = replace(spec, outputs=(front, *spec.outputs))
    store.preflight([moved])
    second = lab().issue(moved)
    previous = store.publish(second, NOW + MINUTE).previous
    assert on_disk(moved) == bytes_of(second)
    assert previous
    assert str((home / "server.key").readlink()).startswith(
        "../new/.certrotd/live/server/server.key@"
    )
    assert store.read(moved).generation


def test_a_path_that_moves_to_another_certificate_is_never_gone(
    store: GenerationStore, home: Path
) -> None:
    one = make_spec(home, "one")
    store.publish(lab().issue(one), NOW)
    ca = one.outputs[2]
    narrower = replace(one, outputs=one.outputs[:2])
    other = replace(make_spec(home, "other"), outputs=(*make_outputs(home, "other")[:2], ca))
    for specs in ((narrower, other), (other, narrower)):
        for i, spec in enumerate(specs):
            store.publish(lab().issue(spec), NOW + (i + 1) * MINUTE)
            assert Path(ca.path).read_bytes() == b"".join(lab().anchors)
            store.retire(spec, NOW + (i + 1) * MINUTE)
    assert drift(store, other) == {}
