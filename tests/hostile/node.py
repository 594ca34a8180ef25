"""A node whose issuer is a real Vault behind a hostile proxy, and the proxy's own CA keys.

Vault signs with an intermediate whose key was made here, so that the proxy can sign as it likes.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import yaml
from cryptography.x509 import SubjectKeyIdentifier

from certrotd.adapters.clock import SystemClock
from certrotd.config.scalars import duration_text
from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm, Secret
from tests.authorities import Authority, Flaws
from tests.discovery import commands
from tests.hostile import measured
from tests.hostile.proxy import HOST, HostileProxy, Purpose, vault_behind
from tests.testbed.throwaway import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pytest

    from tests.testbed.vaultserver import VaultServer

Settings = dict[str, Any]
Files = dict[str, tuple[int, int, int, str]]
_numbers = itertools.count(1)

DEADLINE = timedelta(seconds=2)
PATIENCE = 60
"""Seconds after which certrotd's own deadlines have certainly failed: it is killed."""
READ_TIMEOUT = timedelta(milliseconds=1500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a rotation said, how it ended, and the most memory it held, in MiB, if measured."""

    code: int
    said: str
    memory: int = 0


def run_here(capture: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    """Run certrotd in this process."""
    capture.readouterr()
    done = commands.run(capture, *arguments)
    return Outcome(code=done.code, said=done.out + done.err)


def run_apart(output: Path, *arguments: str) -> Outcome:
    """Run certrotd as a process of its own, for a minute at most; measure it."""
    certrotd = (sys.executable, "-m", "certrotd", *arguments)
    done = subprocess.run(
        [sys.executable, measured.__file__, str(PATIENCE), str(output), *certrotd],
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    code, memory = map(int, done.stdout.split())
    return Outcome(code=code, said=output.read_text(errors="replace"), memory=memory)


def files_below(directory: Path) -> Files:
    """Everything below a directory: mode, owner, inode, content or target."""
    return {
        str(path.relative_to(directory)): (*_identity(path), _content(path))
        for path in sorted(directory.rglob("*"))
    }


def holding(directory: Path, texts: Iterable[str]) -> list[Path]:
    """Files below a directory that hold one of these texts."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    sought = [each.encode() for each in texts]
    return [path for path in files if any(each in path.read_bytes() for each in sought)]


class Site:
    """One PKI mount of a Vault: root (pinned) over intermediate (Vault's), both keys known here."""

    def __init__(self, vault: VaultServer, directory: Path) -> None:
        self.vault, self.directory = vault, directory
        self.mount = f"hostile{next(_numbers)}"
        now = SystemClock().now()
        self.root = Authority.root(f"{self.mount} root", now)
        key = x509.new_key(KeyAlgorithm.ECDSA_P256)
        identifier = SubjectKeyIdentifier.from_public_key(key.public_key())
        flaws = Flaws(extra=((identifier, False),))  # Vault insists on one
        self.authority = self.root.issue_authority(
            f"{self.mount} intermediate", now, flaws, key=key
        )
        vault.write(f"sys/mounts/{self.mount}", type="pki", config={"max_lease_ttl": "87600h"})
        bundle = b"".join((self.authority.secret.reveal(), self.authority.pem, self.root.pem))
        vault.write(f"{self.mount}/config/ca", pem_bundle=bundle.decode())
        vault.define_role(self.mount, "server", client_flag=False)
        rules = "".join(
            f'path "{self.mount}/{each}/server" {{ capabilities = ["update"] }}\n'
            for each in ("sign", "issue")
        )
        vault.write_policy(self.mount, rules)
        self.login = vault.enable_approle(self.mount, [self.mount])
        self.anchors = directory / "root.crt"
        self.anchors.write_bytes(self.root.pem)
        self.tls = ThrowawayCA.new("proxy TLS")
        self.tls_file = directory / "tls-ca.crt"
        self.tls_file.write_bytes(self.tls.pem)

    def proxy(
        self, name: str = "proxy", ca: ThrowawayCA | None = None, **pair: Any
    ) -> HostileProxy:
        """A proxy with a serving certificate of its own; enter it to start it."""
        given = {"ip_addresses": [HOST]} | pair
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        (ca or self.tls).issue(name, **given).write(certificate, key)
        return HostileProxy(vault_behind(self.vault), certificate, key)


class Node:
    """certrotd with certificates `c0`, `c1` … of one component each, over a proxy."""

    def __init__(
        self,
        site: Site,
        proxy: HostileProxy,
        directory: Path,
        capture: pytest.CaptureFixture[str],
        certificates: int = 1,
    ) -> None:
        self.site, self.proxy, self.directory, self._capture = site, proxy, directory, capture
        self.pki = directory / "pki"
        self.pki.mkdir()
        secret = directory / "secret-id"
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(site.login.secret_id)
        self.config = directory / "certrotd.yaml"
        self.settings: Settings = {
            "state_directory": str(directory / "state"),
            "limits": {"issuances_per_day": 1000, "workers": 8},
            "vaults": {
                "main": {
                    "address": proxy.address,
                    "ca_file": str(site.tls_file),
                    "auth": {
                        "approle": {"role_id": site.login.role_id, "secret_id_file": str(secret)}
                    },
                    "connect_timeout": "2s",
                    "read_timeout": duration_text(READ_TIMEOUT),
                    "deadline": duration_text(DEADLINE),
                }
            },
            "issuers": {
                "lab": {
                    "vault": {"connection": "main", "mount": site.mount},
                    "trust_anchors": str(site.anchors),
                }
            },
            "components": {f"c{n}": self._component(f"c{n}") for n in range(certificates)},
        }
        self.write()

    def write(self) -> None:
        """Write the configuration."""
        self.config.write_text(yaml.safe_dump(self.settings, sort_keys=False))
        self.config.chmod(0o600)

    @property
    def connection(self) -> Settings:
        """How Vault is spoken to; `write` makes a change count."""
        found: Settings = self.settings["vaults"]["main"]
        return found

    @property
    def issuer(self) -> Settings:
        """The PKI engine's settings; `write` makes a change count."""
        found: Settings = self.settings["issuers"]["lab"]["vault"]
        return found

    @contextlib.contextmanager
    def speaking_to(self, address: str) -> Iterator[None]:
        """Put another address into the configuration for a while."""
        self.connection["address"] = address
        self.write()
        yield
        self.connection["address"] = self.proxy.address
        self.write()

    def rotate(self) -> Outcome:
        """Run `certrotd rotate` in this process."""
        return run_here(self._capture, *self._arguments)

    def rotate_apart(self) -> Outcome:
        """Run `certrotd rotate` as a process of its own, for a minute at most; measure it."""
        return run_apart(self.directory / "output", *self._arguments)

    def files(self) -> Files:
        """Everything below the directory of outputs."""
        return files_below(self.pki)

    def inconsistent(self) -> list[str]:
        """Certificates whose files are not a pair for this name, below the pinned root."""
        return [
            path.name
            for path in self.pki.glob("*.crt")
            if not self._consistent(path.read_bytes(), path.with_suffix(".key").read_bytes())
        ]

    def _consistent(self, certificates: bytes, key: bytes) -> bool:
        chain = x509.split_pem(certificates)
        now = SystemClock().now()
        return (
            x509.owns(Secret(key), chain[0])
            and x509.chain_problem(chain, (self.site.root.pem,), now) is None
        )

    def found_in_state(self, secrets: Iterable[str]) -> list[Path]:
        """Files of certrotd's own that hold one of these texts."""
        return holding(self.directory / "state", secrets)

    def serials(self) -> set[bytes]:
        """What the certificate files hold, one for each certificate."""
        return {path.read_bytes() for path in self.pki.glob("*.crt")}

    @property
    def _arguments(self) -> tuple[str, ...]:
        return ("rotate", "--force", "--yes", "-c", str(self.config))

    def _component(self, name: str) -> Settings:
        certificate = {
            "issuer": "lab",
            "role": "server",
            "common_name": f"{name}.example",
            "dns_names": [f"{name}.example", "localhost"],
            "ip_addresses": ["127.0.0.1"],
            "usages": ["digital signature", "server auth"],
            "outputs": [
                {"certificate": str(self.pki / f"{name}.crt")},
                {"key": str(self.pki / f"{name}.key")},
            ],
        }
        return {"activation": {"none": {}}, "certificates": {name: certificate}}


@contextlib.contextmanager
def unchanged(node: Node) -> Iterator[None]:
    """Publish honestly first; what happens in between must change nothing, and end well after.

    The run after it, against honest Vault, must replace every certificate.
    """
    first = node.rotate()
    assert first.code == 0, first.said
    before, old = node.files(), node.serials()
    node.proxy.honest()
    yield
    assert node.files() == before
    node.proxy.honest()
    last = node.rotate()
    assert last.code == 0, last.said
    assert not node.serials() & old


def signatures(node: Node) -> int:
    """How many signatures real Vault was asked for since the proxy was last honest."""
    return node.proxy.count(Purpose.SIGN, forwarded=True)


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_mode, found.st_uid, found.st_ino


def _content(path: Path) -> str:
    if path.is_symlink():
        return str(path.readlink())
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
