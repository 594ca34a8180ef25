"""A component known by its pidfile: tell it by a signal or end it, prove that it started anew."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.adapters.processes import proc
from certrotd.adapters.processes.started import compare, nothing_expected
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import Evidence, ServiceState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.core.model import CertificateName, Expectation

SLACK = timedelta(seconds=1)
"""A process may seem to be younger than the pidfile it wrote by so much (coarse file times)."""
STEADY = 1.0
"""How long the new process must live, in seconds: one that refuses its certificate dies at once."""
POLL = 0.05
LARGEST = 2**22
"""No process id is larger (PID_MAX_LIMIT)."""


class _Doubtful(Exception):
    """The pidfile does not lead to a process that is surely the component's."""


@dataclass(frozen=True, slots=True)
class PidfileSignal:
    """Sends a signal to the process a pidfile names, read each time.

    `process_name` is what the kernel must call it (`/proc/PID/comm`), if given.
    """

    pidfile: str
    signal_name: str
    process_name: str | None = None
    component: str = ""

    def state(self) -> ServiceState:
        """Tell whether the process lives.

        STOPPED if there is no pidfile or its process is gone. UNKNOWN if it cannot be told:
        rubbish in the pidfile, or a process that looks like another one under a used-up id; then
        `activate` says what is odd, where "stopped" would hide it.
        """
        try:
            process = _process(self.pidfile, self.process_name)
        except _Doubtful:
            return ServiceState.UNKNOWN
        return ServiceState.STOPPED if process is None else ServiceState.RUNNING

    def started(self) -> datetime | None:
        """Return the start of the process; None if there is none that is surely the right one."""
        return _started(self.pidfile, self.process_name)

    def activate(self) -> None:
        """Send the signal.

        Raises:
            ActivationFailed: no process that is surely the right one, or it may not be told.
        """
        try:
            self._send()
        except _Doubtful as e:
            raise self._failed(str(e), "see what the pidfile names, and remove a stale one") from e
        except ProcessLookupError as e:
            raise self._failed("the process ended just now", "is it running?") from e
        except PermissionError as e:
            raise self._failed("not permitted", "certrotd needs CAP_KILL, or the same user") from e
        except OSError as e:
            raise self._failed(e.strerror or str(e), "") from e

    def _send(self) -> None:
        pid = _read(self.pidfile)
        if pid is None:
            raise _Doubtful("there is no such file")
        proc.send(
            pid, self.signal_name, lambda: _process(self.pidfile, self.process_name) is not None
        )

    def _failed(self, cause: str, hint: str) -> ActivationFailed:
        return ActivationFailed(
            f"SIG{self.signal_name} could not be sent by pidfile {self.pidfile}: {cause}",
            component=self.component,
            hint=hint,
        )


