"""The CA files of a node: which are there, what they are called, and who signed a leaf."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from certrotd.core import x509
from certrotd.core.model import Secret
from certrotd.discovery.inventory import Authority

if TYPE_CHECKING:
    from certrotd.discovery.files import Named, Reader
    from certrotd.discovery.identities import Pair

_NAMES = {
    "client-ca": "kubernetes",
    "root-ca": "kubernetes",
    "cluster-signing": "kubernetes",
    "request-header-ca": "front-proxy",
    "etcd-ca": "etcd",
    "trusted-ca": "",
    "peer-trusted-ca": "-peer",
}
"""Issuers by the material that names their CA; etcd's are called after the component."""
_RANK = ("kubernetes", "front-proxy", "etcd")


class Authorities:
    """Collects CA files; files with the same certificates are one authority."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._found: dict[tuple[bytes, ...], list[tuple[str, str, str]]] = {}
        self._keys: dict[str, str] = {}

    def add(self, named: Named, material: str) -> None:
        """Take a CA file that a flag names."""
        content = self._reader.content(named)
        if content is None:
            return
        try:
            certificates = x509.split_pem(content)
            for each in certificates:
                x509.parse_certificate(each)
        except ValueError as e:
            self._reader.unusable(named, str(e))
            return
        told = _NAMES.get(material, material)
        if told.startswith("-") or not told:
            told = named.process.name + told
        use = f"{named.process.name} {named.flag}"
        self._found.setdefault(certificates, []).append((named.path, told, use))

    def add_beside(self, named: Named, embedded: tuple[bytes, ...]) -> None:
        """Look for the file of a CA that a kubeconfig embeds, where kubeadm and others put it."""
        if not embedded or embedded in self._found:
            return
        folder = posixpath.dirname(named.path)
        for path in (f"{folder}/pki/ca.crt", f"{folder}/ca.crt", "/etc/kubernetes/pki/ca.crt"):
            content = self._reader.optional(path)
            try:
                certificates = x509.split_pem(content) if content else ()
            except ValueError:
                continue  # no flag names it: it is only a guess
            if certificates == embedded:
                use = f"{named.process.name} {posixpath.basename(named.path)}"
                self._found[certificates] = [(path, "kubernetes", use)]
                return

    def add_key(self, certificate: str, key: str) -> None:
        """Remember that flags name the key of a CA file."""
        self._keys[certificate] = key

    def all(self) -> tuple[Authority, ...]:
        """Return the authorities, each with a name of its own."""
        taken: set[str] = set()
        result = []
        for certificates, uses in self._found.items():
            names = [name for _, name, _ in uses]
            wanted = next((each for each in _RANK if each in names), names[0])
            name = wanted
            while name in taken:
                number = int(re.sub(r".*-(\d+)$", r"\1", name)) if name != wanted else 1
                name = f"{wanted}-{number + 1}"
            taken.add(name)
            path = uses[0][0]
            result.append(
                Authority(
                    name=name,
                    path=path,
                    certificates=certificates,
                    key=self._key_of(path, certificates[0]),
                    uses=tuple(dict.fromkeys(use for _, _, use in uses)),
                )
            )
        return tuple(result)

    def _key_of(self, path: str, certificate: bytes) -> str:
        """Return where the key of a CA is: where flags say, or beside it, as is usual."""
        stem = posixpath.splitext(path)[0]
        usual = (f"{stem}.key", f"{stem}-key.pem")
        public = x509.parse_certificate(certificate).public_key
        for each in filter(None, (self._keys.get(path), *usual)):
            try:
                key = self._reader.node.read(each)
                if x509.public_key_of(Secret(key)) == public:
                    return each
            except (OSError, ValueError):
                continue  # an external CA: its key is elsewhere, and that is no fault
        return ""


def signer(pair: Pair, known: tuple[Authority, ...]) -> Authority | None:
    """Return the authority a pair builds to, at the beginning of its life."""
    at = pair.leaf.not_before
    built = (e for e in known if x509.chain_problem(pair.chain, e.certificates, at) is None)
    return next(built, None)
