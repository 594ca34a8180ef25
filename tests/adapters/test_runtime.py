"""What real processes say about themselves, and when files were changed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.processes import ProgramVersion, UnitVersion, systemd
from certrotd.adapters.runtime import LARGEST, GivenVersion, ProcessRuntime
from certrotd.core.model import ReadFile, RuntimeFacts
from certrotd.core.reloading import parse_version
from tests.factories import lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certrotd.core.model import SeenFile

servers = pytest.mark.servers

BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
PAUSE = 0.02
"""Longer than the steps in which file systems keep time, in seconds."""


def age(path: Path) -> None:
    """Let the content of a file be years old."""
    os.utime(path, (BEFORE.timestamp(), BEFORE.timestamp()))


def seen(path: Path, runtime: ProcessRuntime | None = None) -> SeenFile:
    (found,) = (runtime or ProcessRuntime()).files((ReadFile(path=str(path), material="ca"),))
    return found


def now() -> datetime:
    """Now, between two steps of the file systems' clock."""
    time.sleep(PAUSE)
    at = SystemClock().now()
    time.sleep(PAUSE)
    return at


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(lab().certificate)
    return path


def written_in_place(path: Path) -> None:
    path.write_bytes(b"new")


def replaced_by_an_older_file(path: Path) -> None:
    older = path.with_name("older")
    older.write_bytes(b"old")
    age(older)
    time.sleep(PAUSE)
    older.rename(path)


def copied_over_with_its_time(path: Path) -> None:
    older = path.with_name("older")
    older.write_bytes(b"old")
    age(older)
    shutil.copy2(older, path)


@pytest.mark.parametrize(
    "change", [written_in_place, replaced_by_an_older_file, copied_over_with_its_time]
)
def test_another_content_is_a_change_whatever_its_time(
    file: Path, change: Callable[[Path], None]
) -> None:
    runtime = ProcessRuntime()
    age(file)
    before = seen(file, runtime).changed_at
    started = now()
    assert before
    assert before < started
    change(file)
    changed = seen(file, runtime).changed_at
    assert changed
    assert started < changed < now()
    assert seen(file).changed_at == changed


def test_a_link_that_is_flipped_to_an_older_file_is_a_change(tmp_path: Path) -> None:
    generations = [tmp_path / "gen" / name for name in ("a", "b")]
    for each in generations:
        each.mkdir(parents=True)
        (each / "ca.crt").write_bytes(lab().certificate + each.name.encode())
    live, link = tmp_path / "live", tmp_path / "ca.crt"
    live.symlink_to("gen/a")
    link.symlink_to("live/ca.crt")
    started = now()
    assert (first := seen(link).changed_at)
    assert first < started
    (tmp_path / "next").symlink_to("gen/b")
    (tmp_path / "next").rename(live)
    assert (second := seen(link).changed_at)
    assert second > started


def test_an_absolute_link_and_one_upwards_are_followed(file: Path) -> None:
    folder = file.with_name("folder")
    folder.mkdir()
    (folder / "up").symlink_to("../ca.crt")
    (folder / "absolute").symlink_to(folder / "up")
    assert (found := seen(folder / "absolute")).certificates == 1
    assert found.changed_at
    assert found.changed_at >= datetime.fromtimestamp((folder / "absolute").lstat().st_ctime, UTC)


@pytest.mark.parametrize("touch", ["chmod", "hard link", "utime"])
def test_another_mode_is_a_change_only_to_who_did_not_see_the_content(
    file: Path, touch: str
) -> None:
    runtime = ProcessRuntime()
    before = seen(file, runtime).changed_at
    started = now()
    if touch == "chmod":
        file.chmod(0o600)
    elif touch == "hard link":
        os.link(file, file.with_name("backup"))
    else:
        age(file)
    assert seen(file, runtime).changed_at == before
    stranger = seen(file).changed_at
    assert stranger
    assert stranger > started


def test_certificates_are_counted(file: Path) -> None:
    assert seen(file).certificates == 1
    file.write_bytes(lab().certificate * 3)
    assert seen(file).certificates == 3
    file.write_bytes(b"-----BEGIN PUBLIC KEY-----\n")
    found = seen(file)
    assert (found.certificates, found.problem) == (0, "")


