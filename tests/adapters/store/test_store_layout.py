"""What the store makes: links, modes, owners, labels."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.core.model import Output, OutputKind
from tests.adapters.store.words import (
    MINUTE,
    as_root,
    bytes_of,
    drift,
    mode,
    on_disk,
    umask,
    write_plain,
)
from tests.factories import NOW, lab, make_outputs, make_spec, make_verified

if TYPE_CHECKING:
    from certrotd.adapters.store import GenerationStore


def test_paths_are_relative_links_through_one_live_link(store: GenerationStore, home: Path) -> None:
    verified = make_verified(home)
    published = store.publish(verified, NOW)
    assert str((home / "server.crt").readlink()) == ".certrotd/live/server/server.crt"
    live = home / ".certrotd/live/server"
    assert str(live.readlink()) == f"../gen/server/{published.generation}"
    manifest = json.loads((live / "MANIFEST").read_text())
    assert manifest["serial"] == verified.leaf.serial
    assert {each["name"] for each in manifest["files"]} == {
        "server.crt",
        "server.key",
        "server-ca.crt",
    }


def test_links_hold_where_the_directory_is_mounted_elsewhere(
    store: GenerationStore, home: Path, tmp_path: Path
) -> None:
    verified = make_verified(home)
    store.publish(verified, NOW)
    inside = tmp_path / "container"
    home.rename(inside)
    assert (inside / "server.key").read_bytes() == verified.private_key.reveal()


def test_outputs_elsewhere_switch_with_the_home(
    store: GenerationStore, home: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "a" / "b"
    elsewhere.mkdir(parents=True)
    (tmp_path / "shortcut").symlink_to("a")
    through_a_link = tmp_path / "shortcut" / "b"
    spec = make_spec(home)
    spec = replace(
        spec,
        outputs=(
            *spec.outputs,
            Output(path=str(elsewhere / "server.crt"), kind=OutputKind.COMBINED, mode=0o600),
            Output(path=str(through_a_link / "other.key"), kind=OutputKind.KEY, mode=0o600),
        ),
    )
    store.preflight([spec])
    for i in range(2):
        verified = lab().issue(spec)
        store.publish(verified, NOW + i * MINUTE)
        assert on_disk(spec) == bytes_of(verified)
        assert drift(store, spec) == {}
    assert not (elsewhere / "server.crt").readlink().is_absolute()


def test_a_file_named_like_the_manifest_does_not_meet_it(
    store: GenerationStore, home: Path
) -> None:
    outputs = make_outputs(home)
    spec = make_spec(home, outputs=(replace(outputs[0], path=str(home / "MANIFEST")), outputs[1]))
    verified = lab().issue(spec)
    store.publish(verified, NOW)
    assert on_disk(spec) == bytes_of(verified)
    assert store.read(spec).generation


@pytest.mark.parametrize("mask", [0, 0o077])
def test_modes_are_as_configured_whatever_the_umask(
    store: GenerationStore, home: Path, mask: int
) -> None:
    spec = make_spec(home, outputs=make_outputs(home, mode=0o640))
    with umask(mask):
        store.publish(lab().issue(spec), NOW)
        store.publish(lab().issue(spec), NOW + MINUTE)
    assert mode(home / "server.key") == 0o640
    assert mode(home / "server.crt") == 0o644
    # Others may pass: each file keeps its own secret.
    for name in (".certrotd", ".certrotd/gen", ".certrotd/gen/server", ".certrotd/live/server"):
        assert mode(home / name) == 0o755
    assert drift(store, spec) == {}


def test_history_is_for_its_owner_alone(store: GenerationStore, home: Path, tmp_path: Path) -> None:
    spec = make_spec(home, outputs=make_outputs(home, mode=0o644))
    with umask(0):
        store.publish(lab().issue(spec), NOW)
        store.publish(lab().issue(spec), NOW + MINUTE)
    for directory, _, files in os.walk(tmp_path / "state"):
        assert mode(Path(directory)) == 0o700
        assert all(mode(Path(directory, each)) == 0o600 for each in files)


def test_history_shares_no_inode_with_what_is_watched(store: GenerationStore, home: Path) -> None:
    spec = make_spec(home)
    store.publish(lab().issue(spec), NOW)
    with (home / "server.key").open("rb") as watched:
        store.publish(lab().issue(spec), NOW + MINUTE)
        assert os.fstat(watched.fileno()).st_nlink == 1
        store.retire(spec, NOW + MINUTE)
        assert os.fstat(watched.fileno()).st_nlink == 0


@as_root
def test_owners_are_set_and_kept_through_a_rollback(store: GenerationStore, home: Path) -> None:
    plain = make_verified(home)
    write_plain(plain)
    key = home / "server.key"
    os.chown(key, 1234, 5678)
    key.chmod(0o440)
    outputs = tuple(replace(each, uid=4321, gid=8765) for each in make_outputs(home, mode=0o640))
    spec = make_spec(home, outputs=outputs)
    previous = store.publish(lab().issue(spec), NOW).previous
    assert (key.stat().st_uid, key.stat().st_gid, mode(key)) == (4321, 8765, 0o640)
    assert drift(store, spec) == {}
    assert previous
    store.restore(spec, previous, NOW + MINUTE)
    assert (key.stat().st_uid, key.stat().st_gid, mode(key)) == (1234, 5678, 0o440)
    assert on_disk(spec) == bytes_of(plain)


@as_root
def test_the_label_of_the_replaced_file_is_kept(store: GenerationStore, home: Path) -> None:
    plain = make_verified(home)
    write_plain(plain)
    label = b"system_u:object_r:cert_t:s0\0"
    try:
        os.setxattr(home / "server.key", "security.selinux", label)
    except OSError as e:
        pytest.skip(f"labels cannot be set here: {e.strerror}")
    for i in range(2):
        store.publish(make_verified(home), NOW + i * MINUTE)
        assert os.getxattr(home / "server.key", "security.selinux") == label
