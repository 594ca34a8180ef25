"""What the rotator needs of the world: one small protocol for each outside thing.

Adapters implement these; tests/fakes/ holds one fake for each, held to the same contract.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from ipaddress import IPv4Address, IPv6Address

    from certrotd.core.model import (
        Answer,
        CertificateName,
        CertificateSpec,
        Entry,
        Evidence,
        Expectation,
        FileFacts,
        GenerationId,
        Published,
        ReadFile,
        RuntimeFacts,
        SeenFile,
        ServiceState,
        SigningRequest,
        StoredSet,
        UnitFacts,
        Verified,
    )


class Clock(Protocol):
    """Wall clock in UTC and waiting."""

    def now(self) -> datetime:
        """Return the present time, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never jumps."""

    def sleep(self, seconds: float) -> None:
        """Wait; may return early when the process is asked to stop."""


class Issuer(Protocol):
    """Whoever signs."""

    def sign(self, request: SigningRequest) -> Answer:
        """Have the request signed.

        Safe to call from several threads at once.

        Raises:
            IssuerUnavailable: nothing was answered, or only that it cannot be done now.
            IssuerRefused: the issuer said no.
        """

    def anchors(self) -> tuple[bytes, ...]:
        """Return the pinned trust anchors, PEM, one each; never what an answer carried."""

    def time(self) -> datetime | None:
        """Return the issuer's own clock if it can be asked, for the skew check; else None.

        Raises:
            IssuerUnavailable: it should be there and is not.
        """


class Store(Protocol):
    """Where outputs lie: generations published by one switch each."""

    def read(self, spec: CertificateSpec) -> StoredSet:
        """Read all outputs as a component would, and say what differs from what was published."""

    def preflight(self, specs: Iterable[CertificateSpec]) -> None:
        """Prove that `publish` could work for all of them, changing nothing a component can see.

        Raises:
            PublishRefused: a target is missing, unsafe, full or read-only; all of them are named.
        """

    def publish(self, verified: Verified, at: datetime) -> Published:
        """Make a new generation visible by one rename, durably, keeping a copy of the previous.

        Raises:
            PublishRefused: nothing changed.
            PublishUncertain: the switch happened but the disk did not confirm it.
        """

    def restore(self, spec: CertificateSpec, generation: GenerationId, at: datetime) -> Published:
        """Publish the kept copy of `generation` as a new generation.

        Raises:
            PublishRefused: the copy is gone or the target cannot be written; nothing changed.
        """

    def retire(self, spec: CertificateSpec, before: datetime, *, prune: bool = True) -> int:
        """Unlink replaced generations published before `before`; prune history if told so.

        Watchers on the old inode fire only now. Returns how many generations went.
        """

    def history(self, spec: CertificateSpec) -> tuple[GenerationId, ...]:
        """Return the generations that `restore` can bring back, oldest first."""


class Service(Protocol):
    """The keeper of one component's process."""

    def state(self) -> ServiceState:
        """Tell whether the component is up; STOPPED means deliberately down."""

    def started(self) -> datetime | None:
        """Return when the running process was started, or None if it cannot be told.

        Never later than it truly was, so that a start after a publication is proof of it. Bounded
        in time; never raises for what it sees.
        """

    def activate(self) -> None:
        """Make the process use what is published.

        Raises:
            ActivationFailed: it could not be told, or did not come back.
        """


class Runtime(Protocol):
    """What a running process says about itself, for the decision whether it must be restarted."""

    def facts(self) -> RuntimeFacts:
        """Ask it, within a bounded time; never raises for what it does not learn."""

    def files(self, reads: tuple[ReadFile, ...]) -> tuple[SeenFile, ...]:
        """Look at the files the process reads and certrotd does not write; asks no process."""


class Proof(Protocol):
    """Evidence from the running process that it uses what is published."""

    def check(self, expected: Mapping[CertificateName, Expectation]) -> Evidence:
        """Look once, within a bounded time; never raises for what it sees."""


class Gate(Protocol):
    """Health that must hold before the next step."""

    def check(self) -> Evidence:
        """Look once, within a bounded time; never raises for what it sees."""


class Journal(Protocol):
    """The write-ahead record of effects."""

    def append(self, *entries: Entry) -> None:
        """Record all of them durably, in order, before returning.

        Raises:
            PublishRefused: the record could not be made durable; the effect must not happen.
        """

    def replay(self) -> Iterable[Entry]:
        """Return all whole entries, oldest first; a torn last line is passed over."""


class Hold(Protocol):
    """The switch that keeps rotation from happening until a person has looked."""

    def place(self, reason: str, at: datetime) -> None:
        """Put rotation on hold, durably; a second hold keeps the first reason."""

    def placed(self) -> tuple[str, datetime] | None:
        """Return reason and time of the present hold, or None."""

    def lift(self) -> None:
        """End the hold; nothing happens if there is none."""


class Lock(Protocol):
    """One certrotd at work at a time."""

    def hold(self, purpose: str) -> AbstractContextManager[None]:
        """Hold the lock for the length of a `with` block.

        Raises:
            LockHeld: another process has it; its holder and purpose are in the error.
        """


