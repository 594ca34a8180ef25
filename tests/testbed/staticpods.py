"""A master as kubeadm makes it: static pods under a real kubelet and a real containerd.

It lives in namespaces of its own (namespaces.py), so every path and port is kubeadm's own, several
nodes can live on one machine, and nothing of them stays.
"""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import yaml
from cryptography import x509

from tests.systemd.prerequisites import install, may_mount
from tests.testbed import kubeadm, nodeinit
from tests.testbed.build import ensure
from tests.testbed.containerd import SOCKET, Container, Containerd
from tests.testbed.inventory import (
    APISERVER,
    COMPONENTS,
    CONTROLLER_MANAGER,
    ETCD,
    NODE,
    SCHEDULER,
)
from tests.testbed.kubeapi import ApiAnswered, KubeClient, call
from tests.testbed.namespaces import Namespaces
from tests.testbed.processes import ServerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ADDRESS = "192.0.2.10"
PORTS = {
    "kube-apiserver": (ADDRESS, 6443),
    "etcd": (ADDRESS, 2379),
    "etcd-peer": (ADDRESS, 2380),
    "kube-controller-manager": ("127.0.0.1", 10257),
    "kube-scheduler": ("127.0.0.1", 10259),
}
"""Where TLS is served."""
HEALTH = {
    ETCD: "http://127.0.0.1:2381/readyz",
    APISERVER: f"https://{ADDRESS}:6443/readyz",
    CONTROLLER_MANAGER: "https://127.0.0.1:10257/healthz",
    SCHEDULER: "https://127.0.0.1:10259/readyz",
}
"""Answers 200 to everybody when the component is well; what kubeadm's own probes ask."""
_DEADLINE = 120.0
_TIMEOUT = 5.0
_PAUSE_IMAGE = f"{kubeadm.REPOSITORY}/pause:3.10"
_KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"


def unavailable() -> str | None:
    """Say why there can be no such node here, after an attempt to install what is missing."""
    if os.geteuid() != 0:
        return "a kubelet needs root"
    if not may_mount():
        return "a kubelet needs CAP_SYS_ADMIN, which this root does not have"
    if all(shutil.which(each) for each in ("containerd", "ctr", "runc", "ip", "nsenter")):
        return None
    return install("containerd", "runc", "iproute2", "util-linux")


