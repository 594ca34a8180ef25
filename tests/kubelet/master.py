"""certrotd on the static pod node: `config init`, and a Vault that took over kubeadm's CAs."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.testbed.inventory import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.testbed.staticpods import StaticPodNode
    from tests.testbed.vaultserver import VaultServer

Settings = dict[str, Any]
AUTHORITIES = {"kubernetes": "ca", "etcd": "etcd/ca", "front-proxy": "front-proxy-ca"}
"""File names of the CAs that kubeadm makes, below pki."""
_CONFIG = "/etc/certrotd/certrotd.yaml"
_ROLE = "/etc/certrotd/role-id"
_SECRET = "/etc/certrotd/secret-id"
_VAULT_CA = "/etc/certrotd/vault-ca.crt"
_LIMIT = 600.0


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


class Master:
    """The node's certrotd, configured by `config init`; it runs as a process in the node."""

    def __init__(self, node: StaticPodNode, vault: VaultServer, mounts: str) -> None:
        """Set up Vault and the configuration; `mounts` begins the names of the mounts."""
        self.node, self.vault = node, vault
        self._mounts = mounts
        self.settings = self._initial()
        self.write()
        for issuer, stem in AUTHORITIES.items():
            self._take_over(issuer, node.kubernetes / "pki" / f"{stem}.crt")
        for component in self.settings["components"].values():
            for name, certificate in component["certificates"].items():
                vault.define_role(self.mount(certificate["issuer"]), name, **_role(certificate))
        self._log_in()

    def component(self, name: str) -> Settings:
        """Settings of a component, to be changed; see `write`."""
        settings: Settings = self.settings["components"][name]
        return settings

    def mount(self, issuer: str) -> str:
        """Where an issuer's PKI engine is mounted."""
        return f"{self._mounts}-{issuer}"

    def restart_all(self, way: str) -> None:
        """From now on every component is restarted this way, whatever would reload by itself."""
        for name in COMPONENTS:
            component = self.component(name)
            restart = component["activation"].pop("auto")["restart"]
            restart["static_pod"]["way"] = way
            component["activation"]["restart"] = restart | {"timeout": "3m"}
            component["proof_deadline"] = "3m"  # a busy machine is no defect
            component.pop("reads", None)  # only `auto` looks at what is read
        self.write()

    def write(self) -> None:
        """Write the configuration."""
        self._put(_CONFIG, yaml.safe_dump(self.settings, sort_keys=False).encode())

    def run(self, *arguments: str) -> Outcome:
        """Run a certrotd command in the node."""
        done = self.node.namespaces.run(
            sys.executable, "-m", "certrotd", *arguments, check=False, timeout=_LIMIT
        )
        return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)

    def rotate(self, *arguments: str) -> Outcome:
        """Rotate everything, whatever is due."""
        return self.run("rotate", "--force", "--yes", "-o", "json", *arguments)

    def _take_over(self, issuer: str, certificate: Path) -> None:
        """Let Vault sign with the CA that kubeadm made: nobody has to trust another one."""
        mount = self.mount(issuer)
        self.vault.write(f"sys/mounts/{mount}", type="pki", config={"max_lease_ttl": "8760h"})
        bundle = certificate.read_text() + certificate.with_suffix(".key").read_text()
        self.vault.write(f"{mount}/config/ca", pem_bundle=bundle)

    def _initial(self) -> Settings:
        """What `config init` writes, with what it says is to be filled in."""
        mounts = (f"--issuer-mount={issuer}={self.mount(issuer)}" for issuer in AUTHORITIES)
        said = self.run(
            "config", "init", "--from-kubeadm", f"--vault-address={self.vault.address}", *mounts
        )
        assert said.code == 0, said.err
        settings: Settings = yaml.safe_load(said.out)
        settings["vaults"]["main"] |= {
            "ca_file": _VAULT_CA,
            "auth": {"approle": {"role_id_file": _ROLE, "secret_id_file": _SECRET}},
        }
        return settings | {"limits": {"issuances_per_day": 100}}

    def _log_in(self) -> None:
        """Give the node an identity that may have these certificates signed, and no others."""
        policy = f"{self._mounts}-node"
        rules = (
            f'path "{self.mount(issuer)}/sign/+" {{ capabilities = ["update"] }}\n'
            for issuer in AUTHORITIES
        )
        self.vault.write_policy(policy, "".join(rules))
        role = self.vault.enable_approle(policy, [policy])
        self._put(_ROLE, role.role_id.encode())
        self._put(_SECRET, role.secret_id.encode())
        self._put(_VAULT_CA, self.vault.ca_file.read_bytes())

    def _put(self, inside: str, data: bytes) -> None:
        path = self.node.namespaces.path(inside)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(data)


def _role(certificate: Mapping[str, Any]) -> Settings:
    """A role that signs this certificate."""
    usages = certificate["usages"]
    return {
        "organization": list(certificate.get("organizations", ())),
        "server_flag": "server auth" in usages,
        "client_flag": "client auth" in usages,
        "cn_validations": ["disabled"],
        "key_type": "rsa",
        "key_bits": 2048,
        "key_usage": ["DigitalSignature", "KeyEncipherment"],
        "max_ttl": "168h",
    }
