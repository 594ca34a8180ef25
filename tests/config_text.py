"""Configurations as text, and what certrotd says about them."""

from __future__ import annotations

from pathlib import Path

from certrotd.config import load
from certrotd.core.errors import ConfigError

EXAMPLES = Path("config/presets").resolve()
ISSUERS = """\
issuers:
  kubernetes: {ca: {certificate: /lab/k.crt, key: /lab/k.key}}
  etcd: {ca: {certificate: /lab/e.crt, key: /lab/e.key}}
  front-proxy: {ca: {certificate: /lab/f.crt, key: /lab/f.key}}
"""
KUBEADM = f"""\
node: master-1
preset:
  layout: kubeadm
  advertise_address: 10.0.0.11
  service_ip: 10.96.0.1
{ISSUERS}"""
FIRST = len(KUBEADM.splitlines()) + 1
"""The line of what is appended."""
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