class Node(Protocol):
    """What lies and runs on this machine; only looked at."""

    def name(self) -> str:
        """Return the host name."""

    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """Return the addresses of its interfaces, without loopback and link-local ones."""

    def read(self, path: str) -> bytes:
        """Return the content of a plain file.

        Raises:
            OSError: it cannot be read, is not a plain file, or is larger than 4 MiB.
        """

    def entries(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory that are no directories, sorted.

        Raises:
            OSError: it cannot be read.
        """

    def facts(self, path: str) -> FileFacts:
        """Return mode and owner of what a path leads to.

        Raises:
            OSError: it cannot be looked at.
        """

    def services(self) -> tuple[str, ...]:
        """Return the names of the services that systemd has loaded.

        Raises:
            OSError: systemd cannot be asked.
        """

    def unit(self, name: str) -> UnitFacts:
        """Ask systemd about a unit; one it does not know has the load state `not-found`.

        Raises:
            OSError: systemd cannot be asked.
        """


class Event(StrEnum):
    """Every event certrotd logs. A closed list, documented as an interface."""

    DAEMON_STARTED = "daemon_started"
    DAEMON_STOPPED = "daemon_stopped"
    CONFIG_RELOADED = "config_reloaded"
    CONFIG_REJECTED = "config_rejected"
    TICK_FAILED = "tick_failed"
    RUN_STARTED = "run_started"
    RUN_FINISHED = "run_finished"
    RUN_DEFERRED = "run_deferred"
    RUN_FAILED = "run_failed"
    CERTIFICATE_ISSUED = "certificate_issued"
    CERTIFICATE_PUBLISHED = "certificate_published"
    ISSUER_WARNED = "issuer_warned"
    ISSUER_RETRIED = "issuer_retried"
    STEP_STARTED = "step_started"
    RELOAD_AWAITED = "reload_awaited"
    RELOAD_NOT_SEEN = "reload_not_seen"
    COMPONENT_ACTIVATED = "component_activated"
    COMPONENT_LEFT_STOPPED = "component_left_stopped"
    COMPONENT_PROVEN = "component_proven"
    GATE_PASSED = "gate_passed"
    LEADER_MOVED = "leader_moved"
    LEADER_STAYED = "leader_stayed"
    STEP_FINISHED = "step_finished"
    STEP_FAILED = "step_failed"
    ROLLBACK_STARTED = "rollback_started"
    COMPONENT_ROLLED_BACK = "component_rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    GENERATIONS_RETIRED = "generations_retired"
    RETIRING_FAILED = "retiring_failed"
    HOLD_PLACED = "hold_placed"
    HOLD_LIFTED = "hold_lifted"
    LEADERSHIP_TAKEN = "leadership_taken"
    LEADERSHIP_LOST = "leadership_lost"
    REQUEST_APPROVED = "request_approved"
    REQUEST_DENIED = "request_denied"
    REQUEST_LEFT_PENDING = "request_left_pending"
    REQUEST_SIGNED = "request_signed"
    SIGNING_FAILED = "signing_failed"
    RECORDING_FAILED = "recording_failed"
    JUDGING_FAILED = "judging_failed"
    CLUSTER_UNAVAILABLE = "cluster_unavailable"
    KUBELET_CERTIFICATE_REQUESTED = "kubelet_certificate_requested"
    KUBELET_CERTIFICATE_STORED = "kubelet_certificate_stored"
    KUBELET_CERTIFICATE_IN_USE = "kubelet_certificate_in_use"
    KUBELET_KUBECONFIG_WRITTEN = "kubelet_kubeconfig_written"
    KUBELET_REQUEST_FAILED = "kubelet_request_failed"
    KUBELET_RESTART_FAILED = "kubelet_restart_failed"
    KUBELET_GATE_FAILED = "kubelet_gate_failed"
    KUBELET_DEFERRED = "kubelet_deferred"

    @property
    def severity(self) -> str:
        """The level it is logged at."""
        if self.value.endswith("_failed"):
            return "error"
        return "warning" if self in _WARNINGS else "info"


_WARNINGS = frozenset(
    {
        Event.CONFIG_REJECTED,
        Event.RUN_DEFERRED,
        Event.ISSUER_WARNED,
        Event.ISSUER_RETRIED,
        Event.RELOAD_NOT_SEEN,
        Event.LEADER_STAYED,
        Event.ROLLBACK_STARTED,
        Event.COMPONENT_ROLLED_BACK,
        Event.HOLD_PLACED,
        Event.LEADERSHIP_LOST,
        Event.REQUEST_DENIED,
        Event.CLUSTER_UNAVAILABLE,
        Event.KUBELET_DEFERRED,
    }
)


class Log(Protocol):
    """Where events go: the log, and the progress display of the command line."""

    def __call__(self, event: Event, /, **facts: object) -> None:
        """Record one event; facts are plain values, never a Secret's content."""
