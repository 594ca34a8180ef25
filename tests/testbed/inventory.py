"""What a kubeadm-like control plane reads: certificates, keys, CAs, kubeconfigs, and where from.

Plain values: a test makes a certrotd configuration from them, or issues them by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
NODE = "node-0"
SERVICE_IP = "10.96.0.1"

ETCD = "etcd"
APISERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
ADMIN = "admin"
COMPONENTS = (ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER)
"""In the order in which they can start."""


class Domain(StrEnum):
    """Trust domains: one CA each."""

    ETCD = "etcd"  # etcd's servers and peers
    ETCD_CLIENT = "etcd-client"  # who may talk to etcd
    KUBERNETES = "kubernetes"
    FRONT_PROXY = "front-proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """A kubeconfig that carries an identity: embedded, or as names of its files."""

    path: Path
    server: str
    user: str
    embed: bool
    cluster: str = "kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One leaf and where its component looks for it.

    `certificate` and `key` are None if the pair exists only inside `kubeconfig`. `ca` is the file
    with the domain's CA. `served_at` lists the addresses that present it; empty for a client.
    `restart` says that the component must be restarted to see a new one.
    """

    name: str
    component: str
    domain: Domain
    common_name: str
    ca: Path
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    server: bool = False
    client: bool = False
    certificate: Path | None = None
    key: Path | None = None
    kubeconfig: Kubeconfig | None = None
    served_at: tuple[tuple[str, int], ...] = ()
    restart: bool = False

    @property
    def usages(self) -> tuple[str, ...]:
        """Usages of a leaf with an EC key, in the words of `certificates.k8s.io`."""
        extended = (("server auth", self.server), ("client auth", self.client))
        return ("digital signature", *(name for name, wanted in extended if wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One process: what must run before it, and how to look after it.

    `health` is an HTTPS URL that answers 200 to the admin (etcd: to the health-check client).
    `restart` is an argv that returns 0 when a new process runs. The admin is no process.
    """

    name: str
    after: tuple[str, ...]
    health: str | None
    pidfile: Path | None
    restart: tuple[str, ...]
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything; `authorities` maps a domain to the file with its CA certificate."""

    authorities: dict[Domain, Path]
    components: tuple[Component, ...]

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Those of all components."""
        return tuple(each for one in self.components for each in one.certificates)

    def certificate(self, name: str) -> Certificate:
        """The one of this name."""
        return next(each for each in self.certificates if each.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where everything listens, all on HOST."""

    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int

    @property
    def api(self) -> str:
        """URL of the API server."""
        return f"https://{HOST}:{self.apiserver}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """kubeadm's file names under `root` (which stands for /etc/kubernetes).

    `embed` puts the identities of controller-manager and scheduler into their kubeconfigs, as
    kubeadm does; otherwise the kubeconfigs name files.
    """

    root: Path
    ports: Ports
    embed: bool

    @property
    def pki(self) -> Path:
        """The folder of most of it."""
        return self.root / "pki"

    @property
    def authorities(self) -> dict[Domain, Path]:
        """CA certificates."""
        return {
            Domain.ETCD: self.pki / "etcd" / "ca.crt",
            Domain.ETCD_CLIENT: self.pki / "etcd" / "client-ca.crt",
            Domain.KUBERNETES: self.pki / "ca.crt",
            Domain.FRONT_PROXY: self.pki / "front-proxy-ca.crt",
        }

    def kubeconfig(self, name: str) -> Path:
        """E.g. `controller-manager.conf`."""
        return self.root / f"{name}.conf"

    def certificates(self, component: str) -> tuple[Certificate, ...]:
        """What one component has."""
        return {
            ETCD: self._etcd,
            APISERVER: self._apiserver,
            CONTROLLER_MANAGER: self._controller_manager,
            SCHEDULER: self._scheduler,
            ADMIN: self._admin,
        }[component]()

    def _etcd(self) -> tuple[Certificate, ...]:
        served = {"etcd-server": self.ports.etcd, "etcd-peer": self.ports.etcd_peer}
        servers = [
            self._pair(
                name,
                ETCD,
                f"etcd/{name.removeprefix('etcd-')}",
                NODE,
                dns_names=(NODE, "localhost"),
                ip_addresses=(HOST,),
                served_at=((HOST, port),),
                domain=Domain.ETCD,
                server=True,
                client=True,
            )
            for name, port in served.items()
        ]
        return (
            *servers,
            self._pair(
                "etcd-healthcheck-client",
                ETCD,
                "etcd/healthcheck-client",
                "kube-etcd-healthcheck-client",
                domain=Domain.ETCD_CLIENT,
                client=True,
            ),
        )

    def _apiserver(self) -> tuple[Certificate, ...]:
        services = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
        return (
            self._pair(
                "apiserver",
                APISERVER,
                "apiserver",
                "kube-apiserver",
                domain=Domain.KUBERNETES,
                server=True,
                dns_names=(*services, "kubernetes.default.svc.cluster.local", NODE, "localhost"),
                ip_addresses=(SERVICE_IP, HOST),
                served_at=((HOST, self.ports.apiserver),),
            ),
            self._pair(
                "apiserver-kubelet-client",
                APISERVER,
                "apiserver-kubelet-client",
                "kube-apiserver-kubelet-client",
                domain=Domain.KUBERNETES,
                client=True,
                organizations=("kubeadm:cluster-admins",),
            ),
            self._pair(
                "apiserver-etcd-client",
                APISERVER,
                "apiserver-etcd-client",
                "kube-apiserver-etcd-client",
                domain=Domain.ETCD_CLIENT,
                client=True,
            ),
            self._pair(
                "front-proxy-client",
                APISERVER,
                "front-proxy-client",
                "front-proxy-client",
                domain=Domain.FRONT_PROXY,
                client=True,
            ),
        )

    def _controller_manager(self) -> tuple[Certificate, ...]:
        return self._client_with_port(
            CONTROLLER_MANAGER, "controller-manager", self.ports.controller_manager
        )

    def _scheduler(self) -> tuple[Certificate, ...]:
        return self._client_with_port(SCHEDULER, "scheduler", self.ports.scheduler)

    def _client_with_port(self, component: str, short: str, port: int) -> tuple[Certificate, ...]:
        serving = self._pair(
            f"{short}-server",
            component,
            f"{short}-server",
            component,
            domain=Domain.KUBERNETES,
            server=True,
            dns_names=("localhost",),
            ip_addresses=(HOST,),
            served_at=((HOST, port),),
        )
        return (self._identity(short, component, f"system:{component}", embed=self.embed), serving)

    def _admin(self) -> tuple[Certificate, ...]:
        return (self._identity(ADMIN, ADMIN, "kubernetes-admin", "system:masters", embed=True),)

    def _identity(
        self, name: str, component: str, user: str, *organizations: str, embed: bool
    ) -> Certificate:
        kubeconfig = Kubeconfig(
            path=self.kubeconfig(name), server=self.ports.api, user=user, embed=embed
        )
        return Certificate(
            name=name,
            component=component,
            domain=Domain.KUBERNETES,
            common_name=user,
            organizations=organizations,
            ca=self.authorities[Domain.KUBERNETES],
            client=True,
            certificate=None if embed else self.pki / f"{name}.crt",
            key=None if embed else self.pki / f"{name}.key",
            kubeconfig=kubeconfig,
            restart=embed and component != ADMIN,
        )

    def _pair(
        self,
        name: str,
        component: str,
        stem: str,
        common_name: str,
        *,
        domain: Domain,
        **fields: object,
    ) -> Certificate:
        return Certificate(
            name=name,
            component=component,
            domain=domain,
            common_name=common_name,
            ca=self.authorities[domain],
            certificate=self.pki / f"{stem}.crt",
            key=self.pki / f"{stem}.key",
            **fields,  # type: ignore[arg-type]  # Certificate checks the names
        )
