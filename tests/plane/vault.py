"""A Vault as a unit of the container, with one PKI engine for each trust domain."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.plane.units import CA_FILES, VAULT
from tests.testbed.throwaway import ThrowawayCA
from tests.testbed.vaultclient import AppRole, VaultClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.systemd.container import Container

HOST, PORT = "127.0.0.1", 8200
_DIRECTORY = "/etc/vault.d"
_DATA = "/var/lib/vault"
_DEADLINE = 30.0
_POLICY = "node"


class VaultUnit(VaultClient):
    """It keeps its data below /var/lib/vault and is sealed after each start, as any Vault is."""

    def __init__(self, container: Container) -> None:
        """Write its configuration; nothing is started."""
        self._container = container
        ca = ThrowawayCA.new("Vault's TLS")
        super().__init__(HOST, PORT, ca.pem)
        self._unseal_key = ""
        pair = ca.issue("vault", dns_names=["localhost"], ip_addresses=[HOST])
        self.ca_pem = ca.pem.decode()
        container.write(f"{_DIRECTORY}/vault.crt", pair.certificate.decode())
        container.write(f"{_DIRECTORY}/vault.key", pair.key.decode(), 0o600)
        listener = {
            "address": f"{HOST}:{PORT}",
            "tls_cert_file": f"{_DIRECTORY}/vault.crt",
            "tls_key_file": f"{_DIRECTORY}/vault.key",
        }
        configuration = {
            "listener": {"tcp": listener},
            "storage": {"file": {"path": _DATA}},
            "api_addr": f"https://{HOST}:{PORT}",
            "disable_mlock": True,
        }
        container.write(f"{_DIRECTORY}/vault.json", json.dumps(configuration, indent=2))

    def request(self, *arguments: Any, **more: Any) -> tuple[int, dict[str, Any]]:
        """As VaultClient, from inside the container."""
        with self._container.network():
            return super().request(*arguments, **more)

    def start(self) -> None:
        """Start the unit, initialise a new Vault, unseal it."""
        self._container.systemctl("start", VAULT)
        if not self._unseal_key:
            asked = {"secret_shares": 1, "secret_threshold": 1}
            answer = self.request("PUT", "sys/init", asked, token="")[1]
            self._unseal_key = answer["keys_base64"][0]
            self.token = answer["root_token"]
        self.request("PUT", "sys/unseal", {"key": self._unseal_key}, token="")
        deadline = time.monotonic() + _DEADLINE
        while self.request("GET", "sys/health", token="", accept=(200, 429, 503))[0] != 200:
            assert time.monotonic() < deadline, self._container.journal(VAULT)
            time.sleep(0.05)

    def make_authorities(self) -> dict[str, bytes]:
        """Mount a PKI engine for each trust domain; return the CA certificates, PEM."""
        return {domain: self.enable_pki(domain, f"{domain} CA") for domain in CA_FILES}

    def allow(self, components: Mapping[str, Any]) -> AppRole:
        """Allow what `certrotd config show` asks for, and no more; return who may ask."""
        self.define_roles(components)
        paths = {
            f"{each['issuer']}/sign/{each['role']}"
            for one in components.values()
            for each in one["certificates"].values()
        }
        rules = (f'path "{each}" {{ capabilities = ["update"] }}\n' for each in sorted(paths))
        self.write_policy(_POLICY, "".join(rules))
        return self.enable_approle(_POLICY, [_POLICY])

    def define_roles(self, components: Mapping[str, Any]) -> None:
        """Let each role sign what its certificate's configuration says now, and nothing else."""
        for component in components.values():
            for certificate in component["certificates"].values():
                self._define(certificate["role"], certificate)

    def _define(self, role: str, certificate: Mapping[str, Any]) -> None:
        names = certificate.get("dns_names", [])
        self.define_role(
            certificate["issuer"],
            role,
            allowed_domains=sorted({certificate["common_name"], *names}),
            allow_any_name=False,
            allow_bare_domains=True,
            allow_localhost="localhost" in names,
            cn_validations=["disabled"],
            allow_ip_sans="ip_addresses" in certificate,
            organization=certificate.get("organizations", []),
            server_flag="server auth" in certificate["usages"],
            client_flag="client auth" in certificate["usages"],
            max_ttl="168h",
        )
