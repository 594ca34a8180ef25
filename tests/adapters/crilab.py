"""A real containerd with pods in it, and somebody who keeps them, as a kubelet would."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import grpc

from certrotd.adapters.cri.containers import Phase
from certrotd.adapters.cri.runtime import Runtime
from tests.testbed.build import ensure
from tests.testbed.containerd import SOCKET, Containerd
from tests.testbed.namespaces import Namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = "certrotd.test/pause:1"
HOST = ("/bin", "/usr", "/lib", "/lib64")
messages: Any = grpc.protos("tests/adapters/cri_making.proto")


class Lab:
    """A containerd with its root, state and socket in namespaces of its own."""

    def __init__(self, directory: Path) -> None:
        self._namespaces = Namespaces(directory, name="lab", address="192.0.2.20")
        self._containerd = Containerd(self._namespaces, IMAGE)
        self.endpoint = ""

    def __enter__(self) -> Self:
        try:
            self._namespaces.start()
            self._containerd.start()
            self._containerd.load(IMAGE, ensure("pod-pause"), "pause")
        except BaseException:
            self._namespaces.stop()
            raise
        self.endpoint = str(self._namespaces.path(SOCKET))
        options = (("grpc.default_authority", "localhost"),)
        self._channel = grpc.insecure_channel(f"unix:{self.endpoint}", options)
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        containers = self._containerd.containers()
        self._namespaces.stop()
        self._containerd.remove_control_groups(containers)

    def call(self, method: str, asked: Any, answer: Any = None) -> Any:
        """Call one of the runtime's methods."""
        call = self._channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=type(asked).SerializeToString,
            response_deserializer=(answer or messages.Empty).FromString,
        )
        return call(asked, timeout=60)


class Pod:
    """A pod with one container, with the labels and annotations that a kubelet sets.

    The container runs `script` in a shell, with the host's programs and `work` at /work.
    """

    def __init__(
        self, lab: Lab, name: str, script: str, work: Path, *, static: bool = True
    ) -> None:
        self.name, self.work, self.attempts = name, work, 0
        self._lab, self._script = lab, script
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
        self.id = lab.call("RunPodSandbox", asked, messages.PodSandboxId).pod_sandbox_id

    def start(self, container: str = "main", grace: int = 20) -> str:
        """Start the next container; return its id."""
        mounts = [messages.Mount(container_path=p, host_path=p, readonly=True) for p in HOST]
        mounts.append(messages.Mount(container_path="/work", host_path=str(self.work)))
        config = messages.ContainerConfig(
            metadata=messages.ContainerMetadata(name=container, attempt=self.attempts),
            image=messages.ImageSpec(image=IMAGE),
            command=["/bin/sh", "-c", f"PATH=/usr/bin; {self._script}"],
            mounts=mounts,
            labels=self._labels | {"io.kubernetes.container.name": container},
            annotations={"io.kubernetes.pod.terminationGracePeriod": str(grace)},
            log_path=f"{self.attempts}.log",
        )
        asked = messages.CreateContainerRequest(
            pod_sandbox_id=self.id, config=config, sandbox_config=self._config
        )
        made = self._lab.call("CreateContainer", asked, messages.ContainerId).container_id
        self._lab.call("StartContainer", messages.ContainerId(container_id=made))
        self.attempts += 1
        return str(made)

    def stop(self) -> None:
        """End the pod, as a kubelet does whose manifest went; its containers stay as ended."""
        self._lab.call("StopPodSandbox", messages.PodSandboxId(pod_sandbox_id=self.id))

    def remove(self) -> None:
        """Remove all of it."""
        self.stop()
        self._lab.call("RemovePodSandbox", messages.PodSandboxId(pod_sandbox_id=self.id))

    @contextmanager
    def kept(self, delay: float = 0.05) -> Iterator[None]:
        """Start another container `delay` seconds after one ended, and one to begin with."""
        enough = threading.Event()
        labels = {"io.kubernetes.pod.uid": self._labels["io.kubernetes.pod.uid"]}

        def keep() -> None:
            with Runtime(self._lab.endpoint) as runtime:
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
