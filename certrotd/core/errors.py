"""Every error certrotd raises on purpose.

    CertrotdError(message, hint)
    ├─ ConfigError(problems)                 the configuration is faulty; never retried
    ├─ TransientError(retry_after)           -> the step is deferred
    │   ├─ IssuerUnavailable                 the issuer cannot be reached, is sealed or overloaded
    │   ├─ ApiUnavailable(status)            kube-apiserver is away, busy, or the object changed
    │   ├─ LockHeld(holder)                  another certrotd works on this node
    │   └─ Interrupted                       asked to stop between two steps
    └─ PermanentError                        -> the step has failed
        ├─ IssuerRefused(status)             the issuer answered "no"
        ├─ ApiRefused(status)                kube-apiserver said no
        ├─ BudgetExhausted                   too many signatures asked for this certificate
        ├─ Rejected(mismatches)              the answer is not what was asked for
        ├─ PublishRefused(path)              the target cannot be written safely
        ├─ PublishUncertain(path)            switched, but its durability is unknown
        ├─ ActivationFailed(component)       the component could not be told
        ├─ ProofMissing(component) the running process does not present the new certificate
        ├─ GateClosed(component)   the component is not healthy
        ├─ OnHold(reason, since)             a person must look first (`certrotd resume`)
        └─ NotUnderstood(problems)           what a node runs cannot become a configuration

Errors carry facts as attributes; the command line turns them into prose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.core.quoting import quoted

if TYPE_CHECKING:
    from datetime import datetime


class CertrotdError(Exception):
    """What happened, and in `hint` what to do next (may be empty)."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault of the configuration: where it stands and what is wrong.

    `line` counts from 1; 0 means that the fault has no line of its own.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        """Render as `file:line: key: message`, the form editors can jump to."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(CertrotdError):
    """The configuration is faulty; all faults at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class TransientError(CertrotdError):
    """Trying again later can help; `retry_after` in seconds if the other side named a time."""

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class IssuerUnavailable(TransientError):
    """The issuer cannot be reached, is sealed, overloaded or has no leader."""


class ApiUnavailable(TransientError):
    """kube-apiserver cannot be reached, is busy, or the object was changed by somebody else.

    `status` is the HTTP status where there was an answer: 409 is a conflict.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after)
        self.status = status


class LockHeld(TransientError):
    """Another certrotd is at work; `holder` says which."""

    def __init__(self, message: str, *, holder: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.holder = holder


class Interrupted(TransientError):
    """The run was asked to stop and did so between two steps."""


class PermanentError(CertrotdError):
    """Trying the same again cannot help; a person or a changed world must."""


class IssuerRefused(PermanentError):
    """The issuer answered and said no; `status` is the HTTP status where there is one."""

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ApiRefused(PermanentError):
    """kube-apiserver said no, or cannot be asked as configured; `status` as above."""

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class BudgetExhausted(PermanentError):
    """More signatures were asked for one certificate than a day allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One field in which an answer differs from the request."""

    field: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, got {quoted(self.actual)}"


class Rejected(PermanentError):
    """The issuer's answer breaks the contract; every differing field is in `mismatches`."""

    def __init__(self, certificate: str, mismatches: tuple[Mismatch, ...]) -> None:
        listed = "; ".join(str(mismatch) for mismatch in mismatches)
        super().__init__(
            f"the answer for certificate {certificate} is not what was asked for: {listed}",
            hint="compare the issuer's role with the certificate's configuration",
        )
        self.certificate = certificate
        self.mismatches = mismatches


class PublishRefused(PermanentError):
    """Nothing was changed: `path` cannot be written safely."""

    def __init__(self, message: str, *, path: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class PublishUncertain(PermanentError):
    """The switch happened but the disk did not confirm it: neither old nor durably new."""

    def __init__(self, message: str, *, path: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class ComponentError(PermanentError):
    """Something about one component; `component` names it."""

    def __init__(self, message: str, *, component: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.component = component


class ActivationFailed(ComponentError):
    """The component could not be told to use its new certificate."""


class ProofMissing(ComponentError):
    """The running process was not seen to use the new certificate before the deadline."""


class GateClosed(ComponentError):
    """A health check of the component does not hold."""


class OnHold(PermanentError):
    """Rotation is on hold since `since`, because of `reason`."""

    def __init__(self, reason: str, since: datetime) -> None:
        super().__init__(
            f"rotation is on hold since {since:%Y-%m-%dT%H:%M:%SZ}: {reason}",
            hint="look at the cause, then run `certrotd resume`",
        )
        self.reason = reason
        self.since = since


class NotUnderstood(PermanentError):
    """What was found on a node cannot become a configuration; all faults at once."""

    def __init__(self, problems: tuple[Problem, ...], *, hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = problems
