"""Two certrotd on one node, as processes: one works, the other waits or says who has the lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 60.0


class Two:
    """A node whose etcd is told by a script that waits until it is let go."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.stuck = node.directory / "stuck"
        self.told = node.directory / "told"
        script = node.directory / "tell.sh"
        script.write_text(
            f'#!/bin/sh\necho "$$" >> "{self.told}"\n'
            f'while [ -e "{self.stuck}" ]; do sleep 0.05; done\n'
        )
        script.chmod(0o755)
        command = {"command": [str(script)], "timeout": "60s", "only_if": ["/bin/true"]}
        node.settings["components"] = {
            "etcd": node.component("etcd", activation={"exec": command}),
        }
        node.write()
        self.stuck.touch()
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "certrotd", *words, "-c", str(self.node.config)]
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )
        self.processes.append(process)
        return process

    def wait_told(self, count: int = 1) -> None:
        """Wait until the script was run so many times: then certrotd is in the middle."""
        deadline = time.monotonic() + PATIENCE
        while not self.told.exists() or len(self.told.read_text().splitlines()) < count:
            assert time.monotonic() < deadline, "the script was never run"
            time.sleep(0.05)

    def close(self) -> None:
        self.stuck.unlink(missing_ok=True)
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Two]:
    made = Two(Node(tmp_path, capsys))
    yield made
    made.close()


@pytest.mark.parametrize("first", [("run",), ("rotate", "--yes")], ids=["daemon", "one-shot"])
def test_a_one_shot_says_who_is_at_work(two: Two, first: tuple[str, ...]) -> None:
    working = two.start(*first)
    two.wait_told()
    pair = two.node.pair("etcd")
    second = two.start("rotate", "--yes", "--force")
    _, said = second.communicate(timeout=PATIENCE)
    assert second.returncode == 5
    assert f"process {working.pid}" in said
    assert two.node.pair("etcd") == pair
    assert len(two.told.read_text().splitlines()) == 1


def test_a_one_shot_waits_a_little_for_the_other(two: Two) -> None:
    two.start("rotate", "--yes")
    two.wait_told()
    pair = two.node.pair("etcd")
    second = two.start("rotate", "--yes", "--force")
    two.stuck.unlink()
    assert second.wait(PATIENCE) == 0
    assert two.node.pair("etcd") != pair
    assert len(two.told.read_text().splitlines()) == 2


def test_of_two_daemons_one_works_and_the_other_tries_again_later(two: Two) -> None:
    first = two.start("run")
    two.wait_told()
    second = two.start("run")
    assert second.stderr is not None
    said = ""
    while "another certrotd" not in said:
        line = second.stderr.readline()
        assert line, f"it ended: {said}"
        said += line
    assert f"process {first.pid}" in said
    assert second.poll() is None
    two.stuck.unlink()
    for each in (first, second):
        each.send_signal(signal.SIGTERM)
        assert each.wait(PATIENCE) == 0
    assert len(two.told.read_text().splitlines()) == 1


def test_the_lock_of_a_dead_process_blocks_nobody(two: Two) -> None:
    first = two.start("rotate", "--yes")
    two.wait_told()
    first.kill()
    first.wait(PATIENCE)
    assert (two.node.directory / "state" / "lock").read_text().startswith(str(first.pid))
    two.stuck.unlink()
    second = two.start("rotate", "--yes")
    assert second.wait(PATIENCE) == 0
    assert "OWED" not in two.node.run("status").out
