"""A real containerd with pods in it, and somebody who keeps them, as a kubelet would."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc

from certrotd.adapters.cri.containers import Phase
from certrotd.adapters.cri.runtime import Runtime
from tests.testbed.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "certrotd.test/sleep:1"
HOST = ("/bin", "/usr", "/lib", "/lib64")
CONFIG = """
version = 2
root = "{root}/root"
state = "{root}/state"
[grpc]
  address = "{root}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
"""
messages: Any = grpc.protos("tests/adapters/cri_making.proto")


class Containerd:
    """Its own root, state and socket below `root`; the name of the socket must stay short."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.endpoint = f"{root}/containerd.sock"
        config = root / "config.toml"
        config.write_text(CONFIG.format(root=root, image=IMAGE))
        argv = (shutil.which("containerd") or "containerd", "-c", config)
        self.process = ServerProcess("containerd", argv, directory=root)
        self._channel = grpc.insecure_channel(
            f"unix:{self.endpoint}", (("grpc.default_authority", "localhost"),)
        )

    def __enter__(self) -> Self:
        self.process.start().wait_ready(self._serves)
        archive = self.root / "image.tar"
        _write_image(archive)
        self._ctr("images", "import", str(archive))
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self.process.stop()

    def call(self, method: str, asked: Any, answer: Any = None) -> Any:
        """Call one of the runtime's methods."""
        call = self._channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=type(asked).SerializeToString,
            response_deserializer=(answer or messages.Empty).FromString,
        )
        return call(asked, timeout=60)

    def _serves(self) -> bool:
        done = self._ctr("version", check=False)
        return done.returncode == 0

    def _ctr(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ("ctr", "-a", self.endpoint, "-n", "k8s.io", *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=check)


class Pod:
    """A pod with one container, with the labels and annotations that a kubelet sets.

    The container runs `script` in a shell, with the host's programs and `work` at /work.
    """

    def __init__(
        self, containerd: Containerd, name: str, script: str, work: Path, *, static: bool = True
    ) -> None:
        self.name, self.work, self.attempts = name, work, 0
        self._containerd, self._script = containerd, script
        self._labels = {
            "io.kubernetes.pod.name": name,
            "io.kubernetes.pod.namespace": "kube-system",
            "io.kubernetes.pod.uid": uuid.uuid4().hex,
        }
        source = "file" if static else "api"
        self._config = messages.PodSandboxConfig(
            metadata=messages.PodMetadata(
                name=name, uid=self._labels["io.kubernetes.pod.uid"], namespace="kube-system"
            ),
            log_directory=str(work / f"log-{name}"),
            labels=self._labels,
            annotations={"kubernetes.io/config.source": source},
            linux=messages.LinuxSandboxConfig(
                security_context=messages.SandboxSecurityContext(
                    namespace_options=messages.NamespaceOption(network=2, pid=1)
                )
            ),
        )
        asked = messages.RunPodSandboxRequest(config=self._config)
        self.id = containerd.call("RunPodSandbox", asked, messages.PodSandboxId).pod_sandbox_id

    def start(self, container: str = "main", grace: int = 20) -> str:
        """Start the next container; return its id."""
        mounts = [messages.Mount(container_path=p, host_path=p, readonly=True) for p in HOST]
        mounts.append(messages.Mount(container_path="/work", host_path=str(self.work)))
        config = messages.ContainerConfig(
            metadata=messages.ContainerMetadata(name=container, attempt=self.attempts),
            image=messages.ImageSpec(image=IMAGE),
            command=["/bin/sh", "-c", self._script],
            mounts=mounts,
            labels=self._labels | {"io.kubernetes.container.name": container},
            annotations={"io.kubernetes.pod.terminationGracePeriod": str(grace)},
            log_path=f"{self.attempts}.log",
        )
        asked = messages.CreateContainerRequest(
            pod_sandbox_id=self.id, config=config, sandbox_config=self._config
        )
        made = self._containerd.call("CreateContainer", asked, messages.ContainerId).container_id
        self._containerd.call("StartContainer", messages.ContainerId(container_id=made))
        self.attempts += 1
        return str(made)

    def stop(self) -> None:
        """End the pod, as a kubelet does whose manifest went; its containers stay as ended."""
        self._containerd.call("StopPodSandbox", messages.PodSandboxId(pod_sandbox_id=self.id))

    def remove(self) -> None:
        """Remove all of it."""
        self.stop()
        self._containerd.call("RemovePodSandbox", messages.PodSandboxId(pod_sandbox_id=self.id))

    @contextmanager
    def kept(self, delay: float = 0.05) -> Iterator[None]:
        """Start another container `delay` seconds after one ended, and one to begin with."""
        enough = threading.Event()
        labels = {"io.kubernetes.pod.uid": self._labels["io.kubernetes.pod.uid"]}

        def keep() -> None:
            with Runtime(self._containerd.endpoint) as runtime:
                while not enough.wait(0.02):
                    seen = runtime.containers(labels)
                    if not any(each.phase is Phase.RUNNING for each in seen):
                        time.sleep(delay)
                        self.start()

        self.start()
        thread = threading.Thread(target=keep)
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()


def _write_image(path: Path) -> None:
    """Write an image of one layer in which `sleep` lies with the libraries it needs."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        linked = subprocess.run(["ldd", "/bin/sleep"], capture_output=True, text=True, check=True)
        words = [word for word in linked.stdout.split() if word.startswith("/")]
        for file in ("/bin/sleep", *words):
            tar.add(Path(file).resolve(), file.lstrip("/"))
    blobs = {}

    def blob(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    layers = blob(layer.getvalue(), "layer.v1.tar")
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/sleep", "infinity"]},
        "rootfs": {"type": "layers", "diff_ids": [layers["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": [layers],
    }
    named = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    named["annotations"] = {"io.containerd.image.name": IMAGE}
    blobs["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [named]}).encode()
    blobs["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    with tarfile.open(path, "w") as tar:
        for name, data in blobs.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
