"""What is built, from which pinned module, with which flags."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).with_name("modules")

BUILD_FLAGS = ("-trimpath", "-buildvcs=false")
BUILD_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "",  # a user's -mod=vendor or -tags would build something else
    "GOWORK": "off",
    "GOTOOLCHAIN": "local",  # which Go is used is decided here, not by downloading another
}

_KUBERNETES = "1.37.2"
_COMPONENT_BASE = "k8s.io/component-base/version"
# Without these every component calls itself v0.0.0-master.
_KUBERNETES_LDFLAGS = (
    f"-X {_COMPONENT_BASE}.gitVersion=v{_KUBERNETES} "
    f"-X {_COMPONENT_BASE}.gitMajor=1 -X {_COMPONENT_BASE}.gitMinor=37 "
    f"-X {_COMPONENT_BASE}.gitTreeState=clean"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One binary: its Go package inside one of our modules, and how it tells its version."""

    name: str
    module: str
    package: str
    version: str
    version_argument: str = "--version"
    ldflags: str = ""

    @property
    def source(self) -> Path:
        """The folder with go.mod, go.sum and, where upstream has no main package, main.go."""
        return MODULES / self.module

    @property
    def linker_flags(self) -> str:
        """Value of `go build -ldflags`; symbol tables are left out."""
        return f"-s -w {self.ldflags}".strip()

    @property
    def go_version(self) -> tuple[int, int]:
        """The oldest Go that go.mod admits."""
        found = re.search(r"^go (\d+)\.(\d+)", (self.source / "go.mod").read_text(), re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.source / 'go.mod'} has no go directive")
        return int(found[1]), int(found[2])

    @property
    def key(self) -> str:
        """Name of the cache folder: changes with everything that decides what is built."""
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum", "main.go"):
            path = self.source / name
            content = path.read_bytes() if path.exists() else b""
            digest.update(f"{name} {len(content)}\n".encode() + content)
        flags = sorted({s.linker_flags for s in SERVERS.values() if s.module == self.module})
        digest.update(repr((BUILD_FLAGS, sorted(BUILD_ENVIRONMENT.items()), flags)).encode())
        return f"{self.module}-{digest.hexdigest()[:16]}"


def _kubernetes(name: str) -> Server:
    return Server(
        name=name,
        module="kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        version=_KUBERNETES,
        ldflags=_KUBERNETES_LDFLAGS,
        version_argument="version" if name == "kubeadm" else "--version",
    )


SERVERS = {
    server.name: server
    for server in (
        Server(
            name="vault", module="vault", package=".", version="1.21.0", version_argument="version"
        ),
        Server(name="etcd", module="etcd", package=".", version="3.6.16"),
        Server(
            name="etcdctl",
            module="etcd",
            package="go.etcd.io/etcd/etcdctl/v3",
            version="3.6.16",
            version_argument="version",
        ),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubeadm"),
        _kubernetes("kubelet"),
        Server(name="pod-pause", module="pause", package=".", version="1.0.0"),
        Server(
            name="consul-template",
            module="consul-template",
            package="github.com/hashicorp/consul-template",
            version="0.41.1",
        ),
    )
}
"""By name; cheap ones are built on the way, in this order."""
