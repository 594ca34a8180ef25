"""Where processes listen, in a form that their certificates have among their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from certrotd.discovery.process import EVERYWHERE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.core.model import ParsedCertificate
    from certrotd.discovery.inventory import Inventory
    from certrotd.discovery.process import Process

LOOPBACK = ("127.0.0.1", "::1", "localhost")
HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a port; `named` tells whether the served certificate has the host's name."""

    host: str
    port: int
    named: bool = True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL without a path."""
        return f"https://{self}"


def endpoint(url: str) -> Endpoint | None:
    """Read an https:// URL; None if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or HTTPS_PORT
    except ValueError:
        return None
    if parts.scheme != "https" or parts.hostname is None:
        return None
    return Endpoint(parts.hostname, port)


def serving(process: Process, leaf: ParsedCertificate | None, found: Inventory) -> Endpoint | None:
    """Return where a Kubernetes program serves; None if it does not."""
    port = process.program.port
    address = process.program.address
    if port is None:
        return None
    number = process.flags.text(port.flag, port.default) if port.flag else port.default
    if not number.isdigit() or number == "0":
        return None
    bound = process.flags.text(address.flag) if address and address.flag else ""
    if match := re.fullmatch(r"(?:\[(.*)\]|([^:]*)):([0-9]+)", bound):
        bound, number = match[1] or match[2], match[3]  # kube-proxy's is one flag with both
    hosts = [bound]
    if bound in EVERYWHERE:
        hosts = [process.flags.text("--advertise-address"), *LOOPBACK[:2], *_own(found)]
    return _best(hosts, int(number), leaf)


def listening(urls: str, leaf: ParsedCertificate | None, found: Inventory) -> Endpoint | None:
    """Return the one of etcd's `--listen-*-urls` that a client on this node can check best."""
    candidates = []
    for each in filter(None, map(endpoint, urls.split(","))):
        hosts = (each.host,) if each.host not in EVERYWHERE else (*LOOPBACK[:2], *_own(found))
        if (best := _best(hosts, each.port, leaf)) is not None:
            candidates.append(best)
    candidates.sort(key=lambda each: (not each.named, each.host not in LOOPBACK))
    return candidates[0] if candidates else None


def is_local(host: str, found: Inventory) -> bool:
    """Whether an address is one of this node's."""
    return host in LOOPBACK or host in _own(found)


def covers(leaf: ParsedCertificate, host: str) -> bool:
    """Whether a client that asks for the host accepts the certificate (RFC 6125)."""
    try:
        return ip_address(host) in leaf.ip_addresses
    except ValueError:
        wanted = host.lower().rstrip(".")
        wild = "*." + wanted.partition(".")[2]
        return any(each.lower() in (wanted, wild) for each in leaf.dns_names)


def _own(found: Inventory) -> tuple[str, ...]:
    return tuple(map(str, found.addresses))


def _best(hosts: Iterable[str], port: int, leaf: ParsedCertificate | None) -> Endpoint | None:
    given = [each for each in hosts if each and "$" not in each]
    if leaf is not None and (good := next((h for h in given if covers(leaf, h)), None)):
        return Endpoint(good, port)
    return Endpoint(given[0], port, named=leaf is None) if given else None
