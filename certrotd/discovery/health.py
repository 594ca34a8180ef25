"""Proofs, gates and sources of the version for what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.core.model import Usage
from certrotd.discovery import addresses, advice
from certrotd.discovery.yamltext import Block, Entry, block

if TYPE_CHECKING:
    from certrotd.discovery.addresses import Endpoint
    from certrotd.discovery.inventory import Certificate, Component, Inventory
    from certrotd.discovery.process import Process

LISTED = "/api/v1/nodes"
"""What the gate of kube-apiserver lists from the watch cache."""
_FALSE = ("false", "f", "0")
_ASKED = "/api"
"""What any authenticated user may get, and nobody else (ClusterRole system:discovery)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a component's section says about its health.

    `settle` is empty for none. Notes are comments above the key they are about.
    """

    proofs: tuple[Block, ...] = ()
    gates: tuple[Block, ...] = ()
    version: tuple[Block, ...] = ()
    loopback: str = ""
    settle: str = ""
    notes: tuple[str, ...] = ()


def health(component: Component, found: Inventory) -> Health:
    """Return how a component's health is seen."""
    process = component.process
    if process is None:
        return Health(proofs=_called(component, found))
    if process.program.name == "etcd":
        return _etcd(component, process, found)
    if process.program.name == "kube-apiserver":
        return _apiserver(component, process, found)
    return _other(component, process, found)


def _etcd(component: Component, process: Process, found: Inventory) -> Health:
    serving, peer = component.of("serving"), component.of("peer")
    client = etcd_client(component, found)
    endpoint = etcd_endpoint(component, found)
    proofs, gates, version, notes = [], [], [], []
    if endpoint and serving:
        proofs.append(_tls(endpoint, serving, client))
        if not endpoint.named:
            notes.append(f"{serving.name} has no name for {endpoint.host}; fill in another address")
    peers = process.flags.text("--listen-peer-urls")
    peer_endpoint = addresses.listening(peers, peer.pair.leaf, found) if peer else None
    if peer_endpoint and peer:
        proofs.append(_tls(peer_endpoint, peer, peer))
    ca = ca_of(serving)
    proofs += _accepted(component.of("healthcheck-client"), endpoint, ca, "/version")
    if endpoint and client and ca:
        gates.append(
            block(etcd=block(endpoint=str(endpoint), ca_file=ca, client_certificate=client.name))
        )
        version.append(_https(f"{endpoint.url}/version", ca, client))
    else:
        notes.append(
            "not found on this node: a client certificate for etcd or an https listener; fill in a "
            "gate `etcd`, so that no member is touched while another is down"
        )
    return Health(
        proofs=tuple(proofs),
        gates=tuple(gates),
        version=(*version, *_given(process, only=not version)),
        settle="5s",
        notes=tuple(notes),
    )


def etcd_endpoint(component: Component, found: Inventory) -> Endpoint | None:
    """Return where a client on this node reaches an etcd member."""
    serving = component.of("serving")
    if component.process is None or serving is None:
        return None
    urls = component.process.flags.text("--listen-client-urls")
    return addresses.listening(urls, serving.pair.leaf, found)


def etcd_client(component: Component, found: Inventory) -> Certificate | None:
    """Return a certificate of this node that etcd accepts from a client."""
    serving = component.of("serving")
    signer = serving.authority if serving else None
    checks = (each.of("healthcheck-client") for each in (component, *found.components))
    shared = next((each for each in checks if each and each.authority == signer), None)
    apiserver = found.component("kube-apiserver")
    candidates = (
        shared,
        serving,
        component.of("peer"),
        apiserver.of("etcd-client") if apiserver else None,
    )
    return next((each for each in candidates if each and _is_client(each)), None)


def _apiserver(component: Component, process: Process, found: Inventory) -> Health:
    serving = component.of("serving")
    endpoint = addresses.serving(process, serving.pair.leaf if serving else None, found)
    proofs, gates, version, notes = [], [], [], []
    if endpoint and serving:
        proofs.append(_tls(endpoint, serving, None))
        if not endpoint.named:
            notes.append(f"{serving.name} has no name for {endpoint.host}; fill in another address")
    if endpoint:
        proofs += _named(component, endpoint)
    ca = ca_of(serving)
    proofs += _accepted(component.of("kubelet-client"), endpoint, ca, _ASKED)
    proofs += _etcd_calls(component, process, found)
    if endpoint and ca:
        client = api_client(found)
        name = client.name if client else None
        resources = (LISTED,) if client else ()
        gates.append(
            block(
                kube_apiserver=block(
                    url=endpoint.url, ca_file=ca, client_certificate=name, resources=resources
                )
            )
        )
        version.append(_https(f"{endpoint.url}/version", ca, client))
    return Health(
        proofs=tuple(proofs),
        gates=tuple(gates),
        version=(*version, *_given(process, only=not version)),
        loopback=str(endpoint) if endpoint else "",
        settle="10s",
        notes=tuple(notes),
    )


def _named(component: Component, endpoint: Endpoint) -> list[Block]:
    """Prove the pairs that are served for a name only (SNI)."""
    proofs = []
    for each in component.certificates:
        names = [name for name in each.pair.leaf.dns_names if not name.startswith("*")]
        if each.material == "sni" and names:
            proofs.append(
                block(tls=block(address=str(endpoint), certificate=each.name, server_name=names[0]))
            )
    return proofs