def test_a_broken_certificate_is_a_problem(file: Path) -> None:
    file.write_bytes(lab().certificate[:-20])
    found = seen(file)
    assert found.problem == "cannot be used: PEM certificate 1 has no end"
    assert found.changed_at


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "No such file or directory"),
        (Path.mkdir, "it is no regular file"),
        (fifo, "it is no regular file"),
        (loop, "Too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_read_is_a_problem(
    tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    make(tmp_path / "x")
    found = seen(tmp_path / "x")
    assert found.changed_at is None
    assert found.problem == f"cannot be read: {why}"


def test_a_huge_file_is_read_in_part(file: Path) -> None:
    with file.open("ab") as grown:
        grown.truncate(LARGEST * 3)
    assert seen(file).certificates == 1


class Source:
    """Says what the test says, and counts."""

    def __init__(self, told: RuntimeFacts) -> None:
        self.told = told
        self.asked = 0

    def read(self) -> RuntimeFacts:
        self.asked += 1
        return self.told


def test_the_first_source_that_answers_counts() -> None:
    mute, spare = Source(RuntimeFacts(detail="a: refused")), Source(RuntimeFacts(version="9"))
    facts = ProcessRuntime((mute, GivenVersion("v1.37.2"), spare)).facts()
    assert facts == RuntimeFacts(version="v1.37.2", detail="v1.37.2 (configured)")
    assert (mute.asked, spare.asked) == (1, 0)


def test_when_none_answers_all_say_why() -> None:
    sources = (
        Source(RuntimeFacts(detail="a: refused")),
        Source(RuntimeFacts(detail="b: no version")),
    )
    assert ProcessRuntime(sources).facts() == RuntimeFacts(detail="a: refused; b: no version")


def test_a_loopback_certificate_that_is_not_seen_is_told_beside_the_version() -> None:
    loopback = Source(RuntimeFacts(detail="c: refused"))
    facts = ProcessRuntime((GivenVersion("1"),), loopback).facts()
    assert (facts.version, facts.detail) == ("1", "1 (configured); c: refused")
    ends = RuntimeFacts(loopback_ends=BEFORE)
    assert ProcessRuntime((), Source(ends)).facts() == ends


def script(path: Path, body: str, mode: int = 0o755) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("Kubernetes v1.37.2", "v1.37.2"),
        ("etcd Version: 3.6.16\nGit SHA: abc123\nGo Version: go1.26.8", "3.6.16"),
        ("Kubernetes v1.36.2-gke.1+abc", "v1.36.2-gke.1+abc"),
        ("containerd github.com/containerd/containerd v2.3.7 2.1.0", "v2.3.7"),
        ("konnectivity 0.31", "0.31"),
    ],
)
def test_a_program_s_version_is_read(tmp_path: Path, printed: str, told: str) -> None:
    path = script(tmp_path / "program", f"echo '{printed}'")
    facts = ProgramVersion(path).read()
    assert facts == RuntimeFacts(version=told, detail=f"{told} ({path} --version)")
    assert parse_version(told)


@pytest.mark.parametrize(
    ("body", "mode", "why"),
    [
        ("echo hello", 0o755, "prints no version"),
        ("echo broken >&2; exit 3", 0o755, "exit status 3: broken"),
        ("echo 1.2.3", 0o644, "it is not executable"),
        ("echo 1.2.3", 0o757, "can be written by everybody"),
    ],
)
def test_a_program_that_tells_no_version_is_told(
    tmp_path: Path, body: str, mode: int, why: str
) -> None:
    facts = ProgramVersion(script(tmp_path / "program", body, mode)).read()
    assert facts.version is None
    assert why in facts.detail


@contextmanager
def process(path: str) -> Iterator[int]:
    with subprocess.Popen([path, "60"]) as started:
        try:
            yield started.pid
        finally:
            started.kill()


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], RuntimeFacts]:
    """Ask a process as if it were a unit's main process; tests/systemd has real units."""

    def ask(pid: int) -> RuntimeFacts:
        monkeypatch.setattr(systemd, "main_process", lambda _unit: pid)
        return UnitVersion("it.service").read()

    return ask


def test_the_program_a_process_runs_is_asked_though_its_file_is_gone(
    tmp_path: Path, running: Callable[[int], RuntimeFacts]
) -> None:
    copy = tmp_path / "sleep"
    shutil.copy("/bin/sleep", copy)
    with process(str(copy)) as pid:
        copy.unlink()
        script(copy, "echo 99.99.99")
        facts = running(pid)
    printed = subprocess.run(
        ["/bin/sleep", "--version"], capture_output=True, text=True, check=True
    )
    assert facts.version
    assert facts.version in printed.stdout.splitlines()[0]
    assert facts.detail == f"{facts.version} (main process {pid} of it.service --version)"


@pytest.mark.parametrize("who", ["group", "owner"])
def test_a_program_that_others_can_change_is_not_run(
    tmp_path: Path, running: Callable[[int], RuntimeFacts], who: str
) -> None:
    copy = tmp_path / "sleep"
    shutil.copy("/bin/sleep", copy)
    if who == "group":
        copy.chmod(copy.stat().st_mode | stat.S_IWGRP)
    elif os.geteuid() == 0:
        os.chown(copy, 1234, 1234)
    else:
        pytest.skip("only root can give a file away")
    with process(str(copy)) as pid:
        facts = running(pid)
    assert facts.version is None
    assert facts.detail.endswith(": its program can be changed by others, and is not run")


def test_a_process_that_has_gone_is_told(running: Callable[[int], RuntimeFacts]) -> None:
    with process("/bin/sleep") as pid:
        pass
    facts = running(pid)
    assert facts.version is None
    assert ": its program cannot be read: " in facts.detail


def test_a_unit_that_cannot_be_asked_is_told() -> None:
    facts = UnitVersion("certrotd-nobody.service").read()
    assert facts.version is None
    assert facts.detail.startswith("certrotd-nobody.service: ")
