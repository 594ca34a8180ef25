"""A component that is a systemd unit: restart it, signal it, prove that it was started anew.

Everything goes through `systemctl`, which needs `/run/systemd` and `/run/dbus` of the host; a
container gets them as mounts.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from certrotd.adapters.processes import proc, program
from certrotd.adapters.processes.started import compare, nothing_expected
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import Evidence, ServiceState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.core.model import CertificateName, Expectation

LOOK = 10.0
"""Time limit for a question to systemd, in seconds."""
STEADY = 1.0
"""How long the new process must live, in seconds: one that refuses its certificate dies at once."""
POLL = 0.1
LINES = 10
"""How many lines of the unit's journal a failure shows."""
_PROPERTIES = (
    "LoadState,ActiveState,SubState,Result,MainPID,NRestarts,ControlGroup,ExecMainStartTimestamp"
)
_EXEC_START = re.compile(r"\{ path=(.+?) ; argv\[\]=")
_UP = ("active", "reloading", "refreshing")


class _Unavailable(Exception):
    """systemd cannot be asked, or it refused; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """What systemd says about a unit, in its own words."""

    load: str
    active: str
    sub: str
    result: str
    main_pid: int
    restarts: int
    control_group: str
    main_started: str

    @property
    def exists(self) -> bool:
        return self.load not in ("not-found", "bad-setting", "error")

    def __str__(self) -> str:
        told = f"{self.active} ({self.sub})"
        return told if self.result in ("", "success") else f"{told}, result {self.result}"


@dataclass(frozen=True, slots=True)
class UnitRestart:
    """Restarts a unit and waits, at most `timeout`, until it is active and stays so."""

    unit: str
    timeout: timedelta
    component: str = ""

    def state(self) -> ServiceState:
        """Tell whether the unit is up or should be.

        RUNNING: active or on its way, and also failed: nobody wanted that, and a restart with a
        new certificate may heal it. (A unit that fails while it is stopped looks the same;
        `systemctl reset-failed` makes it inactive.) STOPPED: inactive, masked, or being stopped
        without a start to follow. UNKNOWN: no such unit, or systemd cannot be asked.
        """
        return _state(self.unit, failed=ServiceState.RUNNING)

    def started(self) -> datetime | None:
        """Return the start of the main process; None without one, or if systemd does not say."""
        return _started(self.unit)

    def activate(self) -> None:
        """Restart the unit.

        Raises:
            ActivationFailed: systemd refused, the unit did not become active in time, or its
                process died again; the last lines of its journal are in the message.
        """
        deadline = time.monotonic() + self.timeout.total_seconds()
        try:
            _existing(self.unit)
            # Clears a start limit that earlier restarts ran into, and the restart counter. systemd
            # refuses that for a unit it has dropped from memory, which has neither.
            with contextlib.suppress(_Unavailable):
                _systemctl("reset-failed", "--", self.unit)
            # `replace`: a queued job for the unit gives way. A shutdown's job never does.
            _systemctl(
                "restart", "--job-mode=replace", "--", self.unit,
                limit=self.timeout.total_seconds(),
            )  # fmt: skip
            self._watch(deadline)
        except _Unavailable as e:
            raise ActivationFailed(
                f"{self.unit} could not be restarted: {e}{_last_words(self.unit)}",
                component=self.component,
                hint=f"systemctl status {self.unit}; journalctl -u {self.unit}",
            ) from e

    def _watch(self, deadline: float) -> None:
        """Wait for `active`, then see that the process stays the same for STEADY seconds."""
        first: _Unit | None = None
        since = 0.0
        while True:
            unit, now = _existing(self.unit), time.monotonic()
            if unit.active in _UP and first is None:
                first, since = unit, now
            elif first is None and (unit.active != "activating" or unit.restarts):
                raise _Unavailable(f"it is {unit}")
            elif first is not None and unit.active not in _UP:
                raise _Unavailable(f"its process ended at once; it is {unit}")
            elif first is not None and (
                unit.restarts != first.restarts or unit.main_pid != first.main_pid
            ):
                raise _Unavailable("its process ended at once and systemd started another")
            if first is not None and now - since >= STEADY:
                return
            if first is None and now >= deadline:
                limit = self.timeout.total_seconds()
                raise _Unavailable(f"it is still {unit} after {limit:g} s")
            time.sleep(POLL)


@dataclass(frozen=True, slots=True)
class UnitSignal:
    """Sends a signal to a unit's main process, or to all its processes called `process_name`."""

    unit: str
    signal_name: str
    process_name: str | None = None
    component: str = ""

    def state(self) -> ServiceState:
        """Tell whether the unit is up.

        As for UnitRestart, but failed is STOPPED: there is no process a signal could heal.
        """
        return _state(self.unit, failed=ServiceState.STOPPED)

    def started(self) -> datetime | None:
        """Return the start of the main process, or of the oldest one called `process_name`."""
        if self.process_name is None:
            return _started(self.unit)
        try:
            group = _existing(self.unit).control_group
        except _Unavailable:
            return None
        pids = proc.in_control_group(group, self.process_name) if group else ()
        return min((each.started for each in map(_look_up, pids) if each), default=None)

    def activate(self) -> None:
        """Send the signal.

        Raises:
            ActivationFailed: systemd refused, or there is no such process.
        """
        try:
            self._send()
        except _Unavailable as e:
            raise ActivationFailed(
                f"SIG{self.signal_name} could not be sent to {self.unit}: {e}",
                component=self.component,
                hint=f"systemctl status {self.unit}",
            ) from e

    def _send(self) -> None:
        unit = _existing(self.unit)
        if not unit.main_pid and not unit.control_group:
            raise _Unavailable(f"no process runs, it is {unit}")
        if self.process_name is None:
            # The old spelling of --kill-whom=, as that is unknown before systemd 252.
            name = f"--signal=SIG{self.signal_name}"
            _systemctl("kill", "--kill-who=main", name, "--", self.unit)
            return
        told = 0
        for pid in proc.in_control_group(unit.control_group, self.process_name):
            try:
                proc.send(pid, self.signal_name, partial(_is, pid, self.process_name))
            except ProcessLookupError:
                continue  # it ended meanwhile
            except OSError as e:
                raise _Unavailable(f"process {pid}: {e.strerror}") from e
            told += 1
        if not told:
            raise _Unavailable(f"it has no process called {self.process_name}")


