"""Certificates, keys and kubeconfigs as they lie on a node."""

from __future__ import annotations

import base64
import binascii
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.core import x509
from certrotd.core.model import Secret
from certrotd.discovery import tree

if TYPE_CHECKING:
    from certrotd.core.model import ParsedCertificate
    from certrotd.discovery.tree import Tree


class NoIdentity(ValueError):
    """Files do not hold a certificate and its key; shows nothing of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate with its chain, and that the key beside it belongs to it."""

    leaf: ParsedCertificate
    chain: tuple[bytes, ...]


def pair(certificate: bytes, key: bytes) -> Pair:
    """Understand a certificate and a key.

    Raises:
        NoIdentity: they are none, or do not belong together.
    """
    try:
        chain = x509.split_pem(certificate)
        leaf = x509.parse_certificate(chain[0])
    except ValueError as e:
        raise NoIdentity(f"the certificate cannot be used: {e}") from None
    try:
        public = x509.public_key_of(Secret(_key_block(key)))
    except ValueError as e:
        raise NoIdentity(f"the private key cannot be used: {e}") from None
    if public != leaf.public_key:
        raise NoIdentity("the private key does not belong to the certificate")
    return Pair(leaf=leaf, chain=chain)


def _key_block(content: bytes) -> bytes:
    """Return the private key of a PEM file that may hold other things before it."""
    end = content.find(b"PRIVATE KEY-----")
    start = content.rfind(b"-----BEGIN", 0, end) if end >= 0 else -1
    return content[max(start, 0) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """What a kubeconfig's current context says.

    The identity is inside (`pair`), in files (`certificate_file`, `key_file`), or of another kind
    (`other`, such as a token). `differs` names what certrotd would write in another way.
    """

    server: str
    cluster: str
    user: str
    authority: tuple[bytes, ...] = ()
    authority_file: str = ""
    pair: Pair | None = None
    certificate_file: str = ""
    key_file: str = ""
    other: str = ""
    differs: tuple[str, ...] = ()


def kubeconfig(path: str, content: bytes) -> Kubeconfig:
    """Understand a kubeconfig; relative paths in it are relative to its folder.

    Raises:
        NoIdentity: it is none, or what it holds cannot be used.
    """
    try:
        document = tree.parse(content)
    except tree.NoYaml as e:
        raise NoIdentity(f"{e}, in line {e.line}" if e.line else str(e)) from None
    current = document["current-context"].text
    context = _named(document["contexts"], current, "context")
    cluster = _named(document["clusters"], context["cluster"].text, "cluster")
    user = _named(document["users"], context["user"].text, "user")

    def beside(name: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) if name else ""

    authority = _data(cluster, "certificate-authority-data")
    certificate = _data(user, "client-certificate-data")
    key = _data(user, "client-key-data")
    try:
        trusted = x509.split_pem(authority) if authority else ()
    except ValueError as e:
        raise NoIdentity(f"certificate-authority-data: {e}") from None
    return Kubeconfig(
        server=cluster["server"].text,
        cluster=context["cluster"].text,
        user=context["user"].text,
        authority=trusted,
        authority_file=beside(cluster["certificate-authority"].text),
        pair=pair(certificate, key) if certificate and key else None,
        certificate_file="" if certificate else beside(user["client-certificate"].text),
        key_file="" if key else beside(user["client-key"].text),
        other=next(
            (k for k in ("token", "tokenFile", "exec", "auth-provider") if user[k].node), ""
        ),
        differs=tuple(_differences(document, context, cluster)),
    )


def _named(entries: Tree, name: str, kind: str) -> Tree:
    for each in entries.each():
        if each["name"].text == name and each[kind].is_mapping:
            return each[kind]
    raise NoIdentity(f"is no kubeconfig with a current context: its {kind} is missing")


def _data(mapping: Tree, key: str) -> bytes:
    try:
        return base64.b64decode("".join(mapping[key].text.split()), validate=True)
    except binascii.Error:
        raise NoIdentity(f"{key} is not base64") from None


def _differences(document: Tree, context: Tree, cluster: Tree) -> list[str]:
    """Name what a kubeconfig written by certrotd would lose or change."""
    told = []
    user, name = context["user"].text, context["cluster"].text
    if document["current-context"].text != f"{user}@{name}":
        told.append(f"the context is called {user}@{name} from then on")
    told += [
        f"only the current one of its {kind} is kept"
        for kind in ("contexts", "clusters", "users")
        if len(document[kind].each()) > 1
    ]
    if context["namespace"].text:
        told.append("the context's namespace is not kept")
    known = {"server", "certificate-authority", "certificate-authority-data"}
    told += [f"{key} is not kept" for key, _ in cluster.items() if key not in known]
    return told
