"""Building what keeps a component: its service, proofs and gates, and what it says of itself."""

# ruff: noqa: PLC0415  # what not every command needs is imported where it is needed

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from certrotd.adapters.processes import (
    CommandGate,
    CommandService,
    PassiveService,
    PidfileRestart,
    PidfileSignal,
    PidfileStartedProof,
    ProgramVersion,
    UnitRestart,
    UnitSignal,
    UnitStartedProof,
    UnitVersion,
)
from certrotd.core.model import CertificateName
from certrotd.rotator import Keeper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from certrotd.adapters.runtime import Source
    from certrotd.config import settings
    from certrotd.core.model import Output
    from certrotd.ports import Gate, Log, Proof, Runtime, Service

    Outputs = Mapping[CertificateName, tuple[Output, ...]]

_T = TypeVar("_T")


def keeper(name: str, component: settings.Component, outputs: Outputs, log: Log) -> Keeper:
    """Build what keeps one component; touches neither network nor disk.

    Args:
        name: The component's name, for messages.
        component: Its section of the configuration.
        outputs: Those of every certificate of this node, for identities to present.
        log: Where events go.
    """
    activation = component.activation
    service = _service(name, activation)
    etcd = next((each.etcd for each in component.gates if each.etcd), None)
    if etcd and (activation.auto or activation.restart):
        from certrotd.adapters.probes.etcd import LeaderMovedFirst

        service = LeaderMovedFirst(
            service,
            etcd.endpoint,
            ca_file=etcd.ca_file,
            client=outputs[CertificateName(etcd.client_certificate)],
            log=log,
            component=name,
        )
    return Keeper(
        service=service,
        proofs=tuple(_proof(each, outputs) for each in component.proofs),
        gates=tuple(_gate(each, outputs) for each in component.gates),
        runtime=_runtime(activation.auto, outputs) if activation.auto else None,
    )


def _service(name: str, activation: settings.Activation) -> Service:
    if signal := activation.signal:
        if signal.unit:
            return UnitSignal(signal.unit, signal.signal, signal.process, component=name)
        return PidfileSignal(given(signal.pidfile), signal.signal, signal.process, component=name)
    if activation.auto:
        return restarting(name, activation.auto.restart)
    if activation.restart:
        return restarting(name, activation.restart)
    if command := activation.exec:
        return CommandService(command.command, command.timeout, command.only_if, component=name)
    return PassiveService()


def restarting(name: str, restart: settings.Restart) -> Service:
    """Build what restarts a process; touches neither network nor disk."""
    if restart.unit:
        return UnitRestart(restart.unit, restart.timeout, component=name)
    if restart.static_pod:
        return _static_pod(name, restart.static_pod, restart.timeout)
    if container := restart.container:
        from certrotd.adapters.cri import ContainerRestart

        return ContainerRestart(
            labels=dict(container.labels),
            timeout=restart.timeout,
            endpoint=container.runtime_endpoint,
            grace=container.grace,
            component=name,
        )
    if process := restart.process:
        return PidfileRestart(
            process.pidfile,
            restart.timeout,
            process_name=process.process,
            signal_name=process.signal,
            component=name,
        )
    command = given(restart.exec)
    return CommandService(command.command, command.timeout, command.only_if, component=name)


def _static_pod(name: str, pod: settings.StaticPod, timeout: timedelta) -> Service:
    from certrotd.adapters.cri import StaticPodRestart

    return StaticPodRestart(
        pod=pod.name,
        manifest=pod.manifest,
        timeout=timeout,
        namespace=pod.namespace,
        way=pod.way,
        endpoint=pod.runtime_endpoint,
        container=pod.container,
        grace=pod.grace,
        serves_kubelet=pod.serves_kubelet,
        kubelet_pods=f"http://{pod.kubelet_pods}/pods" if pod.kubelet_pods else None,
        kubelet_health=f"http://{pod.kubelet_health}/healthz" if pod.kubelet_health else None,
        component=name,
    )


def _proof(proof: settings.Proof, outputs: Outputs) -> Proof:
    if tls := proof.tls:
        from certrotd.adapters.probes import TlsProof

        return TlsProof(
            tls.address,
            CertificateName(tls.certificate),
            server_name=tls.server_name,
            client=_identity(tls.client_certificate, outputs),
        )
    if client := proof.client:
        from certrotd.adapters.probes import ClientProof

        name = CertificateName(client.certificate)
        return ClientProof(
            client.url,
            name,
            client=outputs[name],
            ca_file=client.ca_file,
            statuses=client.status,
        )
    started = given(proof.started)
    if started.unit:
        return UnitStartedProof(started.unit)
    return PidfileStartedProof(given(started.pidfile))


def _gate(gate: settings.Gate, outputs: Outputs) -> Gate:
    if tcp := gate.tcp:
        from certrotd.adapters.probes import TcpGate

        return TcpGate(tcp.address)
    if command := gate.exec:
        return CommandGate(command.command, command.timeout)
    if etcd := gate.etcd:
        from certrotd.adapters.probes.etcd import EtcdGate

        client = outputs[CertificateName(etcd.client_certificate)]
        return EtcdGate(etcd.endpoint, ca_file=etcd.ca_file, client=client)
    if server := gate.kube_apiserver:
        from certrotd.adapters.probes.apiserver import ApiserverGate

        return ApiserverGate(
            server.url,
            ca_file=server.ca_file,
            client=_identity(server.client_certificate, outputs),
            resources=server.resources,
        )
    if lease := gate.lease:
        from certrotd.adapters.probes.lease import LeaseGate

        return LeaseGate(
            lease.url,
            lease.name,
            ca_file=lease.ca_file,
            client=outputs[CertificateName(lease.client_certificate)],
            namespace=lease.namespace,
            identity=lease.identity,
            timeout=lease.timeout.total_seconds(),
        )
    return _http_gate(given(gate.https), outputs)


def _http_gate(https: settings.HttpGate, outputs: Outputs) -> Gate:
    from certrotd.adapters.probes import HttpGate

    return HttpGate(
        https.url,
        statuses=https.status,
        ca_file=https.ca_file,
        client=_identity(https.client_certificate, outputs),
        contains=https.contains,
    )


def _runtime(auto: settings.Auto, outputs: Outputs) -> Runtime:
    from certrotd.adapters.runtime import ProcessRuntime

    loopback = None
    if auto.loopback:
        from certrotd.adapters.probes.version import LoopbackCertificate

        loopback = LoopbackCertificate(auto.loopback)
    return ProcessRuntime(tuple(_version(each, outputs) for each in auto.version), loopback)


def _version(source: settings.VersionSource, outputs: Outputs) -> Source:
    if https := source.https:
        from certrotd.adapters.probes.version import HttpVersion

        client = _identity(https.client_certificate, outputs)
        return HttpVersion(https.url, ca_file=https.ca_file, client=client)
    if source.binary:
        return ProgramVersion(source.binary)
    if source.unit:
        return UnitVersion(source.unit)
    from certrotd.adapters.runtime import GivenVersion

    return GivenVersion(given(source.given))


def _identity(name: str | None, outputs: Outputs) -> tuple[Output, ...] | None:
    return outputs[CertificateName(name)] if name else None


def given(value: _T | None) -> _T:
    """Narrow what validation has already made sure of.

    Raises:
        AssertionError: it has not.
    """
    if value is None:
        raise AssertionError("validation lets exactly one of several keys through")
    return value
