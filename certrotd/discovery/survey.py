"""From processes to an inventory: every file their flags name is read and understood."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from certrotd.core.errors import NotUnderstood
from certrotd.discovery import tree
from certrotd.discovery.authorities import Authorities, signer
from certrotd.discovery.commandline import Word
from certrotd.discovery.files import Reader
from certrotd.discovery.holdings import Holdings
from certrotd.discovery.inventory import Component, Inventory
from certrotd.discovery.kubelet import kubelet

if TYPE_CHECKING:
    from certrotd.discovery.inventory import Authority
    from certrotd.discovery.process import Process
    from certrotd.ports import Node

_ORDER = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
_PEOPLE = ("admin.conf", "super-admin.conf", "admin.kubeconfig")


def survey(
    node: Node, processes: tuple[Process, ...], folders: tuple[str, ...], notes: tuple[str, ...]
) -> Inventory:
    """Read everything that the processes' flags name.

    Args:
        node: Where to look.
        processes: The programs found.
        folders: Where kubeconfigs of people may lie.
        notes: What is known to be left out already.

    Raises:
        NotUnderstood: with every fault: a file is missing, cannot be read or used.
    """
    reader = Reader(node)
    configured = [_configured(each, reader) for each in sorted(processes, key=_rank)]
    authorities = Authorities(reader)
    holdings = Holdings(reader, authorities)
    components = [holdings.component(each) for each in configured]
    people = holdings.people([posixpath.join(f, name) for f in folders for name in _PEOPLE])
    if reader.problems:
        raise NotUnderstood(tuple(reader.problems))
    if people.certificates or people.notes:
        components.append(people)
    known = authorities.all()
    empty = tuple(
        note
        for each in components
        if not each.certificates
        for note in (
            f"{each.name} holds no certificate of its own; it is passed over",
            *each.notes,
        )
    )
    apiserver = next((e for e in configured if e.program.name == "kube-apiserver"), None)
    ranges = apiserver.flags.text("--service-cluster-ip-range") if apiserver else ""
    return Inventory(
        node=node.name(),
        addresses=node.addresses(),
        components=tuple(_signed(each, known) for each in components if each.certificates),
        authorities=known,
        version=apiserver.version if apiserver else "",
        service_ranges=tuple(filter(None, ranges.split(","))),
        kubelet=kubelet(node),
        notes=(*notes, *empty),
    )


def _rank(process: Process) -> tuple[int, bool, str]:
    """Order as things are to be done: etcd of events, etcd, API server, what depends on it."""
    program = process.program.name
    place = _ORDER.index(program) if program in _ORDER else len(_ORDER)
    return place, program == "etcd" and "events" not in process.name, process.name


def _configured(process: Process, reader: Reader) -> Process:
    """Add what the program's own configuration file says, as flags without dashes."""
    found = process.flags.last("--config-file", "--config")
    if found is None:
        return process
    named = reader.named(process, *found)
    content = reader.content(named) if named else None
    if named is None or content is None:
        return process
    try:
        entries = tree.flattened(tree.parse(content))
    except tree.NoYaml as e:
        reader.unusable(named, str(e))
        return process
    settings = {key: (Word(value.text, found[1].line),) for key, value in entries}
    return replace(process, flags=process.flags.with_defaults(settings))


def _signed(component: Component, known: tuple[Authority, ...]) -> Component:
    return replace(
        component,
        certificates=tuple(
            replace(each, authority=signer(each.pair, known)) for each in component.certificates
        ),
    )