@dataclass(frozen=True, slots=True)
class PidfileRestart:
    """Ends the process a pidfile names, and waits until its supervisor has started another.

    `process_name` is what the kernel must call it (`/proc/PID/comm`), if given. Ending and starting
    may take `timeout`.
    """

    pidfile: str
    timeout: timedelta
    signal_name: str = "TERM"
    process_name: str | None = None
    component: str = ""

    def state(self) -> ServiceState:
        """Tell whether the process lives or should.

        RUNNING also if it ended and left its pidfile: nobody wanted that, and its supervisor is
        about to start it. STOPPED without a pidfile. UNKNOWN if it cannot be told, as for
        PidfileSignal.
        """
        try:
            process = _process(self.pidfile, self.process_name)
            left = process is None and _read(self.pidfile) is not None
        except _Doubtful:
            return ServiceState.UNKNOWN
        return ServiceState.RUNNING if process or left else ServiceState.STOPPED

    def started(self) -> datetime | None:
        """Return the start of the process; None if there is none that is surely the right one."""
        return _started(self.pidfile, self.process_name)

    def activate(self) -> None:
        """Restart the process.

        Raises:
            ActivationFailed: no process that is surely the right one, it may not be told or did not
                end, or no other came in time and stayed.
        """
        deadline = time.monotonic() + self.timeout.total_seconds()
        try:
            self._wait(self._end(), deadline)
        except _Doubtful as e:
            raise self._failed(
                str(e), "see what the pidfile names, and its supervisor's log"
            ) from e
        except PermissionError as e:
            raise self._failed("not permitted", "certrotd needs CAP_KILL, or the same user") from e
        except OSError as e:
            raise self._failed(e.strerror or str(e), "") from e

    def _end(self) -> proc.Process | None:
        """Send the signal; return whom it was for, or None if the process had ended before."""
        if _read(self.pidfile) is None:
            raise _Doubtful("there is no such file")
        old = _process(self.pidfile, self.process_name)
        if old is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended just now: the wait is left
                proc.send(old.pid, self.signal_name, lambda: self._is_there(old))
        return old

    def _wait(self, old: proc.Process | None, deadline: float) -> None:
        """Wait for another process, then see that it stays for STEADY seconds.

        Raises:
            _Doubtful: it did not.
        """
        first: proc.Process | None = None
        since = 0.0
        while first is None or time.monotonic() - since < STEADY:
            doubt = ""
            try:
                new = self._successor(old)
            except _Doubtful as e:  # as while it is being written
                new, doubt = None, f": {e}"
            if first is None and new is not None:
                first, since = new, time.monotonic()
            elif first is not None and (new is None or new.ticks != first.ticks):
                raise _Doubtful(f"the new process {first.pid} ({first.name}) ended at once{doubt}")
            elif first is None and time.monotonic() >= deadline:
                limit = f"within {self.timeout.total_seconds():g} s"
                raise _Doubtful(f"{self._missing(old)} {limit}{doubt}")
            time.sleep(POLL)

    def _successor(self, old: proc.Process | None) -> proc.Process | None:
        """Return the process the pidfile names if it is younger than the old one."""
        found = _process(self.pidfile, self.process_name)
        return found if found and (old is None or found.ticks > old.ticks) else None

    def _is_there(self, old: proc.Process) -> bool:
        now = _process(self.pidfile, self.process_name)
        return now is not None and (now.pid, now.ticks) == (old.pid, old.ticks)

    @staticmethod
    def _missing(old: proc.Process | None) -> str:
        now = None if old is None else proc.look_up(old.pid)
        if old is not None and now is not None and now.ticks == old.ticks:
            return f"process {old.pid} ({old.name}) did not end"
        return "its supervisor did not start another process"

    def _failed(self, cause: str, hint: str) -> ActivationFailed:
        return ActivationFailed(
            f"the process of pidfile {self.pidfile} could not be restarted: {cause}",
            component=self.component,
            hint=hint,
        )


@dataclass(frozen=True, slots=True)
class PidfileStartedProof:
    """The process a pidfile names was started after everything it shall use was published."""

    pidfile: str

    def check(self, expected: Mapping[CertificateName, Expectation]) -> Evidence:
        """Compare the process's start with the latest publication."""
        source = f"pidfile {self.pidfile}"
        if not expected:
            return nothing_expected(source)
        try:
            process = _process(self.pidfile, None)
        except _Doubtful as e:
            return Evidence(source=source, holds=False, detail=f"{self.pidfile}: {e}")
        if process is None:
            detail = f"{self.pidfile}: no process runs"
            return Evidence(source=source, holds=False, detail=detail, reachable=False)
        who = f"process {process.pid} ({process.name})"
        return compare(source, who, process.started, proc.TICK, expected)


def _read(pidfile: str) -> int | None:
    """Return the id in a pidfile, or None if there is no such file.

    Raises:
        _Doubtful: it cannot be read or holds something else.
    """
    try:
        with Path(pidfile).open("rb") as file:
            text = file.read(64).strip()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise _Doubtful(f"it cannot be read: {e.strerror}") from e
    if not text.isdigit() or not 1 < int(text) <= LARGEST:  # 1 is init
        raise _Doubtful("it does not hold a process id")
    return int(text)


def _started(pidfile: str, name: str | None) -> datetime | None:
    try:
        process = _process(pidfile, name)
    except _Doubtful:
        return None
    return None if process is None else process.started


def _process(pidfile: str, name: str | None) -> proc.Process | None:
    """Return the process a pidfile names, or None if it is gone.

    Raises:
        _Doubtful: it is probably not the one that wrote the pidfile.
    """
    pid = _read(pidfile)
    try:
        process = None if pid is None else proc.look_up(pid)
    except OSError as e:
        raise _Doubtful(f"process {pid} cannot be looked at: {e.strerror}") from e
    if process is None:
        return None
    if name is not None and not process.is_named(name):
        raise _Doubtful(f"process {process.pid} is called {process.name}, not {name}")
    try:
        written = datetime.fromtimestamp(Path(pidfile).stat().st_mtime, UTC)
    except OSError:
        return None  # removed just now: it is ending
    if process.started > written + SLACK:
        raise _Doubtful(
            f"process {process.pid} ({process.name}) started at {process.started:%H:%M:%S} UTC, "
            f"after the pidfile was written at {written:%Y-%m-%d %H:%M:%S}: it is another process, "
            "or the clock was set"
        )
    return process
