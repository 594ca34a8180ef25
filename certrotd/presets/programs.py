"""The programs of a control plane, from `programs.yaml`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from certrotd.core.model import Usage
from certrotd.presets.reading import document, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

KUBECONFIG_MATERIALS = ("kubeconfig", "kubeconfig-embedded", "kubeconfig-pair", "kubeconfig-ca")
"""The file itself; the identity inside it; certificate files it names; CA files it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagPair:
    """An identity of a program: the flags that name its files, and what it is used for.

    In a list (`listed`) one flag, given several times, names both files: `certificate,key`.
    """

    material: str
    certificate: tuple[str, ...]
    key: tuple[str, ...]
    usages: tuple[Usage, ...]
    listed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a program listens; a flag is empty where there is none."""

    flag: str
    default: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The Lease whose holder leads."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is known of one program.

    Flags without leading dashes are keys of its configuration file. `environment` begins the
    names of variables that stand for flags. `health` and `version_path` are HTTPS paths on
    `port`, `version_arguments` make the binary say its version.
    """

    name: str
    releases: str
    after: tuple[str, ...]
    pairs: tuple[FlagPair, ...]
    files: Mapping[str, tuple[str, ...]]
    kubeconfigs: tuple[str, ...]
    memory: tuple[str, ...]
    address: Address | None
    port: Address | None
    peer_port: Address | None
    health: str | None
    version_path: str | None
    version_arguments: tuple[str, ...]
    lease: Lease | None
    environment: str

    @property
    def materials(self) -> tuple[str, ...]:
        """All materials the program has, each once."""
        kubeconfigs = KUBECONFIG_MATERIALS if self.kubeconfigs else ()
        pairs = (each.material for each in self.pairs)
        return tuple(dict.fromkeys((*pairs, *self.files, *kubeconfigs, *self.memory)))

    def flags(self, material: str) -> tuple[str, ...]:
        """Return the flags that name a material's files; none for what is in memory."""
        if material in KUBECONFIG_MATERIALS:
            return self.kubeconfigs
        named = (each for each in self.pairs if each.material == material)
        of_pairs = (flag for each in named for flag in (*each.certificate, *each.key))
        return tuple(dict.fromkeys((*of_pairs, *self.files.get(material, ()))))

    def material(self, flag: str) -> str | None:
        """Return what a flag that names no kubeconfig names; None if no certificates or keys."""
        if flag in self.kubeconfigs:
            return None
        return next((each for each in self.materials if flag in self.flags(each)), None)


@functools.cache
def programs() -> Mapping[str, Program]:
    """Return the programs by name, in the order of the file."""
    return {name: _program(name, **data) for name, data in document("programs.yaml").items()}


def _program(  # noqa: PLR0913  # the keys of the file
    name: str,
    *,
    releases: str,
    version: Mapping[str, Any],
    pairs: Mapping[str, Mapping[str, Any]] | None = None,
    lists: Mapping[str, Mapping[str, Any]] | None = None,
    files: Mapping[str, Any] | None = None,
    lease: Mapping[str, str] | None = None,
    **given: Any,
) -> Program:
    plain = [_pair(material, **each) for material, each in (pairs or {}).items()]
    repeated = [
        _pair(material, certificate=each["flag"], usages=each["usages"], listed_=True)
        for material, each in (lists or {}).items()
    ]
    return Program(
        name=name,
        releases=releases,
        after=listed(given.pop("after", None)),
        pairs=(*plain, *repeated),
        files={material: listed(flags) for material, flags in (files or {}).items()},
        kubeconfigs=listed(given.pop("kubeconfigs", None)),
        memory=listed(given.pop("memory", None)),
        address=_address(given.pop("address", None)),
        port=_address(given.pop("port", None)),
        peer_port=_address(given.pop("peer_port", None)),
        health=given.pop("health", None),
        version_path=version.get("path"),
        version_arguments=listed(version.get("arguments")),
        lease=Lease(**lease) if lease else None,
        environment=given.pop("environment", ""),
        **given,
    )


def _pair(
    material: str,
    *,
    usages: list[str],
    certificate: Any = None,
    key: Any = None,
    listed_: bool = False,
) -> FlagPair:
    return FlagPair(
        material=material,
        certificate=listed(certificate),
        key=listed(key),
        usages=tuple(map(Usage, usages)),
        listed=listed_,
    )


def _address(given: Mapping[str, Any] | None) -> Address | None:
    return Address(flag=given.get("flag", ""), default=str(given["default"])) if given else None
