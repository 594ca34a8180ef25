"""The composition root of what looks after kubelets from the control plane: approver and guard."""

# ruff: noqa: PLC0415  # what not every command needs is imported where it is needed

from __future__ import annotations

import gc
import signal
import threading
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.handshakes import TlsHandshakes
from certrotd.adapters.inventory import FileInventory
from certrotd.adapters.kubernetes import (
    ApiConnection,
    ApiNodes,
    ApiServer,
    ApiSigningRequests,
    ClusterInspection,
    EventRecorder,
    LeaseLeadership,
)
from certrotd.adapters.resolver import SystemResolver
from certrotd.adapters.vault import VaultSession
from certrotd.app import COLLECTED, connection, issuer
from certrotd.config import load
from certrotd.core.errors import CertrotdError, ConfigError, PermanentError, Problem
from certrotd.core.model import IssuerName
from certrotd.core.model.kubelets import ApprovalPolicy, Purpose
from certrotd.kubelets.approving import Approver, Cluster
from certrotd.kubelets.guarding import Duties, Guard, read_authorities
from certrotd.kubelets.knowing import Sources
from certrotd.kubelets.signing import Signer, Terms
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from certrotd.config import Config, settings
    from certrotd.core.model import ParsedCertificate
    from certrotd.ports import Clock, Log

