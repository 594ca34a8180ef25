"""What is in a file: certificates, keys, kubeconfigs; and which key belongs to which leaf."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from certrotd.cli.tables import moment, short, table
from certrotd.core import render, x509
from certrotd.core.model import (
    Kubeconfig,
    Output,
    OutputKind,
    ParsedCertificate,
    Secret,
    StoredFile,
)

LARGEST = 4 << 20
"""Bytes; no file with certificates is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One certificate, one key, or why there is neither."""

    path: str
    certificate: ParsedCertificate | None = None
    public_key: str = ""
    problem: str = ""

    def data(self) -> dict[str, object]:
        """Return it for programs."""
        found = self.certificate
        if found is None:
            kind = "unreadable" if self.problem else "private key"
            return {
                "path": self.path,
                "kind": kind,
                "public_key": self.public_key or None,
                "problem": self.problem or None,
            }
        return {
            "path": self.path,
            "kind": "ca certificate" if found.is_ca else "certificate",
            "subject": found.subject,
            "issuer": found.issuer,
            "serial": found.serial,
            "not_before": moment(found.not_before),
            "not_after": moment(found.not_after),
            "dns_names": list(found.dns_names),
            "ip_addresses": [str(each) for each in found.ip_addresses],
            "uris": list(found.uris),
            "usages": [*found.usages, *found.extended_usages],
            "key": found.key,
            "fingerprint": found.fingerprint,
            "public_key": found.public_key,
        }


def inspect_file(path: str) -> tuple[Item, ...]:
    """Return what is in a file; what cannot be understood is an item with a problem."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as e:
        return (Item(path=path, problem=e.strerror or str(e)),)
    if len(content) > LARGEST:
        return (Item(path=path, problem="too large to hold certificates"),)
    chain: tuple[bytes, ...] = ()
    key: Secret | None = None
    try:
        if b"-----BEGIN CERTIFICATE-----" in content:
            chain = x509.split_pem(content)
        if b"PRIVATE KEY-----" in content:
            key = Secret(content[content.index(b"-----BEGIN", _key_start(content)) :])
        if not chain and key is None:
            identity = render.identity((_as_kubeconfig(path, content),))
            chain, key = identity.chain, identity.private_key
        items = [Item(path=path, certificate=x509.parse_certificate(each)) for each in chain]
        if key is not None:
            items.append(Item(path=path, public_key=x509.public_key_of(key)))
    except ValueError as e:
        return (Item(path=path, problem=str(e).removeprefix(f"{path}: ")),)
    return tuple(items)


def _key_start(content: bytes) -> int:
    """Return where the line that begins the private key starts."""
    return content.rindex(b"-----BEGIN", 0, content.index(b"PRIVATE KEY-----"))


def _as_kubeconfig(path: str, content: bytes) -> StoredFile:
    output = Output(
        path=path, kind=OutputKind.KUBECONFIG, mode=0o600, kubeconfig=Kubeconfig(server="")
    )
    return StoredFile(output=output, content=Secret(content))


def inspected_text(items: list[Item]) -> str:
    """Return a table; keys name the file of the leaf they belong to."""
    leaves = {i.certificate.public_key: i.path for i in items if i.certificate}
    rows = []
    for item in items:
        if (found := item.certificate) is not None:
            kind = "ca" if found.is_ca else "certificate"
            names = [*found.dns_names, *map(str, found.ip_addresses), *found.uris]
            detail = f"{found.subject or '-'}  [{', '.join(names)}]" if names else found.subject
            rows.append((item.path, kind, short(found.serial), moment(found.not_after), detail))
        elif item.problem:
            rows.append((item.path, "-", "-", "-", item.problem))
        else:
            partner = leaves.get(item.public_key)
            detail = f"belongs to {partner}" if partner else "belongs to none of these"
            rows.append((item.path, "key", "-", "-", detail))
    return table(("FILE", "KIND", "SERIAL", "NOT AFTER", "DETAIL"), rows)
