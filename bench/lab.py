"""The laboratory all rotation benchmarks share: one Vault, one role, as many certificates as asked.

Every contender signs with the same role (P-256, no_store) of the same TLS Vault and writes leaf and
key of each certificate; nobody restarts anything.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from tests.testbed.vaultserver import VaultServer

ROLE = "node"
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
PYTHON = str(Path(__file__).parents[1] / ".venv/run/bin/python")
"""Of an environment that holds what certrotd needs and no more, as on a node: libraries look for
others at import, so the tools of the developers' environment would cost start-up and memory."""
CERTROTD = [PYTHON, "-m", "certrotd"]


class Lab:
    """Configurations of all contenders for `count` certificates below one directory."""

    def __init__(self, vault: VaultServer, directory: Path) -> None:
        self.vault = vault
        self.directory = directory
        self.mount = f"pki-{directory.name}"
        self.anchors = directory / "ca.pem"
        self.anchors.write_bytes(vault.enable_pki(self.mount, "bench", "87600h"))
        vault.define_role(
            self.mount, ROLE, allow_any_name=True, key_type="ec", key_bits=256, no_store=True,
            max_ttl="720h", generate_lease=False, enforce_hostnames=False,
            key_usage=["DigitalSignature"], server_flag=True, client_flag=False,
        )  # fmt: skip
        policy = f'path "{self.mount}/sign/{ROLE}" {{ capabilities = ["update"] }}\n'
        policy += f'path "{self.mount}/issue/{ROLE}" {{ capabilities = ["update"] }}\n'
        vault.write_policy("bench", policy)
        role = vault.enable_approle("bench", ["bench"])
        self.role_id = role.role_id
        self.secret_id = self._secret("secret-id", role.secret_id)
        self.token = self._secret("token", vault.create_token(["bench"]))

    def _secret(self, name: str, value: str) -> Path:
        path = self.directory / name
        path.touch(0o600)
        path.write_text(value)
        return path

    def certrotd(self, name: str, count: int) -> Path:
        """Write certrotd's configuration."""
        target = self.directory / name
        (target / "pki").mkdir(parents=True)
        certificates = {
            f"node-{i}": {
                "issuer": "bench",
                "role": ROLE,
                "common_name": f"node-{i}.example",
                "dns_names": [f"node-{i}.example"],
                "usages": ["digital signature", "server auth"],
                "outputs": [
                    {"certificate": str(target / "pki" / f"node-{i}.crt")},
                    {"key": str(target / "pki" / f"node-{i}.key")},
                ],
            }
            for i in range(count)
        }
        settings = {
            "state_directory": str(target / "state"),
            "limits": {"issuances_per_day": 1000},
            "vaults": {
                "main": {
                    "address": self.vault.address,
                    "ca_file": str(self.vault.ca_file),
                    "auth": {
                        "approle": {
                            "role_id": self.role_id,
                            "secret_id_file": str(self.secret_id),
                        }
                    },
                }
            },
            "issuers": {
                "bench": {
                    "vault": {"connection": "main", "mount": self.mount},
                    "trust_anchors": str(self.anchors),
                }
            },
            "components": {"node": {"activation": {"none": {}}, "certificates": certificates}},
        }
        path = target / "certrotd.yaml"
        path.write_text(yaml.safe_dump(settings))
        path.chmod(0o600)
        return path

    def consul_template(self, count: int) -> Path:
        """Write consul-template's configuration: one `pkiCert` template a certificate."""
        target = self.directory / "consul-template"
        target.mkdir()
        lines = [
            (
                f'vault {{\n  address = "{self.vault.address}"\n  renew_token = false\n'
                f'  ssl {{ ca_cert = "{self.vault.ca_file}" }}\n}}'
            )
        ]
        lines += [self._template(target, i) for i in range(count)]
        path = target / "config.hcl"
        path.write_text("\n".join(lines))
        return path

    def _template(self, target: Path, number: int) -> str:
        name = f"node-{number}"
        body = (
            f'{{{{ with pkiCert "{self.mount}/issue/{ROLE}" "common_name={name}.example"'
            f' "ttl=168h" }}}}'
            f"{{{{ .Cert }}}}{{{{ .CA }}}}"
            f'{{{{ .Key | writeToFile "{target}/{name}.key" "" "" "0600" }}}}{{{{ end }}}}'
        )
        return (
            f"template {{\n  contents = {json.dumps(body)}\n"
            f'  destination = "{target}/{name}.crt"\n}}'
        )

    def agent(self, count: int, *, once: bool) -> Path:
        """Write Vault Agent's configuration with the same templates and AppRole."""
        target = self.directory / ("agent-once" if once else "agent")
        target.mkdir()
        lines = [
            f"exit_after_auth = {str(once).lower()}",
            f'vault {{\n  address = "{self.vault.address}"\n  ca_cert = "{self.vault.ca_file}"\n}}',
            (
                'auto_auth {\n  method "approle" {\n    config = {\n'
                f'      role_id_file_path = "{self._secret("role-id", self.role_id)}"\n'
                f'      secret_id_file_path = "{self.secret_id}"\n'
                "      remove_secret_id_file_after_reading = false\n    }\n  }\n}"
            ),
        ]
        lines += [self._template(target, i) for i in range(count)]
        path = target / "agent.hcl"
        path.write_text("\n".join(lines))
        return path