SIGNING_LIMIT = timedelta(seconds=8)
"""How long one signature may take with all retries: the Lease must be renewed in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """An approver brought to life, what it reads, and what it borrowed."""

    approver: Approver
    requests: ApiSigningRequests
    api: ApiConnection
    sessions: tuple[VaultSession, ...]

    def close(self) -> None:
        """Give up the Lease, give tokens back, close connections."""
        self.approver.close()
        for session in self.sessions:
            session.close()
        self.api.close()


def section(config: Config) -> settings.KubeletApprover:
    """Return the section of the configuration.

    Raises:
        ConfigError: there is none.
    """
    found = config.settings.kubelet_approver
    if found is None:
        missing = Problem(
            file=str(config.path), line=0, key="kubelet_approver", message="is required for this"
        )
        raise ConfigError((missing,))
    return found


def api_server(access: settings.ClusterAccess) -> ApiServer:
    """Say how kube-apiserver is reached, and who asks."""
    return ApiServer(
        kubeconfig=access.kubeconfig,
        server=access.server,
        ca_file=access.ca_file,
        certificate=access.certificate,
        key=access.key,
        token_file=access.token_file,
    )


def policy_of(given: settings.KubeletPolicy) -> ApprovalPolicy:
    """Return what is approved."""
    return ApprovalPolicy(
        purposes=frozenset(Purpose[each.upper()] for each in given.purposes),
        bootstrap_groups=frozenset(given.bootstrap_groups),
        rejoin_after=given.rejoin_after,
        networks=given.networks,
        keys=frozenset(given.keys),
        shortest=given.shortest,
        longest=given.longest,
        per_hour=given.per_hour,
        not_within=given.not_within,
        most_dns_names=given.most_dns_names,
        reserved_names=given.reserved_names,
    )


def watch(
    config: Config, log: Log, stop: threading.Event, alive: Callable[[], bool] | None = None
) -> Watch:
    """Build an approver; touches neither network nor disk.

    Raises:
        ConfigError: the section `kubelet_approver` is missing.
    """
    given = section(config)
    clock = SystemClock(stop)
    api = ApiConnection(api_server(given.api))
    identity = f"{config.node}_{uuid.uuid4()}"
    policy = policy_of(given.policy)
    requests = ApiSigningRequests(api)
    inventory = given.policy.inventory
    cluster = Cluster(
        requests=requests,
        sources=Sources(
            nodes=ApiNodes(api, clock),
            inventory=FileInventory(inventory) if inventory else None,
            resolver=SystemResolver() if given.policy.resolve else None,
            trusts_nodes=given.policy.trust_nodes,
        ),
        recorder=EventRecorder(api, clock, identity),
        leadership=LeaseLeadership(
            api,
            clock,
            name=given.lease.name,
            namespace=given.lease.namespace,
            identity=identity,
        ),
    )
    terms, sessions = _terms(config, given.signers, clock, log, stop)
    signed = replace(policy, purposes=frozenset(terms))
    signer = Signer(terms, signed, clock, config.settings.limits.clock_skew) if terms else None
    approver = Approver(
        cluster,
        policy,
        signer,
        clock=clock,
        log=log,
        alive=alive or (lambda: not stop.is_set()),
        workers=config.settings.limits.workers,
    )
    return Watch(approver=approver, requests=requests, api=api, sessions=sessions)


def now() -> datetime:
    """Return the time, for who only looks once."""
    return SystemClock().now()


def guard(config: Config, kubeconfig: str | None) -> Guard:
    """Build a guard; touches neither network nor disk.

    Args:
        config: A checked configuration.
        kubeconfig: As whom to look, in place of the approver's identity.

    Raises:
        ConfigError: the section `kubelet_approver` is missing.
    """
    given = section(config)
    server = ApiServer(kubeconfig=kubeconfig) if kubeconfig else api_server(given.api)
    api = ApiConnection(server)
    signers = [each for each in (given.signers.client, given.signers.serving) if each]
    return Guard(
        requests=ApiSigningRequests(api),
        inspection=ClusterInspection(api),
        handshakes=TlsHandshakes(),
        authorities=lambda: _authorities(config, given),
        duties=Duties(
            policy=policy_of(given.policy),
            signs=bool(signers),
            life=max((each.ttl for each in signers), default=None),
            bootstrap_group=given.guard.bootstrap_group,
            pending_warning=given.guard.pending_warning,
            pending_critical=given.guard.pending_critical,
        ),
    )


def _authorities(config: Config, given: settings.KubeletApprover) -> tuple[ParsedCertificate, ...]:
    """Read the CA that signs for kubelets, as far as it is known.

    Raises:
        PermanentError: it cannot be read.
    """
    names = {each.issuer for each in (given.signers.client, given.signers.serving) if each}
    anchors = [config.settings.issuers[each].trust_anchors for each in sorted(names)]
    paths = [given.guard.signing_ca] if given.guard.signing_ca else anchors
    found: list[ParsedCertificate] = []
    for path in filter(None, paths):
        try:
            found += read_authorities(Path(path).read_bytes())
        except (OSError, ValueError) as e:
            raise PermanentError(
                f"cannot read the signing CA {path}: {e}",
                hint="kubelet_approver.guard.signing_ca names the CA certificate, PEM",
            ) from e
    return tuple(found)


def _terms(
    config: Config,
    signers: settings.KubeletSigners,
    clock: Clock,
    log: Log,
    stop: threading.Event,
) -> tuple[dict[Purpose, Terms], tuple[VaultSession, ...]]:
    """Return who signs for which purpose, and the sessions for that."""
    root = config.settings
    wanted = {Purpose.CLIENT: signers.client, Purpose.SERVING: signers.serving}
    sections = {each.issuer: root.issuers[each.issuer] for each in wanted.values() if each}
    sessions = {}
    for name in {each.vault.connection for each in sections.values() if each.vault}:
        reached = connection(root.vaults[name])
        limited = replace(reached, deadline=min(reached.deadline, SIGNING_LIMIT))
        sessions[name] = VaultSession(limited, clock, log, stop)
    terms = {
        purpose: Terms(
            issuer=issuer(sections[each.issuer], sessions, clock),
            issuer_name=IssuerName(each.issuer),
            role=each.role,
            ttl=each.ttl,
        )
        for purpose, each in wanted.items()
        if each
    }
    return terms, tuple(sessions.values())


def serve_approver(path: Path, log: Log) -> None:
    """Approve until told to stop.

    SIGTERM and SIGINT end it after the request in hand, SIGHUP reads the configuration again.

    Raises:
        ConfigError: the configuration is faulty at the start; later it is rejected and logged.
    """
    from certrotd.adapters.notify import Notifier

    stop, reread = threading.Event(), threading.Event()
    notifier = Notifier.from_environment()

    def alive() -> bool:
        if notifier.watchdog_interval():
            notifier.watchdog()
        return not (stop.is_set() or reread.is_set())

    now = watch(load(path), log, stop, alive)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: reread.set())
    gc.set_threshold(*COLLECTED)
    log(Event.DAEMON_STARTED)
    notifier.ready("approving kubelets' requests")
    try:
        while not stop.is_set():
            if reread.is_set():
                reread.clear()
                notifier.reloading()
                now = _reread(path, log, lambda config: watch(config, log, stop, alive), now)
                notifier.ready("approving kubelets' requests")
            alive()
            now.approver.round()
    finally:
        notifier.stopping()
        now.close()
        log(Event.DAEMON_STOPPED)


def _reread(path: Path, log: Log, build: Callable[[Config], Watch], before: Watch) -> Watch:
    """Build it anew from what the configuration says now, or keep what there is."""
    try:
        made = build(load(path))
    except CertrotdError as e:
        log(
            Event.CONFIG_REJECTED,
            problems=str(e).splitlines(),
            hint="the configuration read before stays in force",
        )
        return before
    before.close()
    log(Event.CONFIG_RELOADED)
    return made
