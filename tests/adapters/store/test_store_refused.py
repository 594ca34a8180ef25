"""What the store refuses, and what it says."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.store import GenerationStore, filesystems
from certrotd.adapters.store.directory import Directory
from certrotd.adapters.store.filesystems import FileSystems
from certrotd.core.errors import PublishRefused, PublishUncertain
from tests.adapters.store.words import (
    MINUTE,
    as_root,
    bytes_of,
    on_disk,
)
from tests.factories import NOW, make_spec, make_verified

if TYPE_CHECKING:
    from certrotd.core.model import CertificateSpec


def test_a_damaged_copy_is_not_restored(store: GenerationStore, home: Path, tmp_path: Path) -> None:
    store.publish(make_verified(home), NOW)
    verified = make_verified(home)
    previous = store.publish(verified, NOW + MINUTE).previous
    assert previous
    (tmp_path / "state/history/server" / previous / "server.key").write_bytes(b"x")
    with pytest.raises(PublishRefused, match="damaged"):
        store.restore(verified.spec, previous, NOW + 2 * MINUTE)
    assert on_disk(verified.spec) == bytes_of(verified)


@pytest.mark.parametrize(
    "generation", ["../../..", "", ".", "/etc", "20269999T000000.000000Z-abcdef"]
)
def test_a_generation_that_is_none_is_refused(
    store: GenerationStore, home: Path, generation: str
) -> None:
    verified = make_verified(home)
    store.publish(verified, NOW)
    with pytest.raises(PublishRefused, match="not kept"):
        store.restore(verified.spec, generation, NOW + MINUTE)  # type: ignore[arg-type]


def check_refused(store: GenerationStore, spec: CertificateSpec, said: str) -> PublishRefused:
    with pytest.raises(PublishRefused, match=said) as caught:
        store.preflight([spec])
    assert caught.value.hint
    return caught.value


def test_a_missing_directory_is_refused(store: GenerationStore, home: Path) -> None:
    check_refused(store, make_spec(home / "missing"), "missing: does not exist")


def test_a_file_for_a_directory_is_refused(store: GenerationStore, home: Path) -> None:
    (home / "file").touch()
    check_refused(store, make_spec(home / "file"), "is not a directory")


def test_a_link_for_a_home_is_refused_and_its_end_named(store: GenerationStore, home: Path) -> None:
    (home.parent / "link").symlink_to("pki")
    error = check_refused(store, make_spec(home.parent / "link"), "is a link to")
    assert str(home) in error.hint


@pytest.mark.parametrize("bits", [0o777, 0o1777])
def test_a_directory_everybody_can_write_to_is_refused(
    store: GenerationStore, home: Path, bits: int
) -> None:
    home.chmod(bits)
    check_refused(store, make_spec(home), "everybody can write to it")
    with pytest.raises(PublishRefused, match="everybody can write to it"):
        store.publish(make_verified(home), NOW)
    assert list(home.iterdir()) == []


def test_a_parent_everybody_can_write_to_is_refused(store: GenerationStore, home: Path) -> None:
    parent = home / "parent"
    (parent / "pki").mkdir(parents=True)
    parent.chmod(0o777)
    check_refused(store, make_spec(parent / "pki"), "everybody can replace it")


@as_root
def test_a_directory_of_another_user_is_refused_to_root(store: GenerationStore, home: Path) -> None:
    os.chown(home, 1234, 5678)
    check_refused(store, make_spec(home), "belongs to user 1234")
    os.chown(home, 0, 5678)
    home.chmod(0o775)
    check_refused(store, make_spec(home), "group 5678 can write to it")


def test_an_output_in_a_generation_tree_is_refused(store: GenerationStore, home: Path) -> None:
    store.publish(make_verified(home), NOW)
    check_refused(store, make_spec(home / ".certrotd/gen/server", "other"), "generation tree")
    (home.parent / "short").symlink_to("pki/.certrotd")
    check_refused(store, make_spec(home.parent / "short/gen/server", "other"), "generation tree")


def test_a_tree_that_is_not_ours_is_refused(store: GenerationStore, home: Path) -> None:
    (home / "somewhere").mkdir()
    (home / ".certrotd").symlink_to("somewhere")
    check_refused(store, make_spec(home), ".certrotd")
    with pytest.raises(PublishRefused, match="certrotd"):
        store.publish(make_verified(home), NOW)
    assert list((home / "somewhere").iterdir()) == []


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused(
    store: GenerationStore, home: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    real = filesystems._types()
    monkeypatch.setattr(filesystems, "_types", lambda: dict.fromkeys(real, kind))
    check_refused(store, make_spec(home), f"lies on a {kind} file system")


def test_the_type_of_a_file_system_is_known(home: Path) -> None:
    with Directory.open("/proc") as directory:
        assert FileSystems()._kind(directory) == "proc"
    with Directory.open(str(home)) as directory:
        assert FileSystems()._kind(directory)


def test_all_problems_of_all_certificates_are_told_at_once(
    store: GenerationStore, home: Path
) -> None:
    home.chmod(0o777)
    specs = [make_spec(home, f"c{i}") for i in range(14)] + [make_spec(home / "missing")]
    with pytest.raises(PublishRefused) as caught:
        store.preflight(specs)
    assert len(str(caught.value).splitlines()) == 2


def test_one_directory_is_tried_once(
    store: GenerationStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = []
    real = os.fsync

    def fsync(fd: int) -> None:
        flushed.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    store.preflight([])
    assert flushed == []
    store.preflight([make_spec(home, f"c{i}") for i in range(14)])
    # The home, and three for making the history.
    assert len(flushed) <= 5
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "hint"), [(errno.ENOSPC, "free space"), (errno.EROFS, "ReadWritePaths")]
)
def test_an_error_names_the_path_and_what_to_do(
    store: GenerationStore,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    hint: str,
) -> None:
    verified = make_verified(home)
    store.publish(verified, NOW)

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "mkdir", fail)
    with pytest.raises(PublishRefused, match=os.strerror(code)) as caught:
        store.publish(make_verified(home), NOW + MINUTE)
    assert caught.value.path.startswith(str(home))
    assert hint in caught.value.hint
    assert on_disk(verified.spec) == bytes_of(verified)


def test_a_switch_the_disk_does_not_confirm_is_uncertain_and_told_apart(
    store: GenerationStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_verified(home), make_verified(home)
    store.publish(first, NOW)
    live = home / ".certrotd" / "live"
    real = os.fsync
    seen = 0

    def fsync(fd: int) -> None:
        nonlocal seen
        if str(Path(f"/proc/self/fd/{fd}").readlink()) == str(live):
            seen += 1
            if seen == 2:
                raise OSError(errno.EIO, "Input/output error")
        real(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(PublishUncertain, match="did not confirm"):
            store.publish(second, NOW + MINUTE)
    # Once more, as the rotator does: the way back leads past the unconfirmed one.
    previous = store.publish(second, NOW + MINUTE).previous
    assert previous
    assert on_disk(second.spec) == bytes_of(second)
    store.restore(second.spec, previous, NOW + 2 * MINUTE)
    assert on_disk(second.spec) == bytes_of(first)


@as_root
def test_a_full_file_system_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "small"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", str(home)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        store = GenerationStore(str(tmp_path / "state"), keep=3)
        verified = make_verified(home)
        store.publish(verified, NOW)
        filler = home / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(1 << 20))
        check_refused(store, verified.spec, "too little space")
        with pytest.raises(PublishRefused, match="No space left on device") as caught:
            store.publish(make_verified(home), NOW + MINUTE)
        assert caught.value.path.startswith(str(home))
        assert on_disk(verified.spec) == bytes_of(verified)
        filler.unlink()
        again = make_verified(home)
        store.publish(again, NOW + MINUTE)
        assert on_disk(again.spec) == bytes_of(again)
    finally:
        subprocess.run(["umount", str(home)], check=True)
