"""Puts throw-away certificates where a control plane looks: what certrotd does for real."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import yaml

from tests.testbed.throwaway import Pair, ThrowawayCA

if TYPE_CHECKING:
    from tests.testbed.inventory import Certificate, Domain, Inventory, Kubeconfig

Authorities = dict["Domain", ThrowawayCA]


def issue_all(inventory: Inventory) -> Authorities:
    """Make one CA per trust domain and every certificate and kubeconfig of the inventory."""
    authorities = {domain: ThrowawayCA.new(domain.value) for domain in inventory.authorities}
    for domain, path in inventory.authorities.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(authorities[domain].pem)
    for certificate in inventory.certificates:
        issue(certificate, authorities)
    return authorities


def issue(certificate: Certificate, authorities: Authorities) -> Pair:
    """Make one of them (anew) in place."""
    authority = authorities[certificate.domain]
    pair = authority.issue(
        certificate.common_name,
        organizations=certificate.organizations,
        dns_names=certificate.dns_names,
        ip_addresses=certificate.ip_addresses,
        server=certificate.server,
        client=certificate.client,
    )
    if certificate.certificate is not None and certificate.key is not None:
        pair.write(certificate.certificate, certificate.key)
    if certificate.kubeconfig is not None:
        path = certificate.kubeconfig.path
        path.touch(mode=0o600)
        path.write_text(_rendered(certificate, certificate.kubeconfig, pair, authority))
    return pair


def _rendered(
    certificate: Certificate, kubeconfig: Kubeconfig, pair: Pair, authority: ThrowawayCA
) -> str:
    cluster: dict[str, str] = {"server": kubeconfig.server}
    user: dict[str, str] = {}
    if kubeconfig.embed:
        cluster["certificate-authority-data"] = base64.b64encode(authority.pem).decode()
        user["client-certificate-data"] = base64.b64encode(pair.certificate).decode()
        user["client-key-data"] = base64.b64encode(pair.key).decode()
    else:
        cluster["certificate-authority"] = str(certificate.ca)
        user["client-certificate"] = str(certificate.certificate)
        user["client-key"] = str(certificate.key)
    name = kubeconfig.cluster
    context = {"cluster": name, "user": kubeconfig.user}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": kubeconfig.user, "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
    return yaml.safe_dump(document)
