"""The Vault commands of config/README.md, run as they stand there, make a rotation work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.testbed.build import ensure

if TYPE_CHECKING:
    from tests.testbed.vaultserver import VaultServer

pytestmark = pytest.mark.servers
CONFIG = Path(__file__).parents[2] / "config"


def commands() -> list[str]:
    """The indented blocks below the heading `Vault`, one shell script each."""
    text = (CONFIG / "README.md").read_text().partition("\n## Vault\n")[2]
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks]


def test_the_documented_vault_commands_are_enough(
    own_vault_server: VaultServer, tmp_path: Path
) -> None:
    vault = own_vault_server
    (tmp_path / "anchors").mkdir()
    environment = {
        "PATH": f"{ensure('vault').parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "VAULT_ADDR": vault.address,
        "VAULT_CACERT": str(vault.ca_file),
        "VAULT_TOKEN": vault.root_token,
    }
    mounts, server, client, identity = commands()
    # This node is not the documented one, and has no systemd to give the secret-id to.
    identity = identity.replace("10.0.0.11/32", "127.0.0.1/32")
    identity, _, _ = identity.partition(" \\\n    | systemd-creds")
    scripts = [
        *(mounts.replace("pki/etcd", f"pki/{domain}").replace("etcd.pem", f"{domain}.pem")
          for domain in ("etcd", "kubernetes")),
        server, client, identity,
    ]  # fmt: skip
    said = ""
    for script in scripts:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace("/etc/certrotd", str(tmp_path))],
            env=environment, cwd=CONFIG, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, script + done.stderr
        said = done.stdout
    secret_id = said.split()[-1]
    role_id = re.search(r"^role_id\s+(\S+)", said, re.MULTILINE)
    assert role_id is not None

    outcome = rotated(tmp_path, vault, role_id[1], secret_id)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert (tmp_path / "pki" / "server.key").stat().st_mode & 0o777 == 0o600


def rotated(
    directory: Path, vault: VaultServer, role_id: str, secret_id: str
) -> subprocess.CompletedProcess[str]:
    """Two certificates of the sample, for the two roles that the README defines."""
    sample = yaml.safe_load((CONFIG / "certrotd.yaml").read_text())
    components = sample["components"].values()
    known = {n: c for each in components for n, c in each["certificates"].items()}
    pki = directory / "pki"
    pki.mkdir()
    (directory / "secret-id").write_text(secret_id)
    server = next(c for c in known.values() if c.get("role") == "server")
    admin = known["admin"]
    files = {
        "server": [{"certificate": f"{pki}/server.crt"}, {"key": f"{pki}/server.key"}],
        "admin": [{"kubeconfig": f"{pki}/admin.conf", "server": "https://127.0.0.1:6443"}],
    }
    settings = {
        "state_directory": str(directory / "state"),
        "vaults": {
            "main": sample["vaults"]["main"] | {
                "address": vault.address,
                "ca_file": str(vault.ca_file),
                "auth": {"approle": {"role_id": role_id,
                                     "secret_id_file": str(directory / "secret-id")}},
            }
        },
        "issuers": {
            domain: {
                "vault": {"connection": "main", "mount": f"pki/{domain}"},
                "trust_anchors": str(directory / "anchors" / f"{domain}.pem"),
            }
            for domain in ("etcd", "kubernetes")
        },
        "components": {
            "node": {
                "activation": {"none": {}},
                "certificates": {
                    "server": server | {"outputs": files["server"]},
                    "admin": admin | {"outputs": files["admin"]},
                },
            }
        },
    }  # fmt: skip
    config = directory / "certrotd.yaml"
    config.write_text(yaml.safe_dump(settings))
    return subprocess.run(
        [sys.executable, "-m", "certrotd", "rotate", "--yes", "-c", str(config)],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
