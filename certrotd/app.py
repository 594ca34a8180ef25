"""The composition root: a Config to adapters, a World and a Rotator.

The only module that knows which adapter stands behind which port. What not every command needs
is imported where it is needed: `status` must be quick.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from certrotd import presets
from certrotd.adapters.ca import FileAuthority
from certrotd.adapters.clock import SystemClock
from certrotd.adapters.flock import FileLock
from certrotd.adapters.hold import FileHold
from certrotd.adapters.journal import FileJournal
from certrotd.adapters.processes import (
    CommandGate,
    CommandService,
    PassiveService,
    PidfileRestart,
    PidfileSignal,
    PidfileStartedProof,
    UnitRestart,
    UnitSignal,
    UnitStartedProof,
)
from certrotd.adapters.store import GenerationStore
from certrotd.adapters.vault import (
    AppRoleAuth,
    CertificateAuth,
    TokenFileAuth,
    TokenRoleAuth,
    VaultConnection,
    VaultIssuer,
    VaultSession,
)
from certrotd.config import load
from certrotd.core import renewal
from certrotd.core.model import CertificateName, ComponentName, IssuerName
from certrotd.rotator import Bounds, Keeper, Rotator, World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from certrotd.config import Config, settings
    from certrotd.core.model import Output
    from certrotd.ports import Clock, Gate, Issuer, Log, Proof, Service

_T = TypeVar("_T")

LOCK_WAIT = 5.0
"""How long, in seconds, a command waits for another certrotd to finish."""
COLLECTED = (700, 10, 10)
"""How often the daemon looks for garbage: Python's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A configuration brought to life."""

    config: Config
    world: World
    rotator: Rotator
    stop: threading.Event
    sessions: tuple[VaultSession, ...]

    def slot(self) -> datetime:
        """Return the next daily slot of this node."""
        world = self.world
        return renewal.next_slot(world.schedule, world.bounds.offset, world.clock.now())

    def close(self) -> None:
        """Give tokens back."""
        for session in self.sessions:
            session.close()


def assemble(config: Config, log: Log, stop: threading.Event | None = None) -> App:
    """Build everything a rotator needs; touches neither network nor disk.

    Args:
        config: A checked configuration.
        log: Where events go.
        stop: Set when the process is asked to end: no further step begins.
    """
    stop = stop or threading.Event()
    clock = SystemClock()
    root = config.settings
    sessions = {
        name: VaultSession(_connection(vault), clock, log, stop)
        for name, vault in root.vaults.items()
    }
    outputs = {spec.name: spec.outputs for each in config.components for spec in each.certificates}
    state, limits = Path(root.state_directory), root.limits
    world = World(
        components=config.components,
        schedule=config.schedule,
        bounds=Bounds(
            offset=renewal.splay_offset(root.cluster, config.node, root.schedule.splay),
            workers=limits.workers,
            issuances=limits.issuances_per_day,
            skew=limits.clock_skew,
            grace=limits.grace,
        ),
        clock=clock,
        issuers={
            IssuerName(name): _issuer(each, sessions, clock) for name, each in root.issuers.items()
        },
        store=GenerationStore(str(state / "history"), keep=limits.history),
        keepers={
            ComponentName(name): _keeper(name, each, outputs)
            for name, each in root.components.items()
        },
        journal=FileJournal(str(state / "journal")),
        lock=FileLock(str(state / "lock"), wait=LOCK_WAIT, clock=clock),
        hold=FileHold(str(state / "hold")),
        log=log,
        stopping=stop.is_set,
        matrix=presets.matrix,
    )
    return App(
        config=config,
        world=world,
        rotator=Rotator(world),
        stop=stop,
        sessions=tuple(sessions.values()),
    )


def serve(path: Path, log: Log) -> None:
    """Run the daemon until it is told to stop.

    Raises:
        ConfigError: the configuration is faulty at the start; later it is rejected and logged.
    """
    # Imported here: no other command needs the daemon.
    from certrotd.adapters.notify import Notifier
    from certrotd.daemon import Charge, Daemon, Pulse

    clock, stop = SystemClock(), threading.Event()
    pulse = Pulse(log, clock)

    def charge() -> Charge:
        app = assemble(load(path), pulse, stop)
        return Charge(rotator=app.rotator, slot=app.slot().time(), close=app.close)

    # Commands end before garbage matters, see __main__; a daemon does not.
    gc.set_threshold(*COLLECTED)
    notifier = Notifier.from_environment()
    Daemon(charge, clock=clock, log=pulse, notifier=notifier, stop=stop).run()


