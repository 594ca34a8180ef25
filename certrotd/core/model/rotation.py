"""The nouns of a rotation: evidence, components, reasons, plans, journal entries and reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, time, timedelta

    from certrotd.core.model.certificates import (
        CertificateName,
        CertificateSpec,
        ComponentName,
        ParsedCertificate,
        Published,
        RunId,
        StoredSet,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a proof looks for: this leaf, in use by a process that knows it since `published_at`.

    `subject`, where given, is what every leaf of this certificate is issued to: who presents
    another is not the component.
    """

    certificate: CertificateName
    fingerprint: str
    serial: str
    published_at: datetime
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a proof or gate saw.

    `served` is the serial (hex) read from a socket, if one was. `stale` says that the running
    process was seen to use another certificate; `reachable` that there was something to look at;
    `foreign` that somebody else answered. `degraded` says of a gate that does not hold that the
    cluster still works, with less to spare (an etcd member is down); `leads` that this instance is
    its cluster's present leader.
    """

    source: str
    holds: bool
    detail: str
    certificate: CertificateName | None = None
    served: str | None = None
    stale: bool = False
    reachable: bool = True
    foreign: bool = False
    degraded: bool = False
    leads: bool = False


class ServiceState(StrEnum):
    """Whether the component is up, as its service keeper says."""

    RUNNING = "running"
    STOPPED = "stopped"  # deliberately down: it stays down
    UNKNOWN = "unknown"


class ActivationKind(StrEnum):
    """How a process comes to use a published certificate."""

    AUTO = "auto"  # what the reload matrix says of what changed
    RELOAD = "reload"
    SIGNAL = "signal"
    RESTART = "restart"
    EXEC = "exec"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """A file a component reads and certrotd does not write; `material` as in the reload matrix."""

    path: str
    material: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFile:
    """A `ReadFile` as it lies on disk.

    `changed_at` is None if it cannot be read; `problem` says why it cannot be read or used;
    `certificates` counts the certificates in it.
    """

    file: ReadFile
    changed_at: datetime | None
    certificates: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """What a running process says about itself.

    `version` is as it writes it, None if it could not be asked, then `detail` says why.
    `loopback_ends` is the end of kube-apiserver's in-memory loopback certificate, where seen.
    """

    version: str | None = None
    detail: str = ""
    loopback_ends: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a process must be restarted to use what changed, and why.

    `within` is how long a process that reloads by itself may take to be seen using it.
    """

    restart: bool
    reasons: tuple[str, ...]
    within: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A process whose certificates we keep.

    `proof_deadline` bounds the wait for proof and gates after activation; `settle` is how long
    all gates must hold without a break. `activation_detail` is for people. `program` is its name
    in the reload matrix, given with the activation AUTO.
    """

    name: ComponentName
    certificates: tuple[CertificateSpec, ...]
    after: tuple[ComponentName, ...] = ()
    activation: ActivationKind = ActivationKind.NONE
    activation_detail: str = ""
    program: str = ""
    reads: tuple[ReadFile, ...] = ()
    proof_deadline: timedelta
    settle: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The daily slot: `daily_at` in UTC plus a stable share of `splay`."""

    daily_at: time
    splay: timedelta


class Reason(StrEnum):
    """Why a certificate is replaced or an activation repeated. A closed list."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    KEY_MISMATCH = "key_mismatch"
    WRONG_ISSUER = "wrong_issuer"
    SPEC_CHANGED = "spec_changed"
    DUE = "due"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    NOT_SERVED = "not_served"
    DRIFTED = "drifted"
    FORCED = "forced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason that holds for one certificate, with the detail a person wants to read."""

    certificate: CertificateName
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One certificate as found: the leaf on disk, if it could be read, and the store's facts."""

    spec: CertificateSpec
    stored: StoredSet
    leaf: ParsedCertificate | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A certificate to be replaced and why; the first finding is the one that decided."""

    spec: CertificateSpec
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """Publications since `since` whose activation or proof was never recorded as done.

    `begun` says that the journal knows of the step; otherwise a process was seen not to use what
    was published, whatever became of the step that published it. `outdated` says which files the
    process has read before somebody else changed them, and will not read again by itself.
    """

    component: ComponentName
    since: datetime
    published: tuple[Published, ...] = ()
    begun: bool = False
    outdated: tuple[str, ...] = ()

    @property
    def unproved(self) -> bool:
        """Whether it is about a publication."""
        return self.begun or bool(self.published)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """All that happens to one component in a run: its replacements, then one activation.

    `decision` is made for the activation AUTO alone.
    """

    component: Component
    replacements: tuple[Replacement, ...]
    owed: Owed | None = None
    decision: Decision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is due and why, in the order in which it will be done. Without steps nothing is due.

    `evidence` is what the running processes were seen to use when the plan was made.
    """

    created_at: datetime
    steps: tuple[Step, ...]
    observations: tuple[Observation, ...]
    evidence: tuple[Evidence, ...]
    next_slot: datetime

    @property
    def replacements(self) -> tuple[Replacement, ...]:
        """All replacements of all steps, in order."""
        return tuple(each for step in self.steps for each in step.replacements)


class EntryKind(StrEnum):
    """What a journal entry records; BEGUN is written before the effect, the rest after."""

    ISSUED = "issued"  # one signature was asked for (the issuance budget counts these)
    REFUSED = "refused"  # the issuer said no: that one does not count
    BEGUN = "begun"
    PUBLISHED = "published"
    ACTIVATED = "activated"
    DONE = "done"
    FAILED = "failed"  # with publication standing: the activation stays owed
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal; `certificate` on ISSUED and REFUSED, `published` on PUBLISHED."""

    at: datetime
    run: RunId
    kind: EntryKind
    component: ComponentName
    certificate: CertificateName | None = None
    published: Published | None = None
    detail: str = ""


class Result(StrEnum):
    """How a step ended."""

    DONE = "done"
    STOPPED = "stopped"  # published; the component is deliberately down and stays so
    DEFERRED = "deferred"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SKIPPED = "skipped"  # not reached because an earlier step failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One certificate that changed: serials (hex) before and after."""

    certificate: CertificateName
    old_serial: str | None
    new_serial: str
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What happened to one component."""

    component: ComponentName
    result: Result
    changes: tuple[Change, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    error: str = ""
    hint: str = ""
    duration: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a whole run did; without steps nothing was due."""

    run: RunId
    started_at: datetime
    duration: float
    steps: tuple[StepReport, ...]
    result: Result
