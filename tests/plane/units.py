"""The units of a master in the layout `standalone`: as an administrator would write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NODE = "master-1"
ADDRESS = "10.0.0.11"
SERVICE_IP = "10.96.0.1"
API_PORT = 6443
BINARIES = "/opt/kubernetes/bin"
KUBERNETES = "/etc/kubernetes"
PKI = f"{KUBERNETES}/pki"

NETWORK = "node-address.service"
VAULT = "vault.service"
ETCD = "etcd.service"
ETCD_EVENTS = "etcd-events.service"
APISERVER = "kube-apiserver.service"
CONTROLLER_MANAGER = "kube-controller-manager.service"
SCHEDULER = "kube-scheduler.service"
PLANE = (ETCD_EVENTS, ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER)
"""In the order in which they can start."""
PROGRAMS = (
    "etcd",
    "etcdctl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "vault",
)

CA_FILES = {
    "etcd": ("/etc/etcd/pki/ca.crt", "/etc/etcd-events/pki/ca.crt", f"{PKI}/etcd-ca.crt"),
    "kubernetes": (f"{PKI}/ca.crt",),
    "front-proxy": (f"{PKI}/front-proxy-ca.crt",),
}
"""Where each trust domain's CA lies for its components."""

_NETWORK = f"""[Unit]
Description=The node's address
Before=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip address add {ADDRESS}/32 dev lo

[Install]
WantedBy=network-online.target
"""


def units() -> dict[str, str]:
    """All of them by name."""
    return {
        NETWORK: _NETWORK,
        VAULT: _unit("vault", ["server", "-config=/etc/vault.d/vault.json"], kind="notify"),
        ETCD: _unit("etcd", _flags(_etcd("etcd", 2379, 2380)), kind="notify"),
        ETCD_EVENTS: _unit("etcd", _flags(_etcd("etcd-events", 2381, 2382)), kind="notify"),
        APISERVER: _unit(
            "kube-apiserver", _flags(_apiserver()), kind="notify", after=(ETCD, ETCD_EVENTS)
        ),
        CONTROLLER_MANAGER: _unit(
            "kube-controller-manager", _flags(_controller_manager()), after=(APISERVER,)
        ),
        SCHEDULER: _unit(
            "kube-scheduler", _flags(_client("scheduler", 10259)), after=(APISERVER,)
        ),
    }  # fmt: skip


def _unit(
    program: str, arguments: list[str], *, kind: str = "exec", after: tuple[str, ...] = ()
) -> str:
    command = " \\\n    ".join([f"{BINARIES}/{program}", *arguments])
    return f"""[Unit]
Description={program}
Wants=network-online.target
After={" ".join(("network-online.target", *after))}

[Service]
Type={kind}
ExecStart={command}
Restart=on-failure
RestartSec=2
TimeoutStartSec=60

[Install]
WantedBy=multi-user.target
"""


def _flags(flags: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def further_member(name: str, port: int, cluster: str) -> str:
    """The unit of another member of etcd-events, on two ports in a row, to join a cluster."""
    flags = _etcd("etcd-events", port, port + 1) | {
        "name": name,
        "data-dir": f"/var/lib/{name}",
        "initial-cluster": cluster,
        "initial-cluster-state": "existing",
    }
    return _unit("etcd", _flags(flags), kind="notify")


def _etcd(name: str, port: int, peer_port: int) -> dict[str, object]:
    pki = f"/etc/{name}/pki"
    client, peer = f"https://{ADDRESS}:{port}", f"https://{ADDRESS}:{peer_port}"
    return {
        "name": NODE,
        "data-dir": f"/var/lib/{name}",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"{NODE}={peer}",
        "cert-file": f"{pki}/server.crt",
        "key-file": f"{pki}/server.key",
        "trusted-ca-file": f"{pki}/ca.crt",
        "client-cert-auth": "true",
        "peer-cert-file": f"{pki}/peer.crt",
        "peer-key-file": f"{pki}/peer.key",
        "peer-trusted-ca-file": f"{pki}/ca.crt",
        "peer-client-cert-auth": "true",
        "unsafe-no-fsync": "true",  # a killed process loses nothing by it, and tests kill no kernel
    }


def _apiserver() -> dict[str, object]:
    return {
        "advertise-address": ADDRESS,
        "secure-port": API_PORT,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "service-cluster-ip-range": "10.96.0.0/24",
        # While it shuts down, clients are told to come again, and watches do not hold it up.
        "shutdown-send-retry-after": "true",
        "etcd-servers": f"https://{ADDRESS}:2379",
        "etcd-servers-overrides": f"/events#https://{ADDRESS}:2381",
        "etcd-cafile": f"{PKI}/etcd-ca.crt",
        "etcd-certfile": f"{PKI}/apiserver-etcd-client.crt",
        "etcd-keyfile": f"{PKI}/apiserver-etcd-client.key",
        "tls-cert-file": f"{PKI}/apiserver.crt",
        "tls-private-key-file": f"{PKI}/apiserver.key",
        "client-ca-file": f"{PKI}/ca.crt",
        "kubelet-client-certificate": f"{PKI}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{PKI}/apiserver-kubelet-client.key",
        "proxy-client-cert-file": f"{PKI}/front-proxy-client.crt",
        "proxy-client-key-file": f"{PKI}/front-proxy-client.key",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": f"{PKI}/sa.pub",
        "service-account-signing-key-file": f"{PKI}/sa.key",
    }


def _controller_manager() -> dict[str, object]:
    return _client("controller-manager", 10257) | {
        "root-ca-file": f"{PKI}/ca.crt",
        "service-account-private-key-file": f"{PKI}/sa.key",
        "use-service-account-credentials": "true",
    }


def _client(short: str, port: int) -> dict[str, object]:
    kubeconfig = f"{KUBERNETES}/{short}.conf"
    return {
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "tls-cert-file": f"{PKI}/{short}-serving.crt",
        "tls-private-key-file": f"{PKI}/{short}-serving.key",
        "client-ca-file": f"{PKI}/ca.crt",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "leader-elect": "true",
    }