@dataclass(frozen=True, slots=True)
class UnitStartedProof:
    """A unit's main process was started after everything it shall use was published."""

    unit: str

    def check(self, expected: Mapping[CertificateName, Expectation]) -> Evidence:
        """Compare the main process's start with the latest publication."""
        source = f"unit {self.unit}"
        if not expected:
            return nothing_expected(source)
        try:
            unit = _existing(self.unit)
            started = _moment(unit.main_started)
        except _Unavailable as e:
            detail = f"{self.unit}: {e}"
            return Evidence(source=source, holds=False, detail=detail, reachable=False)
        if not unit.main_pid or started is None:
            detail = f"{self.unit}: no main process runs, it is {unit}"
            return Evidence(source=source, holds=False, detail=detail, reachable=False)
        if unit.active not in _UP:
            detail = f"{self.unit}: it is {unit}"
            return Evidence(source=source, holds=False, detail=detail)
        who = f"main process {unit.main_pid} of {self.unit}"
        return compare(source, who, started, timedelta(0), expected)


def main_process(unit: str) -> int | str:
    """Return the id of a unit's main process, or say why there is none."""
    try:
        found = _existing(unit)
    except _Unavailable as e:
        return str(e)
    return found.main_pid or f"no main process runs, it is {found}"


def main_program(unit: str) -> str | None:
    """Return the path of the program that a unit is started with; None if it is not one alone."""
    try:
        text = _systemctl("show", "--property=ExecStart", "--value", "--", unit)
    except _Unavailable:
        return None
    found = [match[1] for line in text.splitlines() if (match := _EXEC_START.match(line))]
    return found[0] if len(found) == 1 else None


