"""Processes on this machine: how they are told, and whether they were started anew."""

from certrotd.adapters.processes.command import CommandGate, CommandService
from certrotd.adapters.processes.passive import PassiveService
from certrotd.adapters.processes.pidfile import (
    PidfileRestart,
    PidfileSignal,
    PidfileStartedProof,
)
from certrotd.adapters.processes.systemd import UnitRestart, UnitSignal, UnitStartedProof

__all__ = [
    "CommandGate",
    "CommandService",
    "PassiveService",
    "PidfileRestart",
    "PidfileSignal",
    "PidfileStartedProof",
    "UnitRestart",
    "UnitSignal",
    "UnitStartedProof",
]
