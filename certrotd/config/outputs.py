"""Checks of outputs: what a certificate must leave behind, and who may write which path."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from certrotd.core.model import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from certrotd.config import settings
    from certrotd.config.faults import Faults
    from certrotd.config.source import Location

TREE = ".certrotd"
"""The folder beside the first output in which a store keeps its generations."""

_RESERVED = "MANIFEST"
"""The file in each generation that lists the others."""


def kind_of(given: settings.Output) -> str:
    """Return which of its kinds an output is."""
    return next(kind for kind in given.one_of if getattr(given, kind) is not None)


def path_of(given: settings.Output) -> str:
    """Return the path of an output, whichever its kind is."""
    return str(getattr(given, kind_of(given)))


def embeds(given: settings.Output) -> bool:
    """Tell whether an output is a kubeconfig with its identity inside."""
    return given.kubeconfig is not None and given.embed is not False


PAIR = "kubeconfig-pair"
"""The material of certificate and key files that a kubeconfig names."""


def pair_material(certificate: settings.Certificate) -> str | None:
    """Tell what a pair is to its component, in the words of the reload matrix.

    Without a word of the configuration: the pair of a kubeconfig beside it, or not known.
    """
    if certificate.material:
        return certificate.material
    return PAIR if any(each.kubeconfig for each in certificate.outputs) else None


def material_of(given: settings.Output, certificate: settings.Certificate) -> str | None:
    """Tell what an output is to its component, in the words of the reload matrix."""
    if given.material or given.ca:
        return given.material
    if given.kubeconfig:
        return "kubeconfig-embedded" if embeds(given) else "kubeconfig"
    return pair_material(certificate)


def holds_identity(outputs: Iterable[settings.Output]) -> bool:
    """Tell whether certificate and key can be read back from the outputs."""
    given = tuple(outputs)
    return holds_certificate(given) and holds_key(given)


def holds_key(outputs: Iterable[settings.Output]) -> bool:
    """Tell whether the private key is in one of the outputs."""
    return any(each.key or each.combined or embeds(each) for each in outputs)


def holds_certificate(outputs: Iterable[settings.Output]) -> bool:
    """Tell whether the certificate is in one of the outputs."""
    return any(each.certificate or each.combined or embeds(each) for each in outputs)


class OutputChecks:
    """Checks each certificate's outputs as it comes, and at the end all paths together."""

    def __init__(self, root: settings.Root, faults: Faults) -> None:
        self._root = root
        self._faults = faults
        self._paths: dict[str, tuple[Location, str]] = {}

    def certificate(self, at: Location, given: settings.Certificate) -> None:
        """Check the outputs of one certificate."""
        here = (*at, "outputs")
        if not given.outputs:
            self._faults.add(here, "must name at least one file")
            return
        if not holds_key(given.outputs):
            self._faults.add(here, "no output holds the private key: add key: or combined:")
        if not holds_certificate(given.outputs):
            self._faults.add(here, "no output holds the certificate: add certificate: or combined:")
        names = [posixpath.basename(path_of(each)) for each in given.outputs]
        for i, output in enumerate(given.outputs):
            if names[i] in names[:i]:
                self._faults.add((*here, i), f"has the same file name as another: {names[i]}")
            self._output((*here, i), output)
            if output.kubeconfig:
                self._kubeconfig((*here, i), output, given)

    def check_paths(self) -> None:
        """Check what all outputs together must keep to."""
        for path, (at, _) in self._paths.items():
            for above in _above(path):
                if above in self._paths:
                    message = f"{path} lies below {above}, which is a file"
                    self._faults.add(at, f"{message} of {self._paths[above][1]}")
        for at, path in self._pinned():
            if path in self._paths:
                owner = self._paths[path][1]
                self._faults.add(
                    at, f"is written by {owner}: what is trusted must not depend on an answer"
                )

    def _pinned(self) -> Iterator[tuple[Location, str]]:
        for name, issuer in self._root.issuers.items():
            if issuer.trust_anchors:
                yield ("issuers", name, "trust_anchors"), issuer.trust_anchors
            if issuer.ca:
                yield ("issuers", name, "ca", "certificate"), issuer.ca.certificate
                yield ("issuers", name, "ca", "key"), issuer.ca.key

    def _output(self, at: Location, given: settings.Output) -> None:
        kind, path = kind_of(given), path_of(given)
        here = (*at, kind)
        if path in self._paths:
            self._faults.add(here, f"{path} is written by {self._paths[path][1]} already")
        owner = f"certificate '{at[3]}' of component '{at[1]}'"
        self._paths.setdefault(path, (here, owner))
        if TREE in path.split("/"):
            self._faults.add(here, f"lies inside a generation tree ({TREE}/) of certrotd")
        if self._root.state_directory in (path, *_above(path)):
            self._faults.add(here, "lies inside state_directory, which is certrotd's own")
        if posixpath.basename(path) == _RESERVED:
            self._faults.add(here, f"the file name {_RESERVED} is certrotd's own")
        if kind != "kubeconfig":
            for key in ("server", "cluster", "user", "embed", "ca_file"):
                if getattr(given, key) is not None:
                    self._faults.add((*at, key), "goes with a kubeconfig only")

    def _kubeconfig(
        self, at: Location, given: settings.Output, certificate: settings.Certificate
    ) -> None:
        if given.server is None:
            self._faults.add((*at, "server"), "is required for a kubeconfig")
        if Usage.CLIENT_AUTH not in certificate.usages:
            self._faults.add(
                (*at, "kubeconfig"),
                "needs a certificate with the usage 'client auth'",
                (*at[:-2], "usages"),
            )
        beside = [each for each in certificate.outputs if not each.kubeconfig]
        if not embeds(given) and not holds_identity(beside):
            self._faults.add(
                (*at, "embed"),
                "a kubeconfig that names files needs certificate: and key: outputs beside it",
                at[:-1],
            )


def _above(path: str) -> Iterator[str]:
    """Yield the folders a path lies in, nearest first."""
    while (path := posixpath.dirname(path)) != "/":
        yield path
