"""`certrotd rotate` as a process of its own: interrupted, terminated, without a standard input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from certrotd.core import x509
from certrotd.core.model import Secret
from tests.cli.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 30.0


class OneShot:
    """A rotation of etcd, whose activation waits until it is released, then of the apiserver."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.waiting, self.release = node.directory / "waiting", node.directory / "release"
        script = node.directory / "activate.sh"
        script.write_text(
            f'#!/bin/sh\ntouch "{self.waiting}"\n'
            f'while [ ! -e "{self.release}" ]; do sleep 0.05; done\n'
        )
        script.chmod(0o755)
        command = {"command": [str(script)], "timeout": "30s", "only_if": ["/bin/true"]}
        node.settings["components"] = {
            "etcd": node.component("etcd", activation={"exec": command}),
            "apiserver": node.component("apiserver", after=["etcd"]),
        }
        node.write()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "certrotd", "rotate", "--yes", "-c", str(node.config)],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + PATIENCE
        while not self.waiting.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def whole(self, name: str) -> bool:
        """Whether a pair is there and belongs together."""
        leaf, key = self.node.pair(name)
        return x509.owns(Secret(key), x509.split_pem(leaf)[0])


@pytest.fixture
def rotation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[OneShot]:
    made = OneShot(Node(tmp_path, capsys))
    yield made
    made.release.touch()
    if made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


def test_an_interrupt_lets_the_step_in_hand_finish(rotation: OneShot) -> None:
    rotation.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert rotation.process.poll() is None
    rotation.release.touch()
    code, _, err = rotation.end()
    assert code == 130
    assert "Finishing the step in hand" in err
    assert rotation.whole("etcd")
    assert not (rotation.node.directory / "pki" / "apiserver.crt").exists()
    assert "OWED" not in rotation.node.run("status").out


def test_a_second_interrupt_ends_at_once_and_the_next_run_finishes_what_is_owed(
    rotation: OneShot,
) -> None:
    rotation.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    rotation.process.send_signal(signal.SIGINT)
    code, _, _ = rotation.end()
    assert code == 130
    assert rotation.whole("etcd")
    assert "OWED: etcd" in rotation.node.run("status").out
    pair = rotation.node.pair("etcd")
    rotation.release.touch()
    assert rotation.node.run("rotate", "--yes").code == 0
    assert rotation.node.pair("etcd") == pair
    assert rotation.whole("apiserver")


def test_sigterm_defers_what_has_not_begun(rotation: OneShot) -> None:
    rotation.process.send_signal(signal.SIGTERM)
    rotation.release.touch()
    code, out, _ = rotation.end()
    assert code == 75
    assert "asked to stop" in out


def test_with_standard_input_closed_it_asks_for_yes(rotation: OneShot) -> None:
    rotation.release.touch()
    rotation.end()
    done = subprocess.run(
        f'exec "{sys.executable}" -m certrotd rotate --force -c "{rotation.node.config}" <&-',
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "give --yes" in done.stderr


def test_a_reader_that_goes_away_gets_no_traceback(rotation: OneShot) -> None:
    rotation.release.touch()
    rotation.end()
    certrotd = f'"{sys.executable}" -m certrotd history -c "{rotation.node.config}"'
    done = subprocess.run(
        ["bash", "-c", f"{certrotd} | true"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
