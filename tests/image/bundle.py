"""Containers of the built image, run by runc the way a kubelet has them run in a pod.

Not root, no capabilities, a read-only root, and, as in a pod, one network and one process table for
all containers; only volumes are shared.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.build import Image

PATIENCE = 60.0
"""Time limit, in seconds, for an event and for a container's end."""


@dataclass
class Sidecar:
    """One running container; a context manager that ends it."""

    image: Image
    name: str
    directory: Path
    volumes: dict[Path, str]
    arguments: tuple[str, ...] | None = None
    """In place of the image's entry point and command."""
    beside: Sidecar | None = None
    """A container of the same pod: its network and its processes are this one's, too."""
    lines: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.directory.mkdir()
        (self.directory / "config.json").write_text(json.dumps(self._specification()))
        self._process = subprocess.Popen(
            [
                "runc", f"--root={self.directory / 'state'}", "run", "--no-new-keyring",
                f"--bundle={self.directory}", self.name,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._runc("delete", "--force", self.name)
        self._process.communicate()

    @property
    def pid(self) -> int:
        """The container's first process, as this machine counts."""
        return int(json.loads(self._runc("state", self.name))["pid"])

    def await_line(self, text: str) -> str:
        """Wait until it prints a line with the text."""
        late = threading.Timer(PATIENCE, self._process.kill)
        late.start()
        try:
            for line in self._process.stdout or ():
                self.lines.append(line)
                if text in line:
                    return line
        finally:
            late.cancel()
        raise AssertionError(f"{self.name} did not print {text!r}:\n{''.join(self.lines)}")

    def stop(self) -> int:
        """End it as a kubelet does, with the image's signal; return its exit status."""
        self._runc("kill", self.name, self.image.config["StopSignal"])
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; return its exit status."""
        rest, _ = self._process.communicate(timeout=PATIENCE)
        self.lines.extend(rest.splitlines(keepends=True))
        return self._process.returncode

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as the container's user."""
        return subprocess.run(
            ["runc", f"--root={self.directory / 'state'}", "exec", self.name, *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def _runc(self, *command: str) -> str:
        done = subprocess.run(
            ["runc", f"--root={self.directory / 'state'}", *command],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return done.stdout

    def _specification(self) -> dict[str, Any]:
        config = self.image.config
        user, group = map(int, config["User"].split(":"))
        shared = {} if self.beside is None else {
            kind: f"/proc/{self.beside.pid}/ns/{file}"
            for kind, file in (("pid", "pid"), ("network", "net"), ("ipc", "ipc"))
        }  # fmt: skip
        kinds = ("pid", "network", "ipc", "uts", "mount")
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.image.root), "readonly": True},
            "hostname": "pod",
            "process": {
                "user": {"uid": user, "gid": group},
                "args": list(self.arguments or (*config["Entrypoint"], *config["Cmd"])),
                "env": config["Env"],
                "cwd": config["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "mode=755"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
                *(
                    {"destination": inside, "type": "bind", "source": str(outside),
                     "options": ["rbind", "rw"]}
                    for outside, inside in self.volumes.items()
                ),
            ],
            "linux": {
                "namespaces": [
                    {"type": kind} | ({"path": shared[kind]} if kind in shared else {})
                    for kind in kinds
                ],
                # Every container of this machine has the control groups of this process.
                "cgroupsPath": f"/certrotd-{os.getpid()}-{self.name}",
            },
        }  # fmt: skip
