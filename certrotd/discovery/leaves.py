"""One certificate as a section: what the live leaf says, in the configuration's words."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from certrotd.core.model import KeyAlgorithm, Usage
from certrotd.discovery import advice
from certrotd.discovery.yamltext import Block, Entry, block

if TYPE_CHECKING:
    from certrotd.core.model import ParsedCertificate
    from certrotd.discovery.identities import Kubeconfig
    from certrotd.discovery.inventory import Certificate, Component, File, Inventory

UNKNOWN_ISSUER = "unknown"
_DEFAULT_MODES = {"certificate": 0o644}
_SECRET_MODE = 0o600
_ROOT = "root"


def certificate_section(
    certificate: Certificate, component: Component, found: Inventory, key: str
) -> Entry:
    """Return the section of one certificate; `key` is the key type that need not be written."""
    leaf = certificate.pair.leaf
    usages, notes = _usages(certificate, component)
    notes += [*certificate.notes, *_lost(leaf), *_service(certificate, component, found)]
    known_key = leaf.key in tuple(KeyAlgorithm)
    if not known_key:
        notes.append(f"the key in place is {leaf.key}, which certrotd does not make; {key} follows")
    if not leaf.common_name:
        notes.append("the certificate in place has no common name, which certrotd needs")
    embedded = certificate.material == "kubeconfig-embedded"
    section = block(
        Entry("issuer", certificate.authority.name if certificate.authority else UNKNOWN_ISSUER),
        Entry("common_name", leaf.common_name or certificate.name),
        _listed("organizations", leaf.organizations),
        _listed("dns_names", leaf.dns_names),
        _listed("ip_addresses", tuple(map(str, leaf.ip_addresses))),
        _listed("uris", leaf.uris),
        Entry("usages", usages),
        Entry("key", leaf.key) if known_key and leaf.key != key else None,
        Entry("material", certificate.material) if component.process and not embedded else None,
        Entry(
            "outputs", tuple(_output(each, certificate, found, notes) for each in certificate.files)
        ),
    )
    return Entry(certificate.name, section, above=tuple(notes))


def _listed(key: str, values: tuple[str, ...]) -> Entry | None:
    return Entry(key, values) if values else None


def _usages(certificate: Certificate, component: Component) -> tuple[tuple[str, ...], list[str]]:
    """Return the usages of the leaf, and notes about those that cannot be asked for."""
    leaf = certificate.pair.leaf
    known = {str(each) for each in Usage}
    notes = []
    extended = tuple(each for each in leaf.extended_usages if each in known)
    if not extended:
        extended = _expected(certificate, component)
        notes.append(
            "the certificate in place has no extended key usage of a server or client; "
            f"{', '.join(extended)} is asked for, and `certrotd plan` says spec_changed once"
        )
    plain = tuple(leaf.usages)
    if foreign := [each for each in plain if each not in known]:
        notes.append(f"key usages are left to the role: {', '.join(foreign)} cannot be asked for")
        plain = ()
    if foreign := [each for each in leaf.extended_usages if each not in known]:
        notes.append(f"extended key usage {', '.join(foreign)} is not kept")
    return (*plain, *extended), notes


def _expected(certificate: Certificate, component: Component) -> tuple[str, ...]:
    pairs = component.process.program.pairs if component.process else ()
    usages = next((e.usages for e in pairs if e.material == certificate.material), ())
    return tuple(str(e) for e in usages if e.extended) or (str(Usage.CLIENT_AUTH),)


def _lost(leaf: ParsedCertificate) -> list[str]:
    return (
        [f"not kept of the certificate in place: {', '.join(leaf.foreign)}"] if leaf.foreign else []
    )


def _service(certificate: Certificate, component: Component, found: Inventory) -> list[str]:
    """Say whether pods can verify the API server at its service's address."""
    process = component.process
    if process is None or process.program.name != "kube-apiserver":
        return []
    if certificate.material != "serving":
        return []
    notes = []
    for each in found.service_ranges:
        try:
            first = ip_network(each, strict=False)[1]
        except (ValueError, IndexError):
            continue
        if first not in certificate.pair.leaf.ip_addresses:
            notes.append(advice.SERVICE_ADDRESS.format(address=first))
    return notes


def _output(file: File, certificate: Certificate, found: Inventory, notes: list[str]) -> Block:
    mode, owner = _mode(file, notes), file.facts
    given = file.kubeconfig
    if given and given.differs:
        notes.append(f"{file.path}, when certrotd writes it: {'; '.join(given.differs)}")
    return block(
        Entry(file.kind, file.path),
        Entry("server", given.server) if given else None,
        Entry("cluster", given.cluster) if given else None,
        Entry("user", given.user) if given else None,
        _server_ca(file.path, given, certificate, found, notes) if given else None,
        Entry("mode", f"{mode:04o}")
        if mode != _DEFAULT_MODES.get(file.kind, _SECRET_MODE)
        else None,
        Entry("owner", owner.owner) if owner.owner != _ROOT else None,
        Entry("group", owner.group) if owner.group != _ROOT else None,
    )


def _server_ca(
    path: str, given: Kubeconfig, certificate: Certificate, found: Inventory, notes: list[str]
) -> Entry | None:
    """Return the API server's CA where the issuer's trust anchors, the default, are not it."""
    if given.authority_file:
        return Entry("ca_file", given.authority_file)
    issuer = certificate.authority.certificates if certificate.authority else ()
    if given.authority == issuer:
        return None
    known = (each.path for each in found.authorities if each.certificates == given.authority)
    if file := next(known, None):
        notes.append(advice.NAMED_CA.format(path=path, file=file))
        return Entry("ca_file", file)
    notes.append(advice.UNKNOWN_SERVER_CA.format(path=path))
    return None


def _mode(file: File, notes: list[str]) -> int:
    """Return the file's mode, without what would be unsafe."""
    secret = file.kind != "certificate"
    allowed = 0o640 if secret else 0o644
    mode = file.facts.mode & allowed | 0o400
    if mode != file.facts.mode:
        notes.append(
            f"{file.path} has mode {file.facts.mode:04o}; {mode:04o} follows, which is safe"
        )
    return mode
