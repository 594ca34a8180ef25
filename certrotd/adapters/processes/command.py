"""Programs of the operator's own: to activate a component, to ask whether it is up or healthy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.adapters.processes import program
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import Evidence, ServiceState

if TYPE_CHECKING:
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class CommandService:
    """Runs `command` to activate; `only_if`, when given, exits 0 if the component is up.

    Both are an absolute path and arguments, both must end within `timeout`.
    """

    command: tuple[str, ...]
    timeout: timedelta
    only_if: tuple[str, ...] = ()
    component: str = ""

    def state(self) -> ServiceState:
        """Ask `only_if`: exit status 0 is RUNNING, another is STOPPED.

        UNKNOWN without `only_if`, or when it did not get as far as an answer.
        """
        if not self.only_if:
            return ServiceState.UNKNOWN
        try:
            outcome = _run(self.only_if, self.timeout)
        except program.CannotRun:
            return ServiceState.UNKNOWN
        if outcome.succeeded:
            return ServiceState.RUNNING
        return ServiceState.UNKNOWN if outcome.broken else ServiceState.STOPPED

    def started(self) -> datetime | None:
        """Return None: its process is not known."""

    def activate(self) -> None:
        """Run the program.

        Raises:
            ActivationFailed: it could not be run, failed, or took too long.
        """
        try:
            outcome = _run(self.command, self.timeout)
        except program.CannotRun as e:
            raise ActivationFailed(
                str(e), component=self.component, hint="correct the component's `exec.command`"
            ) from e
        if not outcome.succeeded:
            told = program.describe(outcome, self.timeout.total_seconds())
            raise ActivationFailed(
                f"{self.command[0]}: {told}",
                component=self.component,
                hint="run it by hand; it gets only PATH and LANG, and no terminal",
            )


@dataclass(frozen=True, slots=True)
class CommandGate:
    """Healthy means: the program (absolute path and arguments) exits 0 within `timeout`."""

    command: tuple[str, ...]
    timeout: timedelta

    def check(self) -> Evidence:
        """Run it once."""
        source = f"exec {self.command[0]}"
        try:
            outcome = _run(self.command, self.timeout)
        except program.CannotRun as e:
            return Evidence(source=source, holds=False, detail=str(e), reachable=False)
        told = program.describe(outcome, self.timeout.total_seconds())
        return Evidence(source=source, holds=outcome.succeeded, detail=f"{self.command[0]}: {told}")


def _run(command: tuple[str, ...], timeout: timedelta) -> program.Outcome:
    program.check_program(command[0])
    return program.run(command, timeout.total_seconds())
