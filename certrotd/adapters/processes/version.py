"""The version a program prints: of a file, or of what a unit's main process runs."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass

from certrotd.adapters.processes import program, systemd
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
        return running(pid, f"main process {pid} of {self.unit}")


def running(pid: int, who: str) -> RuntimeFacts:
    """Ask the program that a process runs, by the kernel's own link to it.

    A process can run whatever its user can write. So a program is run only if root, or whoever
    runs certrotd, owns it and nobody else can write it; it is held open from the check to its end.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/exe", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        return RuntimeFacts(detail=f"{who}: its program cannot be read: {e.strerror}")
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
