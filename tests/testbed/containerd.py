"""Debian's containerd inside a node's namespaces, and what runs in it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.testbed.images import write_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.testbed.namespaces import Namespaces

SOCKET = "/run/containerd/containerd.sock"
_CONFIG = "/etc/containerd/config.toml"
_NAMESPACE = "k8s.io"
_TASKS = f"/run/containerd/io.containerd.runtime.v2.task/{_NAMESPACE}"
_CGROUPS = Path("/sys/fs/cgroup")
_NAME = "io.kubernetes.container.name"
# No pod here has a network of its own, but a node without any network is not Ready.
_NETWORK = """{"cniVersion": "1.0.0", "name": "loopback", "plugins": [{"type": "loopback"}]}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A running container; `pid` counts inside the node, `started` is a POSIX timestamp."""

    id: str
    pid: int
    started: float


class Containerd:
    """The daemon, with root and state below the node's directory."""

    def __init__(self, namespaces: Namespaces, pause_image: str) -> None:
        self._namespaces = namespaces
        self._pause_image = pause_image

    def start(self) -> None:
        """Start it and wait until it answers; it ends with the namespaces.

        Raises:
            ServerFailed: it did not.
        """
        for path, text in ((_CONFIG, self._config()), ("/etc/cni/net.d/99.conflist", _NETWORK)):
            file = self._namespaces.path(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        binary = shutil.which("containerd")
        if binary is None:
            raise FileNotFoundError("containerd is not installed")
        process = self._namespaces.process("containerd", binary, f"--config={_CONFIG}")
        process.start().wait_ready(self._answers)

    def load(self, name: str, binary: Path, program: str) -> None:
        """Let a static binary be an image."""
        archive = self._namespaces.directory / f"{program}.tar"
        write_image(archive, name, binary, program)
        self._ctr("images", "import", str(archive))
        archive.unlink()

    @staticmethod
    def remove_control_groups(containers: Sequence[str]) -> None:
        """Remove what the kernel keeps of containers that ended with the node."""
        # Unlike Path.glob, os.walk passes over what others on this machine remove meanwhile.
        for name, _, _ in os.walk(_CGROUPS, topdown=False):
            folder = Path(name)
            if folder.parent.name == _NAMESPACE and folder.name in containers:
                folder.rmdir()
            elif folder.name == _NAMESPACE:
                with suppress(OSError):  # another containerd's are in it
                    folder.rmdir()

    def containers(self) -> list[str]:
        """Ids of all containers and sandboxes; none if it never ran."""
        return [each.name for each in self._namespaces.path(_TASKS).glob("*")]

    def running(self, name: str) -> Container | None:
        """The running container of this name in any pod, if there is one."""
        ids = self._ctr("containers", "list", "--quiet", f'labels."{_NAME}"=={name}')
        tasks = (line.split() for line in self._ctr("tasks", "list").splitlines()[1:])
        pids = {task: int(pid) for task, pid, status in tasks if status == "RUNNING"}
        for each in ids.split():
            if each in pids and (started := self._started(pids[each])):
                return Container(id=each, pid=pids[each], started=started)
        return None

    def _answers(self) -> bool:
        command = ("ctr", f"--address={SOCKET}", "version")
        return self._namespaces.run(*command, check=False).returncode == 0

    def _started(self, pid: int) -> float | None:
        try:
            fields = self._namespaces.path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2]
        except (FileNotFoundError, ProcessLookupError):
            return None
        booted = self._namespaces.path("/proc/stat").read_text().partition("btime ")[2].split()[0]
        return int(booted) + int(fields.split()[19]) / os.sysconf("SC_CLK_TCK")

    def _ctr(self, *arguments: str) -> str:
        command = ("ctr", f"--address={SOCKET}", f"--namespace={_NAMESPACE}", *arguments)
        return self._namespaces.run(*command).stdout

    def _config(self) -> str:
        return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{self._pause_image}"
disable_apparmor = true
# Without CAP_SYS_RESOURCE no container could get the score that the kubelet asks for.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""