def _accepted(
    client: Certificate | None, endpoint: Endpoint | None, ca: str, path: str
) -> list[Block]:
    """Prove that the server accepts a client's certificate."""
    if client is None or endpoint is None or not ca:
        return []
    return [block(client=block(url=f"{endpoint.url}{path}", certificate=client.name, ca_file=ca))]


def _etcd_calls(component: Component, process: Process, found: Inventory) -> list[Block]:
    """Prove that etcd members of this node accept the API server's certificate."""
    client = component.of("etcd-client")
    ca = process.flags.last("--etcd-cafile")
    path = process.on_host(ca[1].text) if ca and not ca[1].unresolved else None
    if client is None or path is None:
        return []
    members = [
        endpoint
        for each in found.components
        if each.process and each.process.program.name == "etcd"
        if (endpoint := etcd_endpoint(each, found))
    ]
    return [
        block(client=block(url=f"{each.url}/version", certificate=client.name, ca_file=path))
        for each in members
    ]


def _other(component: Component, process: Process, found: Inventory) -> Health:
    serving = component.of("serving")
    endpoint = addresses.serving(process, serving.pair.leaf if serving else None, found)
    proofs = list(_called(component, found))
    gates: list[Block] = []
    version: list[Block] = []
    ca = ca_of(serving)
    if endpoint and serving:
        proofs.append(_tls(endpoint, serving, None))
    if endpoint and ca and process.program.health:
        client = api_client(found)
        url = f"{endpoint.url}{process.program.health}"
        name = client.name if client else None
        gates.append(block(https=block(url=url, ca_file=ca, client_certificate=name)))
        if process.program.version_path:
            version.append(_https(f"{endpoint.url}{process.program.version_path}", ca, client))
    elif endpoint:
        gates.append(block(tcp=block(address=str(endpoint))))
    if lease := _lease(component, process, found):
        gates.append(lease)
    return Health(
        proofs=tuple(proofs),
        gates=tuple(gates),
        version=(*version, *_given(process, only=not version)),
    )


def _lease(component: Component, process: Process, found: Inventory) -> Block | None:
    """Watch the leader election with the component's own identity, which may read its Lease."""
    lease = process.program.lease
    client = next((each for each in component.certificates if _is_kubeconfig(each)), None)
    target = api(client, found) if client else None
    if lease is None or target is None or client is None:
        return None
    if _election(process, "", "leaderElect", "true").lower() in _FALSE:
        return None
    url, ca = target
    return block(
        lease=block(
            url=url,
            namespace=_election(
                process, "-resource-namespace", "resourceNamespace", lease.namespace
            ),
            name=_election(process, "-resource-name", "resourceName", lease.name),
            ca_file=ca,
            client_certificate=client.name,
        )
    )


def _election(process: Process, flag: str, key: str, default: str) -> str:
    """Return a setting of the leader election: of a flag, else of the configuration file."""
    found = process.flags.last(f"--leader-elect{flag}", f"leaderElection.{key}")
    return found[1].text if found else default


def _called(component: Component, found: Inventory) -> tuple[Block, ...]:
    """Prove that the API server accepts the identities of kubeconfigs."""
    return tuple(
        block(client=block(url=f"{target[0]}{_ASKED}", certificate=each.name, ca_file=target[1]))
        for each in component.certificates
        if _is_kubeconfig(each) and (target := api(each, found))
    )


def api(client: Certificate, found: Inventory) -> tuple[str, str] | None:
    """Return URL and CA file of the API server: this node's own, or what the kubeconfig names."""
    apiserver = found.component("kube-apiserver")
    if apiserver and apiserver.process and (serving := apiserver.of("serving")):
        endpoint = addresses.serving(apiserver.process, serving.pair.leaf, found)
        ca = ca_of(serving)
        if endpoint and ca:
            return endpoint.url, ca
    for each in client.files:
        if each.kubeconfig and (endpoint := addresses.endpoint(each.kubeconfig.server)):
            given = each.kubeconfig
            same = (a.path for a in found.authorities if a.certificates == given.authority)
            ca = given.authority_file or next(same, "")
            if ca:
                return endpoint.url, ca
    return None


def api_client(found: Inventory) -> Certificate | None:
    """Return the identity that gates ask the API server with: a person's, else a component's."""
    candidates = (
        each
        for component in sorted(found.components, key=lambda each: each.process is not None)
        for each in component.certificates
        if _is_kubeconfig(each) and _is_client(each)
    )
    return next(candidates, None)


def ca_of(certificate: Certificate | None) -> str:
    """Return the CA file that a client verifies a served certificate with; empty if unknown."""
    return certificate.authority.path if certificate and certificate.authority else ""


def _is_kubeconfig(certificate: Certificate) -> bool:
    return certificate.material.startswith("kubeconfig")


def _is_client(certificate: Certificate) -> bool:
    return Usage.CLIENT_AUTH in certificate.pair.leaf.extended_usages


def _tls(endpoint: Endpoint, served: Certificate, client: Certificate | None) -> Block:
    name = client.name if client and _is_client(client) else None
    return block(tls=block(address=str(endpoint), certificate=served.name, client_certificate=name))


def _https(url: str, ca: str, client: Certificate | None) -> Block:
    name = client.name if client else None
    return block(https=block(url=url, ca_file=ca, client_certificate=name))


def _given(process: Process, *, only: bool) -> tuple[Block, ...]:
    """Return what tells the version where the process does not; `only` if it never does."""
    if isinstance(process.keeper, str):
        return (block(unit=process.keeper),)
    if not process.version:
        return ()
    told = advice.IMAGE_TAG_ONLY if only else advice.IMAGE_TAG
    return (Block((Entry("given", process.version, beside=told),)),)
