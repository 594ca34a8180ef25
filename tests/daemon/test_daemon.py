"""`certrotd run` as a process of its own, told by real signals, telling a real notify socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from certrotd.core import x509
from tests.cli.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 30.0


class Daemon:
    """The daemon, its notify socket and its log."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.log = node.directory / "log"
        self._address = str(node.directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self._address)
        self.socket.settimeout(PATIENCE)
        self.told: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, told: str = "READY=1", watchdog: float | None = None) -> Self:
        environment = {"NOTIFY_SOCKET": self._address, "PATH": os.environ["PATH"]}
        if watchdog:
            environment["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        argv = [sys.executable, "-m", "certrotd", "run", "-c", str(self.node.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, env=environment, stderr=log, stdout=log)
        self.wait_told(told)
        return self

    def wait_told(self, text: str) -> None:
        """Wait until systemd would have been told this."""
        while not any(text in each for each in self.told):
            self.told.append(self.socket.recv(4096).decode())

    def wait_logged(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until an event was logged so many times; return the last."""
        deadline = time.monotonic() + PATIENCE
        while len(found := [e for e in self.events() if e["event"] == event]) < count:
            assert time.monotonic() < deadline, f"no {event} in {self.log.read_text()}"
            time.sleep(0.05)
        return found[-1]

    def events(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.socket.close()


@pytest.fixture
def daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Daemon]:
    made = Daemon(Node(tmp_path, capsys))
    yield made
    made.close()


def test_it_rotates_what_is_due_when_it_starts_and_ends_on_sigterm(daemon: Daemon) -> None:
    daemon.start()
    daemon.wait_logged("run_finished")
    leaf, key = daemon.node.pair("etcd")
    assert x509.split_pem(leaf)
    assert b"PRIVATE KEY" in key
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    daemon.wait_told("STOPPING=1")
    assert [e["event"] for e in daemon.events()][-1] == "daemon_stopped"


def test_it_takes_a_new_configuration_and_rejects_a_faulty_one(daemon: Daemon) -> None:
    daemon.start()
    daemon.wait_logged("run_finished")
    good = daemon.node.config.read_text()
    daemon.node.config.write_text(good.replace("common_name", "comon_name"))
    daemon.send(signal.SIGHUP)
    rejected = daemon.wait_logged("config_rejected")
    assert any("comon_name" in each for each in rejected["problems"])
    assert any("certrotd.yaml:" in each for each in rejected["problems"])
    daemon.node.settings["components"]["scheduler"] = daemon.node.component("scheduler")
    daemon.node.write()
    daemon.told.clear()
    daemon.send(signal.SIGHUP)
    daemon.wait_logged("config_reloaded")
    daemon.wait_told("RELOADING=1")
    daemon.wait_told("READY=1")
    daemon.send(signal.SIGUSR1)
    daemon.wait_logged("run_finished", 2)
    assert daemon.node.pair("scheduler")
    assert "due" not in daemon.node.run("plan").out.replace("Nothing is due", "")


def test_it_shows_the_watchdog_that_it_lives(daemon: Daemon) -> None:
    daemon.start(watchdog=0.2)
    daemon.wait_told("WATCHDOG=1")


def test_a_faulty_configuration_keeps_it_from_starting(daemon: Daemon) -> None:
    daemon.node.config.write_text("components: []")
    process = subprocess.run(
        [sys.executable, "-m", "certrotd", "run", "-c", str(daemon.node.config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 3
    assert "certrotd.yaml:1" in process.stderr


def test_sigterm_finishes_the_step_in_hand_and_leaves_the_next(daemon: Daemon) -> None:
    directory = daemon.node.directory
    release = directory / "release"
    script = directory / "activate.sh"
    script.write_text(f'#!/bin/sh\nwhile [ ! -e "{release}" ]; do sleep 0.05; done\n')
    script.chmod(0o755)
    exec_ = {"activation": {"exec": {"command": [str(script)], "timeout": "30s",
                                     "only_if": ["/bin/true"]}}}  # fmt: skip
    daemon.node.settings["components"] = {
        "etcd": daemon.node.component("etcd", **exec_),
        "apiserver": daemon.node.component("apiserver", after=["etcd"]),
    }
    daemon.node.write()
    daemon.start()
    daemon.wait_logged("certificate_published")
    daemon.send(signal.SIGTERM)
    daemon.wait_told("STOPPING=1")
    release.touch()
    assert daemon.wait() == 0
    finished = {e["component"]: e for e in daemon.events() if e["event"] == "step_finished"}
    assert set(finished) == {"etcd"}
    assert not (directory / "pki" / "apiserver.crt").exists()


def test_killed_in_the_middle_the_next_start_finishes_what_is_owed(daemon: Daemon) -> None:
    directory = daemon.node.directory
    stuck, told = directory / "stuck", directory / "told"
    stuck.touch()
    script = directory / "activate.sh"
    script.write_text(
        f'#!/bin/sh\nwhile [ -e "{stuck}" ]; do sleep 0.05; done\necho told >> "{told}"\n'
    )
    script.chmod(0o755)
    daemon.node.settings["components"] = {
        "etcd": daemon.node.component("etcd", activation={
            "exec": {"command": [str(script)], "timeout": "30s", "only_if": ["/bin/true"]}
        })
    }  # fmt: skip
    daemon.node.write()
    daemon.start()
    daemon.wait_logged("certificate_published")
    daemon.send(signal.SIGKILL)
    daemon.wait()
    pair = daemon.node.pair("etcd")
    stuck.unlink()
    told.unlink(missing_ok=True)
    assert "OWED: etcd" in daemon.node.run("status").out
    daemon.told.clear()
    daemon.start()
    daemon.wait_logged("step_finished")
    assert daemon.node.pair("etcd") == pair
    assert told.read_text().endswith("told\n")
    assert "OWED" not in daemon.node.run("status").out


def test_on_hold_it_says_so_once_and_goes_on_after_resume(daemon: Daemon) -> None:
    daemon.node.run("hold", "maintenance")
    daemon.start()
    held = daemon.wait_logged("run_deferred")
    assert "maintenance" in held["error"]
    daemon.node.run("resume")
    daemon.send(signal.SIGUSR1)
    daemon.wait_logged("run_finished")
    assert len([e for e in daemon.events() if e["event"] == "run_deferred"]) == 1


def test_a_kubelet_in_trouble_is_told_once_and_keeps_nothing_else_from_going_on(
    daemon: Daemon,
) -> None:
    token = daemon.node.directory / "token"
    token.touch(mode=0o600)
    token.write_text("abcdef.0123456789abcdef")
    daemon.node.settings["kubelet"] = {
        "server": "https://127.0.0.1:1",
        "ca_file": str(daemon.node.directory / "ca.crt"),
        "directory": str(daemon.node.directory / "kubelet"),
        "kubeconfig": str(daemon.node.directory / "kubelet.conf"),
        "bootstrap": {"token_file": str(token)},
        "patience": "0s",
    }
    daemon.node.write()
    daemon.start()
    deferred = daemon.wait_logged("kubelet_deferred")
    assert "does not answer" in deferred["error"]
    daemon.wait_logged("run_finished")
    for count in (1, 2):
        # Each is a tick of its own.
        daemon.send(signal.SIGUSR1)
        time.sleep(1)
        daemon.send(signal.SIGHUP)
        daemon.wait_logged("config_reloaded", count)
    requested = [e["request"] for e in daemon.events() if e["event"].endswith("_requested")]
    assert len(requested) == 1, "one request, that waits for the API server"
    assert "0123456789abcdef" not in daemon.log.read_text()
