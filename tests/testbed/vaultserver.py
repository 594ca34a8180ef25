"""A real Vault (or OpenBao) on loopback: not in dev mode, with TLS, sealed and unsealed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from tests.testbed.build import ensure
from tests.testbed.processes import ServerProcess, free_ports
from tests.testbed.throwaway import ThrowawayCA
from tests.testbed.vaultclient import VaultClient

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"
_SEALED = 503
_UNINITIALISED = 501
_STANDBY = 429
_ACTIVE = 200

Storage = Literal["file", "raft", "inmem"]


def openbao() -> Path | None:
    """The OpenBao binary on PATH, if there is one; it is never built here."""
    found = shutil.which("bao")
    return Path(found) if found else None


class VaultServer(VaultClient):
    """One Vault with its own CA, port and storage under `directory`; use as a context manager.

    `inmem` storage forgets everything when the process ends. `binary` is a name the testbed
    knows (`vault`), `bao`, or a path.
    """

    def __init__(
        self, directory: Path, *, binary: str | Path = "vault", storage: Storage = "file"
    ) -> None:
        self.directory = directory
        port, self._cluster_port = free_ports(2, HOST)
        self.ca = ThrowawayCA.new("testbed Vault TLS")
        super().__init__(HOST, port, self.ca.pem)
        self.unseal_key = ""
        self._storage = storage
        self._process = ServerProcess(
            "vault",
            [_binary(binary), "server", f"-config={directory / 'vault.json'}"],
            directory=directory,
        )

    @property
    def address(self) -> str:
        """URL for VAULT_ADDR."""
        return f"https://{self.host}:{self.port}"

    @property
    def root_token(self) -> str:
        """What `initialise` gave."""
        return self.token

    @property
    def ca_file(self) -> Path:
        """The CA that signed Vault's serving certificate."""
        return self.directory / "tls" / "ca.crt"

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """What Vault writes to its terminal."""
        return self._process.log

    def environment(self) -> dict[str, str]:
        """For command-line clients (`vault`, `consul-template`); without a token."""
        return {"VAULT_ADDR": self.address, "VAULT_CACERT": str(self.ca_file)}

    def __enter__(self) -> Self:
        self._configure()
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, unseal: bool = True) -> Self:
        """Start the process; the first time also initialise; unseal unless told otherwise."""
        self._process.start()
        self._process.wait_ready(lambda: self.health() != 0)
        if self.health() == _UNINITIALISED:
            self._initialise()
        if unseal:
            self.unseal()
        return self

    def stop(self) -> None:
        """End the process; storage stays."""
        self._process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def restart(self, *, unseal: bool = True) -> Self:
        """Stop and start on the same port."""
        self.stop()
        return self.start(unseal=unseal)

    def health(self) -> int:
        """HTTP status of `sys/health`: 200 active, 429 standby, 501 uninitialised, 503 sealed."""
        known = (_ACTIVE, _STANDBY, _UNINITIALISED, _SEALED)
        return self.request("GET", "sys/health", token="", accept=known)[0]

    @property
    def sealed(self) -> bool:
        """Whether it is sealed."""
        return self.health() == _SEALED

    def seal(self) -> None:
        """Seal it; requests answer 503 from then on."""
        self.request("PUT", "sys/seal")
        self._process.wait_ready(lambda: self.sealed)

    def unseal(self) -> None:
        """Unseal it and wait until it is active."""
        if self.sealed:
            self.request("PUT", "sys/unseal", {"key": self.unseal_key}, token="")
        self._process.wait_ready(lambda: self.health() == _ACTIVE)

    def _initialise(self) -> None:
        asked = {"secret_shares": 1, "secret_threshold": 1}
        answer = self.request("PUT", "sys/init", asked, token="")[1]
        self.unseal_key = answer["keys_base64"][0]
        self.token = answer["root_token"]

    def _configure(self) -> None:
        tls = self.directory / "tls"
        pair = self.ca.issue("vault", dns_names=["localhost"], ip_addresses=[HOST])
        pair.write(tls / "vault.crt", tls / "vault.key")
        self.ca_file.write_bytes(self.ca.pem)
        listener = {
            "address": f"{HOST}:{self.port}",
            "cluster_address": f"{HOST}:{self._cluster_port}",
            "tls_cert_file": str(tls / "vault.crt"),
            "tls_key_file": str(tls / "vault.key"),
        }
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        storages: Mapping[Storage, dict[str, str]] = {
            "inmem": {},
            "file": {"path": str(data)},
            "raft": {"path": str(data), "node_id": "one", "performance_multiplier": "1"},
        }
        configuration = {
            "listener": {"tcp": listener},
            "storage": {self._storage: storages[self._storage]},
            "api_addr": self.address,
            "cluster_addr": f"https://{HOST}:{self._cluster_port}",
            "disable_mlock": True,
            "default_lease_ttl": "768h",
        }
        (self.directory / "vault.json").write_text(json.dumps(configuration, indent=2))


def _binary(wanted: str | Path) -> Path:
    if isinstance(wanted, Path):
        return wanted
    if wanted == "bao":
        found = openbao()
        if found is None:
            raise FileNotFoundError("there is no bao on PATH")
        return found
    return ensure(wanted)
