"""Configurations as text, and what certrotd says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.config import load
from certrotd.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
issuers:
  lab: {ca: {certificate: /lab/ca.crt, key: /lab/ca.key}}
components:
  etcd:
    activation: {none: {}}
    certificates:
      server:
        issuer: lab
        common_name: etcd
        dns_names: [localhost]
        usages: [server auth, client auth]
        outputs: [{combined: /pki/etcd.pem}]
"""
"""The smallest configuration there is, twelve lines."""


def write(folder: Path, text: str, name: str = "certrotd.yaml") -> Path:
    """Put a configuration file into a folder."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path) -> list[str]:
    """Return what is wrong with a configuration, as `line: key: message`, or nothing."""
    try:
        load(path)
    except ConfigError as e:
        return [str(each).removeprefix(f"{path.parent}/") for each in e.problems]
    return []