def _is(pid: int, name: str) -> bool:
    process = proc.look_up(pid)
    return process is not None and process.is_named(name)


def _look_up(pid: int) -> proc.Process | None:
    try:
        return proc.look_up(pid)
    except OSError:
        return None  # hidden from us meanwhile: nothing can be said about it


def _started(name: str) -> datetime | None:
    try:
        unit = _existing(name)
        return _moment(unit.main_started) if unit.main_pid else None
    except _Unavailable:
        return None


def _state(name: str, *, failed: ServiceState) -> ServiceState:
    try:
        unit = _show(name)
        if not unit.exists:
            return ServiceState.UNKNOWN
        if unit.active == "deactivating":
            # The first half of a restart, or a stop.
            coming = " restart " in _systemctl("list-jobs", "--no-legend", "--plain", "--", name)
            return ServiceState.RUNNING if coming else ServiceState.STOPPED
    except _Unavailable:
        return ServiceState.UNKNOWN
    if unit.active == "failed" and unit.load != "masked":
        return failed
    up = unit.active in _UP or unit.active == "activating"
    return ServiceState.RUNNING if up else ServiceState.STOPPED


def _existing(name: str) -> _Unit:
    """Return a unit that systemd could load.

    Raises:
        _Unavailable: there is none, or systemd cannot be asked.
    """
    unit = _show(name)
    if not unit.exists:
        raise _Unavailable(f"systemd has no usable unit of this name ({unit.load})")
    return unit


def _show(name: str) -> _Unit:
    text = _systemctl("show", "--timestamp=us+utc", f"--property={_PROPERTIES}", "--", name)
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return _Unit(
        load=said.get("LoadState", ""),
        active=said.get("ActiveState", ""),
        sub=said.get("SubState", ""),
        result=said.get("Result", ""),
        main_pid=_whole(said.get("MainPID", "")),
        restarts=_whole(said.get("NRestarts", "")),
        control_group=said.get("ControlGroup", ""),
        main_started=said.get("ExecMainStartTimestamp", ""),
    )


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _moment(text: str) -> datetime | None:
    """Read `Tue 2026-11-24 12:00:00.123456 UTC`; None if systemd knows of no start.

    The wall clock as it was then, like the time of a publication: it stays comparable when the
    clock is set later.

    Raises:
        _Unavailable: systemd writes it in another way.
    """
    if text in ("", "n/a"):
        return None
    try:
        return datetime.fromisoformat(text.partition(" ")[2].replace(" UTC", "+00:00")).astimezone(
            UTC
        )
    except ValueError as e:
        raise _Unavailable(f"systemd's timestamp {text!r} cannot be read") from e


def _systemctl(*arguments: str, limit: float = LOOK) -> str:
    """Ask or tell systemd; return what it said.

    Raises:
        _Unavailable: it could not be reached, refused, or took too long.
    """
    command = ("systemctl", "--no-ask-password", "--no-pager", "--full", *arguments)
    try:
        outcome = program.run(command, limit, keep=16384)
    except program.CannotRun as e:
        raise _Unavailable("systemctl is not installed; this needs systemd") from e
    if outcome.succeeded:
        return outcome.output
    if "not been booted with systemd" in outcome.errors or "connect to bus" in outcome.errors:
        raise _Unavailable(
            "systemd cannot be reached; a container needs /run/systemd and /run/dbus of its host"
        )
    raise _Unavailable(f"systemctl {arguments[0]}: {program.describe(outcome, limit)}")


def _last_words(unit: str) -> str:
    """Return the end of the unit's journal, as far as it can be read."""
    command = (
        "journalctl", "--unit", unit, "--lines", str(LINES), "--no-pager", "--quiet",
        "--output", "cat",
    )  # fmt: skip
    try:
        outcome = program.run(command, LOOK)
    except program.CannotRun:
        return ""
    if not outcome.succeeded or not outcome.output:
        return ""
    return f"\nThe last lines of its journal:\n{outcome.output}"
