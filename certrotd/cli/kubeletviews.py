"""What is known of this node's kubelet, as data and as text. Field names are an interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.cli.tables import moment, short, span, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from certrotd.kubelets.progress import Progress
    from certrotd.kubelets.tending import Sight

EXEMPT = (
    "The kubelet is not part of the daily run: it replaces its certificates by itself, and certrotd"
    " acts only where it has not."
)
"""Why a plan has no kubelet in it."""
WORDS = {
    "kubernetes.io/kube-apiserver-client-kubelet": "client",
    "kubernetes.io/kubelet-serving": "serving",
}
"""How commands and the configuration call the two purposes."""


def _time(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None


def sights_data(sights: Sequence[Sight]) -> list[dict[str, object]]:
    """Return what the kubelet has, and what is on its way."""
    return [_sight_data(each) for each in sights]


def _sight_data(sight: Sight) -> dict[str, object]:
    leaf, attempt = sight.held.leaf, sight.record.attempt
    return {
        "purpose": WORDS[sight.purpose],
        "path": sight.held.path,
        "serial": leaf.serial if leaf else None,
        "fingerprint": leaf.fingerprint if leaf else None,
        "common_name": leaf.common_name if leaf else None,
        "not_before": _time(leaf.not_before) if leaf else None,
        "not_after": _time(leaf.not_after) if leaf else None,
        "cause": str(sight.why[0]) if sight.why else None,
        "detail": sight.why[1] if sight.why else None,
        "request": attempt.name if attempt else None,
        "requested_at": _time(attempt.begun_at) if attempt else None,
        "stored_at": _time(sight.record.stored_at),
        "requests": [_time(each) for each in sight.record.requests],
        "next_request": _time(sight.next_request),
    }


def sights_text(sights: Sequence[Sight], now: datetime) -> str:
    """Return the same as a table, and below it what is on its way."""
    rows = [
        (
            WORDS[each.purpose],
            short(each.held.leaf.serial if each.held.leaf else None),
            moment(each.held.leaf.not_after if each.held.leaf else None),
            span(each.held.leaf.not_after - now) if each.held.leaf else "-",
            str(each.why[0]) if each.why else "ok",
            each.held.path,
        )
        for each in sights
    ]
    lines = [table(("KUBELET", "SERIAL", "NOT AFTER", "REMAINING", "STATE", "PATH"), rows)]
    for each in sights:
        lines += [f"{WORDS[each.purpose]}: {told}" for told in _told(each)]
    return "\n".join(lines)


def _told(sight: Sight) -> list[str]:
    told = [sight.why[1]] if sight.why else []
    record = sight.record
    if record.attempt:
        told.append(f"request {record.attempt.name} since {moment(record.attempt.begun_at)}")
    elif sight.why and record.requests and sight.next_request:
        told.append(f"the next request is made from {moment(sight.next_request)} on")
    if record.stored_at:
        told.append(f"stored {moment(record.stored_at)}, not yet shown to be in use")
    return told


def progress_data(progress: Progress) -> dict[str, object]:
    """Return what came of a renewal."""
    leaf = progress.leaf
    return {
        "purpose": WORDS[progress.purpose],
        "state": str(progress.state),
        "cause": str(progress.cause) if progress.cause else None,
        "detail": progress.detail,
        "hint": progress.hint or None,
        "until": _time(progress.until),
        "serial": leaf.serial if leaf else None,
        "not_after": _time(leaf.not_after) if leaf else None,
    }


def progress_text(done: Sequence[Progress]) -> str:
    """Return the same for people."""
    lines = []
    for each in done:
        leaf = f": serial {short(each.leaf.serial)}" if each.leaf else ""
        lines.append(f"{WORDS[each.purpose]} {each.state}{leaf}; {each.detail}")
        if each.hint:
            lines.append(f"  {each.hint}")
    return "\n".join(lines)
