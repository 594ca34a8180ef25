"""The demo as a first-time reader runs it, and what it leaves behind: nothing."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certrotd.demo import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

CERTROTD = [sys.executable, "-m", "certrotd"]
COMPONENTS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
CHANGE = re.compile(r"^  (\S+) +([0-9a-f]{12}) -> ([0-9a-f]{12})  \d+\.\d\d s", re.MULTILINE)
STILL = re.compile(r"^  (\S+) +([0-9a-f]{12})  (put back|left alone)$", re.MULTILINE)
LIMIT = 120


@dataclass(frozen=True, slots=True)
class Told:
    """What one whole demo said, and where its temporary folder was made."""

    folder: Path
    code: int
    text: str
    errors: str


@dataclass(frozen=True, slots=True)
class Both:
    """A demo that ended by itself and one that was kept."""

    ended: Told
    kept: Told


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    folder.mkdir()
    return subprocess.Popen(
        [*CERTROTD, "demo", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder)},
    )


def finish(folder: Path, process: subprocess.Popen[str]) -> Told:
    text, errors = process.communicate(timeout=LIMIT)
    return Told(folder, process.returncode, text, errors)


def command_lines() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                yield (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue


def assert_nothing_is_left(folder: Path) -> None:
    assert list(folder.iterdir()) == []
    assert [line for line in command_lines() if str(folder) in line] == []


def end_all(folder: Path) -> None:
    """Clean up whatever a failed test leaves."""
    for each in folder.glob("certrotd-demo-*"):
        processes.stop(each)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Two demos at once: they do not get in each other's way."""
    place = tmp_path_factory.mktemp("demo")
    one, other = place / "ended", place / "kept"
    try:
        ended, kept = start(one), start(other, "--keep")
        yield Both(finish(one, ended), finish(other, kept))
    finally:
        end_all(one)
        end_all(other)


def test_everything_told_was_so(both: Both) -> None:
    assert (both.ended.code, both.ended.errors) == (0, "")
    assert "All of this was checked as it was told" in both.ended.text


def test_no_colour_goes_into_a_pipe(both: Both) -> None:
    assert "\x1b" not in both.ended.text


def test_every_component_comes_to_serve_another_serial_in_order(both: Both) -> None:
    changes = CHANGE.findall(both.ended.text)
    assert [name for name, _, _ in changes[:4]] == COMPONENTS
    assert len({serial for _, *serials in changes[:4] for serial in serials}) == 8


def test_who_refuses_gets_the_old_serial_back_and_the_others_are_left_alone(both: Both) -> None:
    rotated = {name: new for name, _, new in CHANGE.findall(both.ended.text)[:4]}
    still = STILL.findall(both.ended.text)
    assert {name: serial for name, serial, _ in still} == rotated
    assert [name for name, _, what in still if what == "put back"] == ["kube-controller-manager"]
    assert "putting the old pair back" in both.ended.text


def test_after_the_hold_the_last_two_are_rotated(both: Both) -> None:
    before, _, after = both.ended.text.partition("$ certrotd resume")
    assert "rotation is on hold since" in before
    assert "CERTROTD CRITICAL" in before
    assert [name for name, _, _ in CHANGE.findall(after)] == COMPONENTS[2:]


def test_nothing_is_left_of_it(both: Both) -> None:
    assert_nothing_is_left(both.ended.folder)


def test_what_is_kept_can_be_looked_at_rotated_and_ended(both: Both) -> None:
    kept = both.kept
    assert (kept.code, kept.errors) == (0, "")
    (folder,) = kept.folder.iterdir()

    def certrotd(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CERTROTD, *words, "-c", str(folder / "certrotd.yaml")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=LIMIT,
        )

    assert json.loads(certrotd("plan", "-o", "json").stdout)["steps"] == []
    before = serials(certrotd("status", "-o", "json").stdout)
    assert certrotd("check").stdout.startswith("CERTROTD OK")
    report = json.loads(certrotd("rotate", "--force", "--yes", "-o", "json").stdout)
    assert [step["component"] for step in report["steps"]] == COMPONENTS
    after = serials(certrotd("status", "-o", "json").stdout)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())

    last = kept.text.splitlines()[-1]
    subprocess.run(shlex.split(last), check=True, timeout=LIMIT)
    assert_nothing_is_left(kept.folder)


def serials(status: str) -> dict[str, str]:
    """Return the serials of what servers present; all of them must present what is published."""
    found = json.loads(status)["certificates"]
    assert all(each["served"] in (True, None) and not each["reasons"] for each in found)
    assert sum(each["served"] is True for each in found) == 5
    return {each["certificate"]: each["serial"] for each in found}


def read_until(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return
    pytest.fail(f"the demo ended before it said {beginning!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "demo"
    try:
        process = start(folder)
        read_until(process, "Rotate")
        process.send_signal(number)
        told = finish(folder, process)
        assert (told.code, told.errors.strip()) == (130, "Interrupted.")
        assert_nothing_is_left(folder)
    finally:
        end_all(folder)


def test_servers_do_not_outlive_a_demo_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    try:
        process = start(folder)
        read_until(process, "Plan")
        (inner,) = folder.iterdir()
        servers = processes.running(inner)
        assert sorted(servers.values()) == COMPONENTS
        with ExitStack() as stack:
            opened = [os.pidfd_open(pid) for pid in servers]
            for each in opened:
                stack.callback(os.close, each)
            process.kill()
            finish(folder, process)
            for each in opened:
                assert select.select([each], [], [], LIMIT)[0]
    finally:
        end_all(folder)


def test_a_reader_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    try:
        process = start(folder)
        assert process.stdout is not None
        read_until(process, "Plan")
        process.stdout.close()
        process.wait(LIMIT)
        assert_nothing_is_left(folder)
        assert process.stderr is not None
        process.stderr.close()
    finally:
        end_all(folder)
