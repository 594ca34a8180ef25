"""Certificates and components as sections of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.discovery import advice
from certrotd.discovery.health import health
from certrotd.discovery.leaves import certificate_section
from certrotd.discovery.process import StaticPod
from certrotd.discovery.yamltext import Block, Entry, block

if TYPE_CHECKING:
    from certrotd.discovery.health import Health
    from certrotd.discovery.inventory import Component, Inventory
    from certrotd.discovery.process import Process

_DEFAULT_ENDPOINT = "/run/containerd/containerd.sock"
_NEEDED_BY_KUBELET = ("etcd", "kube-apiserver")


def component_section(component: Component, found: Inventory, key: str) -> Entry:
    """Return the section of one component; `key` is the key type that need not be written."""
    seen = health(component, found)
    above = ["", *component.notes, *seen.notes, *_mounted(component)]
    if component.process is None:
        above.insert(1, advice.ADMIN)
    certificates = tuple(
        certificate_section(each, component, found, key) for each in component.certificates
    )
    activation = _activation(component, seen, found)
    reads = tuple(block(path=each.path, material=each.material) for each in component.reads)
    if not activation.has("auto"):
        reads = ()  # restarted anyway
    if component.process and not activation.has("auto") and not _pinned(component):
        above.append(advice.UNPROVED)
    section = block(
        _present("after", _after(component, found)),
        Entry("activation", activation),
        _present("proofs", seen.proofs),
        _present("gates", seen.gates),
        _settle(component, seen),
        _present("reads", reads),
        Entry("certificates", Block(certificates)),
    )
    return Entry(component.name, section, above=tuple(above))


def _present(key: str, value: tuple[str, ...] | tuple[Block, ...]) -> Entry | None:
    return Entry(key, value) if value else None


def _settle(component: Component, seen: Health) -> Entry | None:
    if not seen.settle:
        return None
    is_apiserver = component.process and component.process.program.name == "kube-apiserver"
    return Entry("settle", seen.settle, beside=advice.SETTLE_APISERVER if is_apiserver else "")


def _after(component: Component, found: Inventory) -> tuple[str, ...]:
    """Return what must be done before: etcd for events, then etcd, then the API server."""
    process = component.process
    wanted = process.program.after if process else ("kube-apiserver",)
    before: list[str] = []
    for each in found.components:
        if each.name == component.name:
            break
        if each.process and (
            each.process.program.name in wanted or _earlier_etcd(process, each.process)
        ):
            before.append(each.name)
    return tuple(before)


def _earlier_etcd(one: Process | None, other: Process) -> bool:
    return one is not None and one.program.name == other.program.name == "etcd"


def _activation(component: Component, seen: Health, found: Inventory) -> Block:
    process = component.process
    if process is None:
        return block(none=block())
    restart = _restart(process, found)
    proved = any(e.entries[0].key in ("tls", "client") for e in seen.proofs)
    if not proved or _pinned(component):
        return block(restart=restart)
    is_apiserver = process.program.name == "kube-apiserver"
    auto = block(
        Entry("program", process.program.name),
        Entry("restart", restart),
        _present("version", seen.version),
        Entry("loopback", seen.loopback) if is_apiserver and seen.loopback else None,
    )
    return block(auto=auto)


def _restart(process: Process, found: Inventory) -> Block:
    pod = process.keeper
    if not isinstance(pod, StaticPod):
        return block(unit=pod)
    endpoint, health = found.kubelet.runtime_endpoint, found.kubelet.health
    usual = endpoint in ("", _DEFAULT_ENDPOINT)
    needed = process.program.name in _NEEDED_BY_KUBELET
    # Told to shut down, it stops listening and uses up all of its pod's 30 s while anybody watches.
    lingers = process.program.name == "kube-apiserver"
    delayed = process.flags.last("--shutdown-delay-duration") is not None
    return block(
        static_pod=block(
            Entry("name", pod.name),
            Entry("namespace", pod.namespace) if pod.namespace != "kube-system" else None,
            Entry("manifest", pod.manifest),
            Entry("grace", "5s") if lingers and not delayed else None,
            Entry("kubelet_health", health) if health else None,
            Entry("serves_kubelet", value=True) if needed else None,
            Entry("runtime_endpoint", endpoint) if not usual else None,
        )
    )


def _pinned(component: Component) -> tuple[str, ...]:
    """Return files the process re-reads, but which its container mounts by themselves."""
    if component.process is None:
        return ()
    return tuple(
        each.path
        for certificate in component.certificates
        for each in certificate.files
        if each.kind != "kubeconfig" and component.process.host_pinned(each.path)
    )


def _mounted(component: Component) -> list[str]:
    """Say what a single-file mount means."""
    if pinned := _pinned(component):
        return [advice.PINNED.format(paths=", ".join(pinned))]
    process = component.process
    if process is None:
        return []
    single = tuple(
        each.path
        for certificate in component.certificates
        for each in certificate.files
        if process.host_pinned(each.path)
    )
    return [advice.SINGLE_FILE.format(path=each) for each in single]
