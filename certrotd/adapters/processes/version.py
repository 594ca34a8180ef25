"""The version a program prints: of a file, or of what a unit's main process runs."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from certrotd.adapters.processes import proc, program, systemd
from certrotd.core.model import RuntimeFacts

TIMEOUT = 5.0
"""How long a program may take to say its version, in seconds."""
_VERSION = re.compile(r"(?<![\w.])v?\d+\.\d+(?:\.\d+)?[-+.\w]*")


@dataclass(frozen=True, slots=True)
class ProgramVersion:
    """What `path --version` prints first that looks like a version.

    That is the version of the file: after an upgrade the process may still run the one before.
    """

    path: str

    def read(self) -> RuntimeFacts:
        """Run it once."""
        try:
            program.check_program(self.path)
        except program.CannotRun as e:
            return RuntimeFacts(detail=str(e))
        return _printed(self.path, self.path)


@dataclass(frozen=True, slots=True)
class UnitVersion:
    """What the program of a unit's main process prints, also when its file was replaced since."""

    unit: str

    def read(self) -> RuntimeFacts:
        """Run it once."""
        pid = systemd.main_process(self.unit)
        if isinstance(pid, str):
            return RuntimeFacts(detail=f"{self.unit}: {pid}")
        who = f"main process {pid} of {self.unit}"
        try:
            descriptor = os.open(f"/proc/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            # The link of a process with more capabilities than ours, as in the sandbox of
            # certrotd's own unit, is not for us to follow.
            return self._by_path(pid, who)
        except OSError as e:
            return RuntimeFacts(detail=f"{who}: its program cannot be read: {e.strerror}")
        return _held(descriptor, who)

    def _by_path(self, pid: int, who: str) -> RuntimeFacts:
        """Ask the file that the unit names, if it is certain that the process was started of it."""
        path = systemd.main_program(self.unit)
        try:
            process = proc.look_up(pid)
        except OSError as e:
            return RuntimeFacts(detail=f"{who} cannot be looked at: {e.strerror}")
        if path is None or process is None or not process.is_named(Path(path).name):
            return RuntimeFacts(detail=f"{who}: its program is not the one that the unit names")
        try:
            linked = _linked(Path(path))
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            return RuntimeFacts(detail=f"{path} cannot be read: {e.strerror}")
        if max(os.fstat(descriptor).st_ctime, linked) >= process.started.timestamp():
            os.close(descriptor)
            return RuntimeFacts(detail=f"{who}: {path} was changed after it was started")
        return _held(descriptor, who)


def _linked(path: Path) -> float:
    """Return when a link on a path was last made, in seconds since the epoch; 0 without links."""
    links = (each for each in (path, *path.parents) if each.is_symlink())
    return max((each.lstat().st_ctime for each in links), default=0.0)


def _held(descriptor: int, who: str) -> RuntimeFacts:
    """Ask an open program, and close it.

    A process can run whatever its user can write. So a program is run only if root, or whoever
    runs certrotd, owns it and nobody else can write it; it is held open from the check to its end.
    """
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return RuntimeFacts(
                detail=f"{who}: its program can be changed by others, and is not run"
            )
        return _printed(f"/proc/{os.getpid()}/fd/{descriptor}", who)
    finally:
        os.close(descriptor)


def _printed(path: str, who: str) -> RuntimeFacts:
    try:
        outcome = program.run((path, "--version"), TIMEOUT)
    except program.CannotRun as e:
        return RuntimeFacts(detail=str(e))
    if not outcome.succeeded:
        return RuntimeFacts(detail=f"{who} --version: {program.describe(outcome, TIMEOUT)}")
    match = _VERSION.search(outcome.output) or _VERSION.search(outcome.errors)
    if match is None:
        return RuntimeFacts(detail=f"{who} --version: prints no version")
    return RuntimeFacts(version=match[0], detail=f"{match[0]} ({who} --version)")