class StaticPodNode:
    """One node, which is the whole cluster; a context manager."""

    def __init__(self, directory: Path, kubelet_arguments: Sequence[str] = ()) -> None:
        """Everything is kept below `directory`; `directory/etc-kubernetes` is /etc/kubernetes."""
        self.directory = directory
        self._kubelet_arguments = kubelet_arguments
        self.kubernetes = nodeinit.own(directory, "/etc/kubernetes")
        self.namespaces = Namespaces(directory, name=NODE, address=ADDRESS)
        self.containerd = Containerd(self.namespaces, _PAUSE_IMAGE)
        self.took: dict[str, float] = {}

    def start(self) -> Self:
        """Make the node and wait until every component and the node itself are ready.

        Raises:
            ServerFailed: something was not ready in time.
        """
        self._timed("namespaces", self.namespaces.start)
        self._timed("kubeadm", partial(kubeadm.initialise, self.namespaces))
        self._timed("containerd", self.containerd.start)
        self._timed("images", self._load_images)
        self._start_kubelet()
        for name in COMPONENTS:
            self._timed(name, partial(self.wait_ready, name))
        self._timed("node", self._join)
        return self

    def stop(self) -> None:
        """End everything and put the machine back as it was."""
        containers = self.containerd.containers()
        self.namespaces.stop()
        self.containerd.remove_control_groups(containers)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, kubeconfig: str = "admin") -> KubeClient:
        """An API client with the identity that a kubeconfig holds now."""
        path = self.kubernetes / f"{kubeconfig}.conf"
        return KubeClient(path, self._call)

    def _call(
        self, url: str, context: ssl.SSLContext, method: str = "GET", body: bytes | None = None
    ) -> tuple[int, bytes]:
        return self.namespaces.call(call, url, context, method, body)

    def ready(self, name: str) -> bool:
        """Whether a component says that it is well; OSError if it does not answer."""
        return self.namespaces.call(status, HEALTH[name]) == http.client.OK

    def wait_ready(self, name: str, deadline: float = _DEADLINE) -> None:
        """Wait until a component says that it is well.

        Raises:
            ServerFailed: it did not; the message has the end of its log and of the kubelet's.
        """
        try:
            self.kubelet.wait_ready(lambda: self.ready(name), deadline)
        except ServerFailed as failed:
            raise ServerFailed(f"{name}: {failed}\n{self.log(name)}") from failed

    def container(self, name: str) -> Container | None:
        """The running container of a component."""
        return self.containerd.running(name)

    def kill_container(self, name: str) -> None:
        """SIGKILL to a component; the kubelet starts another container."""
        container = self.container(name)
        if container is None:
            raise ServerFailed(f"{name} does not run")
        self.namespaces.run("kill", "-KILL", str(container.pid))

    def log(self, name: str, lines: int = 30) -> str:
        """The end of what a component's newest container wrote."""
        folder = nodeinit.own(self.directory, "/var/log/pods")
        files = folder.glob(f"kube-system_{name}-{NODE}_*/{name}/*.log")
        newest = max(files, key=lambda each: each.stat().st_mtime, default=None)
        if newest is None:
            return "(no log)"
        return "\n".join(newest.read_text(errors="replace").splitlines()[-lines:])

    def served(self, port: str) -> str:
        """Serial of the leaf on one of PORTS, read from the socket by a handshake of our own."""
        pem = self.namespaces.call(ssl.get_server_certificate, PORTS[port], timeout=10)
        return f"{x509.load_pem_x509_certificate(pem.encode()).serial_number:x}"

    def manifest(self, name: str) -> Path:
        """A component's manifest."""
        return self.kubernetes / "manifests" / f"{name}.yaml"

    def _load_images(self) -> None:
        self.containerd.load(_PAUSE_IMAGE, ensure("pod-pause"), "pause")
        for name, image in kubeadm.IMAGES.items():
            self.containerd.load(image, ensure(name), name)

    def _start_kubelet(self) -> None:
        self.namespaces.path(_KUBELET_CONFIG).write_text(yaml.safe_dump(_KUBELET))
        self.kubelet = self.namespaces.process(
            "kubelet",
            ensure("kubelet"),
            f"--config={_KUBELET_CONFIG}",
            "--kubeconfig=/etc/kubernetes/kubelet.conf",
            f"--hostname-override={NODE}",
            f"--node-ip={ADDRESS}",
            *self._kubelet_arguments,
        ).start()

    def _join(self) -> None:
        """Give the admin its rights, as `kubeadm init` does, and wait until the node is Ready."""
        path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        self.client("super-admin").request("POST", path, CLUSTER_ADMINS)
        self.kubelet.wait_ready(self.node_is_ready, _DEADLINE)

    def node_is_ready(self) -> bool:
        """Whether the API server says so."""
        try:
            node = self.client().request("GET", f"/api/v1/nodes/{NODE}")
        except ApiAnswered:
            return False
        conditions = node["status"].get("conditions", ())
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _timed(self, what: str, step: Callable[[], object]) -> None:
        began = time.monotonic()
        step()
        self.took[what] = round(time.monotonic() - began, 1)


def status(url: str, timeout: float = _TIMEOUT) -> int:
    """HTTP status of a GET on a fresh connection that trusts everybody."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=_UNVERIFIED)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status
    except http.client.HTTPException as problem:
        raise OSError(f"{url}: {problem!r}") from problem
    finally:
        connection.close()


_UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_UNVERIFIED.check_hostname, _UNVERIFIED.verify_mode = False, ssl.CERT_NONE
_KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "staticPodPath": kubeadm.MANIFESTS,
    "containerRuntimeEndpoint": f"unix://{SOCKET}",
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
    },
    "authorization": {"mode": "Webhook"},
    "clusterDomain": "cluster.local",
    "clusterDNS": ["10.96.0.10"],
    "rotateCertificates": True,
    # What the machine is like must not matter.
    "failCgroupV1": False,
    "failSwapOn": False,
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "imageGCHighThresholdPercent": 100,
    "evictionHard": {"memory.available": "0%", "nodefs.available": "0%"},
}
CLUSTER_ADMINS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "kubeadm:cluster-admins"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "cluster-admin",
    },
    "subjects": [
        {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Group",
            "name": "kubeadm:cluster-admins",
        }
    ],
}
