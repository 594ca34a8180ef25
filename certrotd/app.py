"""The composition root: a Config to adapters, a World and a Rotator.

With `keepers` and `cluster`, the only module that knows which adapter stands behind which port.
What not every command needs is imported where it is needed: `status` must be quick.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd import presets
from certrotd.adapters.ca import FileAuthority
from certrotd.adapters.clock import SystemClock
from certrotd.adapters.flock import FileLock
from certrotd.adapters.hold import FileHold
from certrotd.adapters.journal import FileJournal
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
from certrotd.core.model import ComponentName, IssuerName
from certrotd.keepers import given, keeper
from certrotd.kubeletkeeper import tending
from certrotd.rotator import Bounds, Rotator, World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from certrotd.config import Config, settings
    from certrotd.kubelets.tending import Tending
    from certrotd.ports import Clock, Issuer, Log, Node

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
    kubelet: Tending | None = None
    """What renews this node's own kubelet certificates, where it is configured."""

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
    reached = {name: connection(vault) for name, vault in root.vaults.items()}
    sessions = {name: VaultSession(each, clock, log, stop) for name, each in reached.items()}
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
            IssuerName(name): issuer(each, sessions, clock) for name, each in root.issuers.items()
        },
        store=GenerationStore(str(state / "history"), keep=limits.history),
        keepers={
            ComponentName(name): keeper(name, each, outputs, log)
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
        kubelet=tending(config, root.kubelet, sessions, clock, log) if root.kubelet else None,
    )


def this_node() -> Node:
    """Return the machine this process runs on, to be looked at."""
    # Imported here: only `config init` looks.
    from certrotd.adapters.node import LocalNode

    return LocalNode()


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
        return Charge(
            rotator=app.rotator,
            slot=app.slot().time(),
            close=app.close,
            tend=app.kubelet.tend if app.kubelet else None,
        )

    # Commands end before garbage matters, see __main__; a daemon does not.
    gc.set_threshold(*COLLECTED)
    notifier = Notifier.from_environment()
    Daemon(charge, clock=clock, log=pulse, notifier=notifier, stop=stop).run()


def connection(vault: settings.Vault) -> VaultConnection:
    """Say how a Vault server is reached, and who asks."""
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
    return TokenFileAuth(path=given(auth.token_file))


def issuer(section: settings.Issuer, sessions: Mapping[str, VaultSession], clock: Clock) -> Issuer:
    """Build who signs, over the sessions of its servers; touches neither network nor disk."""
    if pki := section.vault:
        return VaultIssuer(
            sessions[pki.connection],
            mount=pki.mount,
            endpoint=pki.endpoint,
            issuer_ref=pki.issuer_ref,
            anchors_file=given(section.trust_anchors),
        )
    authority = given(section.ca)
    return FileAuthority(
        authority.certificate, authority.key, clock.now, anchors_file=section.trust_anchors
    )
