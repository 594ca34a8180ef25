"""The section that chooses a preset and gives it the facts of this node."""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from typing import Literal

from certrotd.config.section import Section
from certrotd.config.settings.words import Address, DnsName, HostPort, Name, Path, Port, Text


class PresetIssuers(Section):
    """Which of the issuers serve the trust domains of a layout."""

    kubernetes: Name | None = None
    """The API server and its clients; `kubernetes` if left out."""
    etcd: Name | None = None
    """etcd's servers and peers; `etcd` if left out."""
    etcd_client: Name | None = None
    """etcd's clients; as `etcd` if left out."""
    etcd_events: Name | None = None
    """Servers and peers of the etcd for events; as `etcd` if left out."""
    front_proxy: Name | None = None
    """The API server towards aggregated API servers; `front-proxy` if left out."""


class Preset(Section):
    """A whole inventory that the rest of the file is laid over.

    `certrotd presets show --layout NAME` prints it, with the facts it takes and their defaults.
    Mappings of this file are merged into it, lists and single values replace, null removes.
    """

    layout: Literal["kubeadm", "standalone", "split"]
    """Its name; `certrotd presets layouts` says what each is for."""
    components: tuple[Name, ...] = ()
    """Those that this node runs; all that are not optional if left out."""
    issuers: PresetIssuers | None = None
    """Who signs, where the issuers are not named after the trust domains."""
    node_name: DnsName | None = None
    """The node's name in Kubernetes; the key `node`, or the host name, if left out."""
    advertise_address: Address | None = None
    """The address at which others reach this node's servers."""
    apiserver_port: Port | None = None
    """kube-apiserver's port."""
    controller_manager_port: Port | None = None
    """kube-controller-manager's port."""
    scheduler_port: Port | None = None
    """kube-scheduler's port."""
    service_ip: Address | None = None
    """The first address of the service CIDR, that of the Service `kubernetes`."""
    dns_domain: DnsName | None = None
    """The cluster's DNS domain."""
    control_plane_endpoint: HostPort | None = None
    """The API servers' common address; its host is a name of each of them."""
    dns_names: tuple[DnsName, ...] = ()
    """Further DNS names of the API server."""
    ip_addresses: tuple[Address, ...] = ()
    """Further addresses of the API server."""
    etcd_dns_names: tuple[DnsName, ...] = ()
    """Further DNS names of etcd, as server and peer."""
    etcd_ip_addresses: tuple[Address, ...] = ()
    """Further addresses of etcd, as server and peer."""
    etcd_endpoint: HostPort | None = None
    """A member's client address, on which the API server's pair is tried."""
    etcd_port: Port | None = None
    """etcd's port for clients."""
    etcd_peer_port: Port | None = None
    """etcd's port for peers."""
    etcd_events_port: Port | None = None
    """The port for clients of the etcd for events."""
    etcd_events_peer_port: Port | None = None
    """The port for peers of the etcd for events."""
    kubernetes_directory: Path | None = None
    """Where kubeconfigs are."""
    pki_directory: Path | None = None
    """Where the certificates of Kubernetes are."""
    etcd_directory: Path | None = None
    """Where etcd's certificates are."""
    etcd_events_directory: Path | None = None
    """Where the certificates of the etcd for events are."""
    manifest_directory: Path | None = None
    """The kubelet's `staticPodPath`."""
    runtime_endpoint: Path | None = None
    """The container runtime's CRI socket."""
    etcd_owner: Text | None = None
    """The user that etcd runs as."""
    kubernetes_owner: Text | None = None
    """The user that the components of Kubernetes run as."""
    kubelet_client_organizations: tuple[Text, ...] = ()
    """O of the API server's identity towards kubelets."""
    admin_organizations: tuple[Text, ...] = ()
    """O of the administrator."""
