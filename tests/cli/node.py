"""A node with a CA, a configuration and the command line run in this process."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import yaml

from certrotd import cli
from certrotd.adapters.ca import create_authority
from certrotd.adapters.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

Settings = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it said, for programs."""
        return json.loads(self.out)


class Node:
    """Two components, `etcd` and `apiserver`, whose certificates nobody needs to be told of."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capture = capture
        certificate, key = create_authority(
            "lab", SystemClock().now() - timedelta(days=30), timedelta(days=365)
        )
        (directory / "ca.crt").write_bytes(certificate)
        fd = os.open(directory / "ca.key", os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(fd, key.reveal())
        os.close(fd)
        (directory / "pki").mkdir(mode=0o755)
        self.config = directory / "certrotd.yaml"
        self.settings: Settings = {
            "state_directory": str(directory / "state"),
            "issuers": {
                "lab": {
                    "ca": {
                        "certificate": str(directory / "ca.crt"),
                        "key": str(directory / "ca.key"),
                    }
                }
            },
            "components": {
                "etcd": self.component("etcd"),
                "apiserver": self.component("apiserver"),
            },
        }
        self.write()

    def component(self, name: str, **changes: Any) -> Settings:
        """A component with one certificate of the same name."""
        certificate = {
            "issuer": "lab",
            "common_name": f"{name}.example",
            "dns_names": [f"{name}.example"],
            "usages": ["digital signature", "server auth"],
            "outputs": [
                {"certificate": str(self.directory / "pki" / f"{name}.crt")},
                {"key": str(self.directory / "pki" / f"{name}.key")},
            ],
        }
        return {"activation": {"none": {}}, "certificates": {name: certificate}} | changes

    def write(self) -> None:
        """Write the configuration."""
        self.config.write_text(yaml.safe_dump(self.settings, sort_keys=False))
        self.config.chmod(0o600)

    def run(self, *arguments: str, config: bool = True) -> Outcome:
        """Run a command."""
        self._capture.readouterr()
        argv = ["certrotd", *arguments, *(["-c", str(self.config)] if config else [])]
        before, sys.argv = sys.argv, argv
        try:
            cli.main()
            code = 0
        except SystemExit as e:
            code = int(e.code or 0)
        finally:
            sys.argv = before
        said = self._capture.readouterr()
        return Outcome(code=code, out=said.out, err=said.err)

    def pair(self, name: str) -> tuple[bytes, bytes]:
        """The bytes of certificate and key."""
        pki = self.directory / "pki"
        return (pki / f"{name}.crt").read_bytes(), (pki / f"{name}.key").read_bytes()
