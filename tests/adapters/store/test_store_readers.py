"""What others see: ordinary users, and whoever reads meanwhile."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.store import GenerationStore
from certrotd.core import render, x509
from certrotd.core.errors import PublishRefused
from certrotd.core.model import Secret, StoredFile
from tests.adapters.store.words import (
    MINUTE,
    as_root,
    bytes_of,
    umask,
    write_plain,
)
from tests.factories import NOW, lab, make_outputs, make_spec, make_verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def as_nobody(work: Callable[[], None]) -> None:
    """Run in a child that is an ordinary user."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def open_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="certrotd-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@as_root
def test_an_ordinary_user_sees_what_its_rights_allow(open_home: Path) -> None:
    home = open_home / "pki"
    home.mkdir()
    store = GenerationStore(str(open_home / "state" / "history"), keep=3)
    outputs = make_outputs(home, mode=0o640)
    spec = make_spec(home, outputs=(outputs[0], replace(outputs[1], gid=65534), outputs[2]))
    other = make_spec(home, "other")
    with umask(0o077):
        for each in (spec, other):
            store.publish(lab().issue(each), NOW)
            store.publish(lab().issue(each), NOW + MINUTE)

    def look() -> None:
        found = store.read(spec)
        assert all(each.content is not None and not each.drift for each in found.files)
        assert found.published_at == NOW + MINUTE
        secret = store.read(other).files[1]
        assert secret.content is None
        assert secret.problem == "permission denied"
        with pytest.raises(PublishRefused, match="Permission denied"):
            store.history(spec)
        with pytest.raises(PublishRefused, match="Permission denied"):
            store.publish(make_verified(home), NOW)
        with pytest.raises(PublishRefused, match="may not give it the owner"):
            store.preflight([replace(spec, outputs=(replace(outputs[0], uid=0),))])

    as_nobody(look)


@as_root
def test_an_ordinary_user_can_keep_files_of_its_own(open_home: Path) -> None:
    home = open_home / "pki"
    home.mkdir()
    os.chown(open_home, 65534, 65534)
    os.chown(home, 65534, 65534)
    store = GenerationStore(str(open_home / "state" / "history"), keep=3)

    def work() -> None:
        verified = make_verified(home)
        write_plain(verified)
        store.preflight([verified.spec])
        store.publish(verified, NOW)
        previous = store.publish(make_verified(home), NOW + MINUTE).previous
        assert previous
        store.restore(verified.spec, previous, NOW + 2 * MINUTE)
        assert store.retire(verified.spec, NOW + 2 * MINUTE) == 3

    as_nobody(work)


def test_a_reader_never_sees_a_missing_half_or_unmatched_file(
    store: GenerationStore, home: Path
) -> None:
    spec = make_spec(home)
    pairs = [lab().issue(spec) for _ in range(12)]
    known = {path: {bytes_of(each)[path] for each in pairs} for path in bytes_of(pairs[0])}
    write_plain(pairs[0])
    (home / "server.key").chmod(0o600)
    done = threading.Event()
    faults: list[str] = []

    def watch() -> None:
        while not done.is_set():
            faults.extend(_one_look(known))
            faults.extend(_look_through_one_directory(home))
            if not _matches(store.read(spec).files):
                faults.append("read: unmatched")

    readers = [threading.Thread(target=watch) for _ in range(2)]
    for each in readers:
        each.start()
    try:
        for i, pair in enumerate(pairs[1:]):
            at = NOW + i * MINUTE
            previous = store.publish(pair, at).previous
            if previous and i % 3 == 2:
                store.restore(spec, previous, at)
            # The replaced generation stays a while for readers in flight, as the grace does.
            store.retire(spec, at - MINUTE)
    finally:
        done.set()
        for each in readers:
            each.join()
    assert faults == []


def _one_look(known: dict[str, set[bytes]]) -> Iterator[str]:
    """Open each path once, as a component does."""
    for path, contents in known.items():
        try:
            with Path(path).open("rb") as file:
                if file.read() not in contents:
                    yield f"{path}: half"
                if path.endswith(".key") and os.fstat(file.fileno()).st_mode & 0o077:
                    yield f"{path}: wide"
        except FileNotFoundError:
            yield f"{path}: missing"


def _look_through_one_directory(home: Path) -> Iterator[str]:
    """Read as a component that holds the directory: both files come from one generation."""
    try:
        fd = os.open(home / ".certrotd/live/server", os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # not adopted yet
    try:
        chain, key = (_read_at(fd, name) for name in ("server.crt", "server.key"))
    except FileNotFoundError:
        yield "retired too early"
        return
    finally:
        os.close(fd)
    leaf = x509.parse_certificate(x509.split_pem(chain)[0])
    if x509.public_key_of(Secret(key)) != leaf.public_key:
        yield "a mixed generation"


def _read_at(directory: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY, dir_fd=directory)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)


def _matches(files: tuple[StoredFile, ...]) -> bool:
    held = render.identity(files)
    leaf = x509.parse_certificate(held.chain[0])
    return held.private_key is not None and x509.public_key_of(held.private_key) == leaf.public_key
