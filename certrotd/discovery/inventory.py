"""The nouns of what was found on a node, between looking and writing it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from certrotd.core.model import FileFacts
    from certrotd.discovery.identities import Kubeconfig, Pair
    from certrotd.discovery.kubelet import Kubelet
    from certrotd.discovery.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A CA file that components trust today; `name` is the issuer's.

    `key` is the path of its private key, empty if that is not on this node; `uses` tells which
    flags name the file.
    """

    name: str
    path: str
    certificates: tuple[bytes, ...]
    key: str = ""
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An output as it lies there; `kind` is certificate, key or kubeconfig."""

    kind: str
    path: str
    facts: FileFacts
    kubeconfig: Kubeconfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A pair and its files; `authority` is None where no CA file on the node signed it."""

    name: str
    material: str
    pair: Pair
    files: tuple[File, ...]
    authority: Authority | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A file that is read and not written: its path on the host, and what it is."""

    path: str
    material: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A process with its certificates; without a process they are people's kubeconfigs."""

    name: str
    process: Process | None
    certificates: tuple[Certificate, ...]
    reads: tuple[Read, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, material: str) -> Certificate | None:
        """Return the first certificate of a material."""
        return next((each for each in self.certificates if each.material == material), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All that was found; components in the order in which they are to be done."""

    node: str
    addresses: tuple[IPv4Address | IPv6Address, ...]
    components: tuple[Component, ...]
    authorities: tuple[Authority, ...]
    kubelet: Kubelet
    version: str = ""
    service_ranges: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def component(self, program: str) -> Component | None:
        """Return the component of a program, the first if there are several."""
        return next(
            (e for e in self.components if e.process and e.process.program.name == program), None
        )

    def certificate(self, name: str) -> Certificate | None:
        """Return a certificate by its name."""
        found = (each for component in self.components for each in component.certificates)
        return next((each for each in found if each.name == name), None)
