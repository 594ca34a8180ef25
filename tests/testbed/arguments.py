"""Command lines of the control plane: kubeadm's choices, on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.testbed.inventory import (
    APISERVER,
    CONTROLLER_MANAGER,
    ETCD,
    HOST,
    NODE,
    SCHEDULER,
    Domain,
    Layout,
)

if TYPE_CHECKING:
    from pathlib import Path

_SERVICE_RANGE = "10.96.0.0/24"


def arguments(component: str, layout: Layout, run: Path) -> list[str]:
    """Everything after the binary's name; `run` takes etcd's data."""
    if component == ETCD:
        flags = _etcd(layout, run)
    else:
        flags = {
            APISERVER: _apiserver,
            CONTROLLER_MANAGER: _controller_manager,
            SCHEDULER: _scheduler,
        }[component](layout)
    return [f"--{name}={value}" for name, value in flags.items()]


def _etcd(layout: Layout, run: Path) -> dict[str, object]:
    pki = layout.pki / "etcd"
    client = f"https://{HOST}:{layout.ports.etcd}"
    peer = f"https://{HOST}:{layout.ports.etcd_peer}"
    return {
        "name": NODE,
        "data-dir": run / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"{NODE}={peer}",
        "cert-file": pki / "server.crt",
        "key-file": pki / "server.key",
        "trusted-ca-file": layout.authorities[Domain.ETCD_CLIENT],
        "client-cert-auth": "true",
        "peer-cert-file": pki / "peer.crt",
        "peer-key-file": pki / "peer.key",
        "peer-trusted-ca-file": layout.authorities[Domain.ETCD],
        "peer-client-cert-auth": "true",
        # The gateway calls its own server with the serving pair, which clients' CA did not sign.
        "enable-grpc-gateway": "false",
        "unsafe-no-fsync": "true",  # the data outlives a killed process, which is all tests need
    }


def _apiserver(layout: Layout) -> dict[str, object]:
    pki = layout.pki
    return {
        "bind-address": HOST,
        "advertise-address": HOST,
        "secure-port": layout.ports.apiserver,
        "endpoint-reconciler-type": "none",  # loopback is no valid endpoint
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "service-cluster-ip-range": _SERVICE_RANGE,
        # While it shuts down, clients are told to come again, and open watches do not hold it up:
        # a restart takes about 4 s instead of 15 s and more.
        "shutdown-send-retry-after": "true",
        "etcd-servers": f"https://{HOST}:{layout.ports.etcd}",
        "etcd-cafile": layout.authorities[Domain.ETCD],
        "etcd-certfile": pki / "apiserver-etcd-client.crt",
        "etcd-keyfile": pki / "apiserver-etcd-client.key",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": layout.authorities[Domain.KUBERNETES],
        "kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
        "kubelet-client-key": pki / "apiserver-kubelet-client.key",
        "proxy-client-cert-file": pki / "front-proxy-client.crt",
        "proxy-client-key-file": pki / "front-proxy-client.key",
        "requestheader-client-ca-file": layout.authorities[Domain.FRONT_PROXY],
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
    }


def _controller_manager(layout: Layout) -> dict[str, object]:
    return _client(layout, "controller-manager", layout.ports.controller_manager) | {
        "cluster-name": "kubernetes",
        "root-ca-file": layout.authorities[Domain.KUBERNETES],
        "service-account-private-key-file": layout.pki / "sa.key",
        "service-cluster-ip-range": _SERVICE_RANGE,
        "use-service-account-credentials": "true",
    }


def _scheduler(layout: Layout) -> dict[str, object]:
    return _client(layout, "scheduler", layout.ports.scheduler)


def _client(layout: Layout, short: str, port: int) -> dict[str, object]:
    kubeconfig = layout.kubeconfig(short)
    return {
        "bind-address": HOST,
        "secure-port": port,
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "tls-cert-file": layout.pki / f"{short}-server.crt",
        "tls-private-key-file": layout.pki / f"{short}-server.key",
        "client-ca-file": layout.authorities[Domain.KUBERNETES],
        "requestheader-client-ca-file": layout.authorities[Domain.FRONT_PROXY],
        "leader-elect": "true",
    }
