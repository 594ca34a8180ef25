"""`certrotd kubelet approve` as a process of its own, with the rights of the manifests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from tests.kubelets.lab import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kubelets.lab import KubeletLab

MANIFESTS = Path(__file__).parents[2] / "config" / "kubernetes"
USER = "certrotd:kubelet-approver"


class ApproverProcess:
    """One instance with a configuration, a certificate and a log of its own."""

    def __init__(
        self,
        lab: KubeletLab,
        directory: Path,
        *,
        policy: Mapping[str, object] | None = None,
        root: Mapping[str, object] | None = None,
        user: str = USER,
        **more: object,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.lab = lab
        self.log = directory / "log"
        self.config = directory / "certrotd.yaml"
        who = lab.server(user)
        files = ("server", "ca_file", "certificate", "key")
        api = {key: getattr(who, key) for key in files}
        section = {"api": api, "policy": dict(policy or {}), **more}
        document = {"log": {"format": "json"}, "issuers": {}, **(root or {})}
        self.config.write_text(yaml.safe_dump(document | {"kubelet_approver": section}))
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "certrotd", "kubelet", *arguments, "-c", str(self.config)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        argv = self.command(*arguments)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command("approve"), stderr=log, stdout=log)
        self.wait_logged("daemon_started")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def events(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log about one event."""
        lines = self.log.read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [each for each in told if each["event"] == event]

    def wait_logged(self, event: str, **facts: object) -> dict[str, Any]:
        """Wait until an event with these facts was logged; return it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for each in self.events(event):
                if facts.items() <= each.items():
                    return each
            assert time.monotonic() < deadline, f"no {event} {facts} in {self.log.read_text()}"
            time.sleep(0.05)
