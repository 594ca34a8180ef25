"""Progress for people: events to short lines on standard error while work goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from certrotd.cli.tables import short
from certrotd.ports import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LINES: Mapping[Event, Callable[[Mapping[str, object]], str]] = {
    Event.RUN_STARTED: lambda f: f"Issuing {f['certificates']} certificates …",
    Event.CERTIFICATE_ISSUED: lambda f: (
        f"  {f['certificate']}: serial {short(str(f['serial']))}… from {f['issuer']}, verified"
    ),
    Event.ISSUER_WARNED: lambda f: f"  {f['certificate']}: the issuer warns: {f['warning']}",
    Event.ISSUER_RETRIED: lambda f: f"  trying again: {f.get('error', '')}",
    Event.STEP_STARTED: lambda f: f"{f['component']}",
    Event.CERTIFICATE_PUBLISHED: lambda f: f"  published {f['certificate']}",
    Event.LEADER_MOVED: lambda f: f"  leader moved from {f['old']} to {f['new']}",
    Event.LEADER_STAYED: lambda f: f"  the leader could not be moved: {f['detail']}",
    Event.COMPONENT_ACTIVATED: lambda f: f"  told: {f['detail'] or f['how']}",
    Event.COMPONENT_LEFT_STOPPED: lambda f: f"  {f['detail']}",
    Event.COMPONENT_PROVEN: lambda f: f"  proved: {f['detail']}",
    Event.GATE_PASSED: lambda f: f"  healthy: {f['detail']}",
    Event.STEP_FAILED: lambda f: f"  {f['component']} FAILED: {f['error']}",
    Event.ROLLBACK_STARTED: lambda f: f"  putting back {f['certificates']} …",
    Event.COMPONENT_ROLLED_BACK: lambda f: f"  the old pair is back: {f['certificates']}",
    Event.ROLLBACK_FAILED: lambda f: f"  PUTTING BACK FAILED: {f['error']}",
    Event.HOLD_PLACED: lambda _: "  rotation is on hold until `certrotd resume`",
    Event.KUBELET_CERTIFICATE_REQUESTED: lambda f: (
        f"asking for {f['purpose']}: {f['detail']}\n  request {f['request']} by {f['identity']}"
    ),
    Event.KUBELET_CERTIFICATE_STORED: lambda f: (
        f"  serial {short(str(f['serial']))}… is exactly what was asked for: {f['path']}"
    ),
    Event.KUBELET_KUBECONFIG_WRITTEN: lambda f: f"  kubeconfig written: {f['detail']}",
    Event.KUBELET_CERTIFICATE_IN_USE: lambda f: f"  in use: serial {short(str(f['serial']))}",
    Event.KUBELET_RESTART_FAILED: lambda f: f"  RESTART FAILED: {f['error']}",
    Event.GENERATIONS_RETIRED: lambda f: f"{f['count']} replaced generations removed",
}


def narrate(event: Event, /, **facts: object) -> None:
    """Tell one event; those that mean nothing to a watching person are left out."""
    if (told := _LINES.get(event)) is not None:
        click.echo(told(facts), err=True)
