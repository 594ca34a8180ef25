"""A control plane whose certificates certrotd keeps, signed by a real Vault.

One PKI mount for each trust domain, one role for each certificate that allows just that
certificate, one AppRole whose policy names just these roles.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from certrotd.core import x509
from tests.testbed.inventory import ADMIN, APISERVER, ETCD, Certificate, Component, Domain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.testbed.controlplane import ControlPlane
    from tests.testbed.vaultserver import VaultServer

_RELOADING = (ETCD, APISERVER)
Settings = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        """The report for programs."""
        return json.loads(self.out)


class Node:
    """certrotd on a master: its configuration, and its command line as a process of its own."""

    def __init__(self, plane: ControlPlane, vault: VaultServer, mounts: str = "pki") -> None:
        """Set up Vault and write the configuration; `mounts` begins the names of the mounts."""
        self.plane, self.vault = plane, vault
        self.inventory = plane.inventory()
        self._mounts = mounts
        self.directory = plane.directory / "certrotd"
        self.directory.mkdir(parents=True)
        self.said: list[str] = []
        for domain, path in self.inventory.authorities.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(vault.enable_pki(self.mount(domain), f"{domain} CA"))
        for certificate in self.inventory.certificates:
            self.define_role(certificate)
        rules = "".join(
            f'path "{self.mount(each.domain)}/sign/{each.name}" {{ capabilities = ["update"] }}\n'
            for each in self.inventory.certificates
        )
        self.policy = f"{mounts}-node"
        vault.write_policy(self.policy, rules)
        role = vault.enable_approle(self.policy, [self.policy])
        self.secret_id = role.secret_id
        secret = self.directory / "secret-id"
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(role.secret_id)
        self.settings = self._settings(role.role_id, secret)
        self.config = self.directory / "certrotd.yaml"
        self.write()

    def mount(self, domain: Domain) -> str:
        """Where a trust domain's PKI engine is mounted."""
        return f"{self._mounts}-{domain}"

    def define_role(self, certificate: Certificate, **changes: Any) -> None:
        """Allow just this certificate."""
        fields: Settings = {
            "allowed_domains": sorted({certificate.common_name, *certificate.dns_names}),
            "allow_any_name": False,
            "allow_bare_domains": True,
            "allow_subdomains": False,
            "allow_localhost": "localhost" in certificate.dns_names,
            "enforce_hostnames": False,
            "cn_validations": ["disabled"],
            "allow_ip_sans": bool(certificate.ip_addresses),
            "organization": list(certificate.organizations),
            "key_usage": ["DigitalSignature"],
            "server_flag": certificate.server,
            "client_flag": certificate.client,
            "max_ttl": "168h",
            "no_store": True,
        }
        self.vault.define_role(
            self.mount(certificate.domain), certificate.name, **(fields | changes)
        )

    def write(self) -> None:
        """Write the configuration."""
        self.config.write_text(yaml.safe_dump(self.settings, sort_keys=False))
        self.config.chmod(0o600)

    def run(self, *arguments: str) -> Outcome:
        """Run a certrotd command; everything it says is kept for the canary test."""
        done = subprocess.run(
            [sys.executable, "-m", "certrotd", *arguments, "-c", str(self.config)],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.said += [done.stdout, done.stderr]
        return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)

    def served(self) -> dict[tuple[str, int], str]:
        """Serial of the leaf on every port, read from the socket by a handshake of our own."""
        return {
            address: _served(address)
            for each in self.inventory.certificates
            for address in each.served_at
        }

    def files(self) -> dict[str, bytes]:
        """What every path that a component reads resolves to."""
        paths = {p for c in self.inventory.certificates for p in (c.certificate, c.key, c.ca)}
        paths |= {c.kubeconfig.path for c in self.inventory.certificates if c.kubeconfig}
        return {str(path): path.read_bytes() for path in paths if path is not None}

    def _settings(self, role_id: str, secret: Path) -> Settings:
        return {
            "state_directory": str(self.directory / "state"),
            "limits": {"issuances_per_day": 100},
            "vaults": {
                "main": {
                    "address": self.vault.address,
                    "ca_file": str(self.vault.ca_file),
                    "auth": {"approle": {"role_id": role_id, "secret_id_file": str(secret)}},
                    "deadline": "3s",
                }
            },
            "issuers": {
                str(domain): {
                    "vault": {"connection": "main", "mount": self.mount(domain)},
                    "trust_anchors": str(path),
                }
                for domain, path in self.inventory.authorities.items()
            },
            "components": {each.name: self._component(each) for each in self.inventory.components},
        }

    def _component(self, component: Component) -> Settings:
        settings: Settings = {
            "after": list(component.after),
            "activation": self._activation(component),
            "proofs": [p for each in component.certificates for p in self._proofs(each)],
            "certificates": {each.name: _certificate(each) for each in component.certificates},
            "proof_deadline": "60s",
        }
        if component.health:
            is_etcd = component.name == ETCD
            domain = Domain.ETCD if is_etcd else Domain.KUBERNETES
            gate = {
                "url": component.health,
                "ca_file": str(self.inventory.authorities[domain]),
                "client_certificate": "etcd-healthcheck-client" if is_etcd else ADMIN,
            }
            settings["gates"] = [{"https": gate}]
        if component.name not in (*_RELOADING, ADMIN):
            settings["proofs"].append({"started": {"pidfile": str(component.pidfile)}})
        return settings

    @staticmethod
    def _activation(component: Component) -> Settings:
        if component.name in _RELOADING:
            return {"reload": {}}
        if component.name == ADMIN:
            return {"none": {}}
        return {"exec": {"command": list(component.restart), "timeout": "60s"}}

    def _proofs(self, certificate: Certificate) -> list[Settings]:
        proofs: list[Settings] = [
            {"tls": {"address": f"{host}:{port}", "certificate": certificate.name}}
            for host, port in certificate.served_at
        ]
        authorities = self.inventory.authorities
        if certificate.kubeconfig:
            proofs.append({
                "client": {
                    "url": f"{certificate.kubeconfig.server}/version",
                    "certificate": certificate.name,
                    "ca_file": str(authorities[Domain.KUBERNETES]),
                }
            })  # fmt: skip
        elif certificate.domain is Domain.ETCD_CLIENT:
            proofs.append({
                "client": {
                    "url": f"https://127.0.0.1:{self.plane.ports.etcd}/version",
                    "certificate": certificate.name,
                    "ca_file": str(authorities[Domain.ETCD]),
                }
            })  # fmt: skip
        return proofs


def _certificate(certificate: Certificate) -> Settings:
    outputs: list[Settings] = []
    if certificate.certificate and certificate.key:
        outputs = [
            {"certificate": str(certificate.certificate)}, {"key": str(certificate.key)},
        ]  # fmt: skip
    if kubeconfig := certificate.kubeconfig:
        outputs.append({
            "kubeconfig": str(kubeconfig.path),
            "server": kubeconfig.server,
            "user": kubeconfig.user,
            "cluster": kubeconfig.cluster,
            "embed": kubeconfig.embed,
            "ca_file": str(certificate.ca),
        })  # fmt: skip
    return {
        "issuer": str(certificate.domain),
        "common_name": certificate.common_name,
        "organizations": list(certificate.organizations),
        "dns_names": list(certificate.dns_names),
        "ip_addresses": list(certificate.ip_addresses),
        "usages": list(certificate.usages),
        "outputs": outputs,
    }


def _served(address: tuple[str, int]) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address, 10) as plain,
        context.wrap_socket(plain) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    assert der is not None
    return x509.parse_certificate(ssl.DER_cert_to_PEM_cert(der).encode()).serial
