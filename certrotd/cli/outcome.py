"""What happened to an exit code. The codes are an interface, documented in docs/exit-codes.md."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from certrotd.core.errors import (
    CertrotdError,
    ConfigError,
    LockHeld,
    OnHold,
    TransientError,
)

if TYPE_CHECKING:
    from certrotd.core.model import RunReport


class ExitCode(IntEnum):
    """Exit codes of all commands but `check` and `kubelet guard`, which follow Nagios."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    ROLLED_BACK = 4  # or on hold
    LOCKED = 5
    DEFERRED = 75  # EX_TEMPFAIL of sysexits.h: trying again later can help
    INTERRUPTED = 130  # 128 + SIGINT


_OF_RESULT = {
    "done": ExitCode.OK,
    "stopped": ExitCode.OK,
    "deferred": ExitCode.DEFERRED,
    "skipped": ExitCode.FAILED,
    "failed": ExitCode.FAILED,
    "rolled_back": ExitCode.ROLLED_BACK,
}
"""By the value of model.Result, which `--help` need not load; a test compares the two."""
_OF_ERROR: tuple[tuple[type[CertrotdError], ExitCode], ...] = (
    (ConfigError, ExitCode.CONFIG),
    (OnHold, ExitCode.ROLLED_BACK),
    (LockHeld, ExitCode.LOCKED),
    (TransientError, ExitCode.DEFERRED),
    (CertrotdError, ExitCode.FAILED),
)


def of_report(report: RunReport) -> ExitCode:
    """Return the exit code of a run."""
    return _OF_RESULT[report.result]


def of_error(error: CertrotdError) -> ExitCode:
    """Return the exit code of an error that ended a command."""
    return next(code for kind, code in _OF_ERROR if isinstance(error, kind))
