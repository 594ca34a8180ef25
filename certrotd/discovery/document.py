"""The whole configuration file, with what its reader must know."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certrotd.core.model import KeyAlgorithm
from certrotd.discovery import advice
from certrotd.discovery.leaves import UNKNOWN_ISSUER
from certrotd.discovery.sections import component_section
from certrotd.discovery.yamltext import Block, Entry, block, render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.discovery.inventory import Authority, Component, Inventory

_ADDRESS = "https://vault.example:8200"
_TTL = "7d"
FILL_IN = "fill in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the operator says besides; `issuer` is `vault` or `ca`, mounts are by issuer."""

    issuer: str = "vault"
    vault_address: str = ""
    mounts: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""


def document(found: Inventory, wishes: Wishes) -> str:
    """Return the text of the configuration file."""
    key = _usual_key(found)
    used = _authorities(found)
    vault = wishes.issuer == "vault" or any(not each.key for each in used) or _unknown(found)
    top = block(
        Entry("cluster", wishes.cluster or _cluster(found), above=_head(found, wishes)),
        Entry(
            "defaults",
            block(key=key, ttl=_TTL, owner="root", group="root"),
            above=("",),
        ),
        _vaults(wishes) if vault else None,
        _issuers(found, used, wishes),
        Entry(
            "components",
            Block(tuple(component_section(each, found, key) for each in found.components)),
            above=("",),
        ),
    )
    return render(top)


def fill_ins(text: str) -> int:
    """Count the places that are left to the operator."""
    return len(re.findall(rf'# .*{FILL_IN}(?!")', text))


def _usual_key(found: Inventory) -> str:
    """Return the key type that most certificates have."""
    keys = Counter(
        each.pair.leaf.key for component in found.components for each in component.certificates
    )
    known = [key for key, _ in keys.most_common() if key in tuple(KeyAlgorithm)]
    return known[0] if known else KeyAlgorithm.ECDSA_P256


def _authorities(found: Inventory) -> tuple[Authority, ...]:
    """Return the authorities that signed something."""
    signed = [each.authority for component in found.components for each in component.certificates]
    return tuple(each for each in found.authorities if each in signed)


def _unknown(found: Inventory) -> tuple[str, ...]:
    return tuple(
        each.name
        for component in found.components
        for each in component.certificates
        if each.authority is None
    )


def _head(found: Inventory, wishes: Wishes) -> tuple[str, ...]:
    head = advice.HEAD.format(
        node=found.node,
        version=found.version or "(version not known)",
        ranges=", ".join(found.service_ranges) or "not known",
        addresses=", ".join(map(str, found.addresses)) or "not known",
    )
    fill = (advice.FILL,) if wishes.issuer == "vault" else ()
    first = len(fill) + 1
    steps = advice.STEPS.format(*range(first, first + 4))
    notes = tuple(f"- {each}" for each in found.notes)
    return "\n".join((head, *fill, steps, "", advice.LEFT_OUT, *notes)), ""


def _vaults(wishes: Wishes) -> Entry:
    approle = block(
        Entry("role_id_file", "/etc/certrotd/role-id", above=(advice.LOGIN_FILES,), beside=FILL_IN),
        Entry("secret_id_file", "/etc/certrotd/secret-id", beside=FILL_IN),
    )
    address = (
        Entry("address", wishes.vault_address)
        if wishes.vault_address
        else Entry("address", _ADDRESS, beside=FILL_IN)
    )
    auth = Entry("auth", block(approle=approle), above=(advice.CA_FILE,))
    main = Entry("main", block(address, auth))
    return Entry("vaults", block(main), above=("", advice.VAULT.format(ttl=_TTL)))


def _issuers(found: Inventory, used: tuple[Authority, ...], wishes: Wishes) -> Entry:
    entries = [_issuer(each, wishes) for each in used]
    if unknown := _unknown(found):
        told = advice.UNKNOWN_CA.format(names=", ".join(unknown))
        section = block(
            vault=block(connection="main", mount=_mount(UNKNOWN_ISSUER, wishes)),
            trust_anchors=advice.UNKNOWN_FILE,
        )
        entries.append(Entry(UNKNOWN_ISSUER, section, above=(told,)))
    told = advice.ISSUERS
    signing = _signing_file(found)
    if wishes.issuer == "ca":
        told += f"\n{advice.OWN_CA}"
    else:
        told += f"\n{advice.MOVE}"
        if signing in [each.path for each in used]:
            told += f"\n{advice.ONE_SIGNER.format(path=signing)}"
    above = ("", told)
    return Entry("issuers", Block(tuple(entries)), above=above)


def _issuer(authority: Authority, wishes: Wishes) -> Entry:
    above: tuple[str, ...] = ()
    if wishes.issuer == "ca" and authority.key:
        signer = Entry("ca", block(certificate=authority.path, key=authority.key))
    else:
        mount = _mount(authority.name, wishes)
        beside = "" if authority.name in wishes.mounts else FILL_IN
        signer = Entry("vault", block(connection="main", mount=mount), beside=beside)
        if wishes.issuer == "ca":
            above = (advice.NO_KEY.format(path=authority.path),)
    section = block(signer, Entry("trust_anchors", authority.path))
    return Entry(authority.name, section, above=above)


def _cluster(found: Inventory) -> str:
    """Return the name that kube-controller-manager knows the cluster by."""
    manager = found.component("kube-controller-manager")
    name = manager.process.flags.text("--cluster-name") if manager and manager.process else ""
    return name or "kubernetes"


def _mount(name: str, wishes: Wishes) -> str:
    return wishes.mounts.get(name, f"pki/{name}")


def _signing_file(found: Inventory) -> str:
    """Return the CA file that kube-controller-manager signs with."""
    manager: Component | None = found.component("kube-controller-manager")
    reads = manager.reads if manager else ()
    return next((e.path for e in reads if e.material == "cluster-signing"), "")
