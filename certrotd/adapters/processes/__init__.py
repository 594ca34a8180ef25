"""Processes on this machine: how they are told, and whether they were started anew."""

from certrotd.adapters.processes.command import CommandGate, CommandService
from certrotd.adapters.processes.passive import PassiveService
from certrotd.adapters.processes.pidfile import (
    PidfileRestart,
    PidfileSignal,
    PidfileStartedProof,
)
from certrotd.adapters.processes.systemd import UnitRestart, UnitSignal, UnitStartedProof
from certrotd.adapters.processes.version import ProgramVersion, UnitVersion

__all__ = [
    "CommandGate",
    "CommandService",
    "PassiveService",
    "PidfileRestart",
    "PidfileSignal",
    "PidfileStartedProof",
    "ProgramVersion",
    "UnitRestart",
    "UnitSignal",
    "UnitStartedProof",
    "UnitVersion",
]