def _connection(vault: settings.Vault) -> VaultConnection:
    return VaultConnection(
        address=vault.address,
        namespace=vault.namespace,
        ca_file=vault.ca_file,
        auth=_auth(vault.auth),
        connect_timeout=vault.connect_timeout,
        read_timeout=vault.read_timeout,
        deadline=vault.deadline,
    )


def _auth(auth: settings.Auth) -> AppRoleAuth | TokenRoleAuth | CertificateAuth | TokenFileAuth:
    if role := auth.approle:
        return AppRoleAuth(
            mount=role.mount,
            role_id=role.role_id,
            role_id_file=role.role_id_file,
            secret_id_file=role.secret_id_file,
            secret_id_credential=role.secret_id_credential,
            wrapped_secret_id_file=role.wrapped_secret_id_file,
        )
    if token := auth.kubernetes:
        return TokenRoleAuth(
            method="kubernetes", mount=token.mount, role=token.role, token_file=token.token_file
        )
    if jwt := auth.jwt:
        return TokenRoleAuth(
            method="jwt", mount=jwt.mount, role=jwt.role, token_file=jwt.token_file
        )
    if login := auth.certificate:
        return CertificateAuth(
            mount=login.mount, role=login.role, certificate=login.certificate, key=login.key
        )
    return TokenFileAuth(path=_given(auth.token_file))


def _issuer(issuer: settings.Issuer, sessions: Mapping[str, VaultSession], clock: Clock) -> Issuer:
    if pki := issuer.vault:
        return VaultIssuer(
            sessions[pki.connection],
            mount=pki.mount,
            endpoint=pki.endpoint,
            issuer_ref=pki.issuer_ref,
            anchors_file=_given(issuer.trust_anchors),
        )
    authority = _given(issuer.ca)
    return FileAuthority(
        authority.certificate, authority.key, clock.now, anchors_file=issuer.trust_anchors
    )


def _keeper(
    name: str, component: settings.Component, outputs: Mapping[CertificateName, tuple[Output, ...]]
) -> Keeper:
    return Keeper(
        service=_service(name, component.activation),
        proofs=tuple(_proof(each, outputs) for each in component.proofs),
        gates=tuple(_gate(each, outputs) for each in component.gates),
    )


def _service(name: str, activation: settings.Activation) -> Service:
    if signal := activation.signal:
        if signal.unit:
            return UnitSignal(signal.unit, signal.signal, signal.process, component=name)
        return PidfileSignal(_given(signal.pidfile), signal.signal, signal.process, component=name)
    if activation.auto:
        return _restart(name, activation.auto.restart)
    if activation.restart:
        return _restart(name, activation.restart)
    if command := activation.exec:
        return CommandService(command.command, command.timeout, command.only_if, component=name)
    return PassiveService()


def _restart(name: str, restart: settings.Restart) -> Service:
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
    command = _given(restart.exec)
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
        serves_kubelet=pod.serves_kubelet,
        kubelet_pods=f"http://{pod.kubelet_pods}/pods" if pod.kubelet_pods else None,
        kubelet_health=f"http://{pod.kubelet_health}/healthz" if pod.kubelet_health else None,
        component=name,
    )


def _proof(proof: settings.Proof, outputs: Mapping[CertificateName, tuple[Output, ...]]) -> Proof:
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
    started = _given(proof.started)
    if started.unit:
        return UnitStartedProof(started.unit)
    return PidfileStartedProof(_given(started.pidfile))


def _gate(gate: settings.Gate, outputs: Mapping[CertificateName, tuple[Output, ...]]) -> Gate:
    if https := gate.https:
        from certrotd.adapters.probes import HttpGate

        return HttpGate(
            https.url,
            statuses=https.status,
            ca_file=https.ca_file,
            client=_identity(https.client_certificate, outputs),
            contains=https.contains,
        )
    if tcp := gate.tcp:
        from certrotd.adapters.probes import TcpGate

        return TcpGate(tcp.address)
    command = _given(gate.exec)
    return CommandGate(command.command, command.timeout)


def _identity(
    name: str | None, outputs: Mapping[CertificateName, tuple[Output, ...]]
) -> tuple[Output, ...] | None:
    return outputs[CertificateName(name)] if name else None


def _given(value: _T | None) -> _T:
    """Narrow what validation has already made sure of."""
    if value is None:
        raise AssertionError("validation lets exactly one of several keys through")
    return value
