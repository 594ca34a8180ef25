"""Values to data for programs and text for people. Field names are an interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.cli.tables import moment, short, span, table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from certrotd.app import App
    from certrotd.core.model import Decision, Entry, Finding, Observation, Plan, RunReport, Step

Data = dict[str, object]


def _time(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None


def _findings(findings: Iterable[Finding]) -> list[Data]:
    return [{"reason": str(each.reason), "detail": each.detail} for each in findings]


def plan_data(plan: Plan) -> Data:
    """Return a plan as data."""
    return {
        "created_at": _time(plan.created_at),
        "next_slot": _time(plan.next_slot),
        "steps": [_step_data(step) for step in plan.steps],
    }


def _step_data(step: Step) -> Data:
    return {
        "component": step.component.name,
        "activation": str(step.component.activation),
        "activation_detail": step.component.activation_detail,
        "replace": [
            {"certificate": each.spec.name, "reasons": _findings(each.findings)}
            for each in step.replacements
        ],
        "owed": [each.certificate for each in step.owed.published] if step.owed else [],
        "outdated": list(step.owed.outdated) if step.owed else [],
        "decision": _decision_data(step.decision) if step.decision else None,
    }


def _decision_data(decision: Decision) -> Data:
    return {
        "restart": decision.restart,
        "reasons": list(decision.reasons),
        "within": decision.within.total_seconds(),
    }


def _how(step: Step) -> str:
    """Say how a step's process comes to use its new certificates."""
    told = step.component.activation_detail or str(step.component.activation)
    return told if step.decision is None or step.decision.restart else "reloads by itself"


def plan_text(plan: Plan) -> str:
    """Return a plan as a table, in the order in which it will be done."""
    if not plan.steps:
        fresh = len(plan.observations)
        return (
            f"Nothing is due: all {fresh} certificates are fresh."
            f" Next daily slot: {moment(plan.next_slot)}."
        )
    rows: list[tuple[str, ...]] = []
    for number, step in enumerate(plan.steps, 1):
        how = _how(step)
        for each in step.replacements:
            first = each.findings[0]
            named = (str(number), step.component.name, each.spec.name, how)
            rows.append((*named, str(first.reason), first.detail))
        if step.owed and not step.replacements:
            rows.extend(
                (str(number), step.component.name, each.certificate, how, "owed",
                 f"published {moment(each.published_at)}, not shown to be in use")
                for each in step.owed.published
            )  # fmt: skip
        if step.owed and step.owed.outdated and not step.replacements:
            rows.append(
                (str(number), step.component.name, "-", how, "outdated", step.owed.outdated[0])
            )
    header = ("STEP", "COMPONENT", "CERTIFICATE", "ACTIVATION", "REASON", "DETAIL")
    fresh = len(plan.observations) - len(plan.replacements)
    lines = [table(header, rows), f"{len(plan.replacements)} to replace, {fresh} left alone."]
    for step in plan.steps:
        if step.decision:
            verdict = "restart" if step.decision.restart else "no restart"
            lines.append(f"{step.component.name}: {verdict}")
            lines += [f"  {reason}" for reason in step.decision.reasons]
    return "\n".join(lines)


def _served(plan: Plan, observation: Observation) -> bool | None:
    """Whether the running process was seen to use the leaf; None if nobody could tell."""
    mine = [each for each in plan.evidence if each.certificate == observation.spec.name]
    if any(each.stale or each.foreign for each in mine):
        return False
    return True if any(each.holds for each in mine) else None


def status_data(plan: Plan, app: App) -> Data:
    """Return all certificates and what was found about them."""
    held = app.world.hold.placed()
    return {
        "cluster": app.config.settings.cluster,
        "node": app.config.node,
        "hold": {"reason": held[0], "since": _time(held[1])} if held else None,
        "next_slot": _time(plan.next_slot),
        "owed": [step.component.name for step in plan.steps if step.owed],
        "certificates": [_certificate_data(plan, each) for each in plan.observations],
    }


def _certificate_data(plan: Plan, seen: Observation) -> Data:
    leaf, stored = seen.leaf, seen.stored
    return {
        "component": seen.spec.component,
        "certificate": seen.spec.name,
        "issuer": seen.spec.issuer,
        "common_name": leaf.common_name if leaf else None,
        "serial": leaf.serial if leaf else None,
        "fingerprint": leaf.fingerprint if leaf else None,
        "not_before": _time(leaf.not_before) if leaf else None,
        "not_after": _time(leaf.not_after) if leaf else None,
        "issued_at": _time(stored.issued_at),
        "published_at": _time(stored.published_at),
        "generation": stored.generation,
        "served": _served(plan, seen),
        "reasons": _findings(seen.findings),
        "outputs": [each.output.path for each in stored.files],
    }


_SERVED = {True: "yes", False: "NO", None: "-"}


def status_text(plan: Plan, app: App) -> str:
    """Return all certificates as a table, and above it what a person should know first."""
    rows = [
        (
            each.spec.component,
            each.spec.name,
            short(each.leaf.serial if each.leaf else None),
            moment(each.leaf.not_after if each.leaf else None),
            span(each.leaf.not_after - plan.created_at) if each.leaf else "-",
            _SERVED[_served(plan, each)],
            each.findings[0].reason if each.findings else "ok",
        )
        for each in plan.observations
    ]
    header = ("COMPONENT", "CERTIFICATE", "SERIAL", "NOT AFTER", "REMAINING", "SERVED", "STATE")
    lines = []
    if held := app.world.hold.placed():
        lines += [f"ON HOLD since {moment(held[1])}: {held[0]}", "  `certrotd resume` ends it."]
    lines += [
        f"OWED: {step.component.name} was not shown to use what is published"
        for step in plan.steps
        if step.owed and step.owed.unproved
    ]
    lines += [
        f"OUTDATED: {step.component.name}: {told}"
        for step in plan.steps
        for told in (step.owed.outdated if step.owed else ())
    ]
    lines.append(table(header, rows))
    lines.append(f"Next daily slot: {moment(plan.next_slot)}.")
    return "\n".join(lines)


def report_data(report: RunReport) -> Data:
    """Return what a run did."""
    return {
        "run": report.run,
        "started_at": _time(report.started_at),
        "duration": round(report.duration, 3),
        "result": str(report.result),
        "steps": [
            {
                "component": step.component,
                "result": str(step.result),
                "duration": round(step.duration, 3),
                "changes": [
                    {
                        "certificate": each.certificate,
                        "old_serial": each.old_serial,
                        "new_serial": each.new_serial,
                        "not_after": _time(each.not_after),
                    }
                    for each in step.changes
                ],
                "evidence": [
                    {"source": each.source, "holds": each.holds, "detail": each.detail}
                    for each in step.evidence
                ],
                "error": step.error or None,
                "hint": step.hint or None,
            }
            for step in report.steps
        ],
    }


def report_text(report: RunReport) -> str:
    """Return what a run did as a table, and below it what went wrong and what to do."""
    if not report.steps:
        return "Nothing was due."
    rows = []
    for step in report.steps:
        took = f"{step.duration:.2f}s"
        if not step.changes:
            rows.append((step.component, str(step.result), took, "-", "-", "-", "-"))
        rows.extend(
            (
                step.component,
                str(step.result),
                took,
                each.certificate,
                short(each.old_serial),
                short(each.new_serial),
                moment(each.not_after),
            )
            for each in step.changes
        )
    header = ("COMPONENT", "RESULT", "TOOK", "CERTIFICATE", "OLD SERIAL", "NEW SERIAL", "NOT AFTER")
    lines = [table(header, rows)]
    for step in report.steps:
        if step.error:
            lines.append(f"{step.component}: {step.error}")
        if step.hint:
            lines.append(f"  {step.hint}")
    changed = sum(len(step.changes) for step in report.steps)
    lines.append(f"{changed} replaced in {report.duration:.1f} s: {report.result}.")
    return "\n".join(lines)


def history_data(entries: Iterable[Entry]) -> list[Data]:
    """Return journal entries as data."""
    return [
        {
            "at": _time(each.at),
            "run": each.run,
            "component": each.component,
            "event": str(each.kind),
            "certificate": each.published.certificate if each.published else each.certificate,
            "serial": each.published.serial if each.published else None,
            "generation": each.published.generation if each.published else None,
            "detail": each.detail,
        }
        for each in entries
    ]


def history_text(entries: Iterable[Entry]) -> str:
    """Return journal entries as a table, oldest first."""
    rows = [
        (
            moment(each.at),
            each.run,
            each.component,
            str(each.kind),
            (each.published.certificate if each.published else each.certificate) or "-",
            short(each.published.serial if each.published else None),
            each.published.generation if each.published else each.detail,
        )
        for each in entries
    ]
    header = ("TIME", "RUN", "COMPONENT", "EVENT", "CERTIFICATE", "SERIAL", "DETAIL")
    return table(header, rows) if rows else "Nothing has happened yet."
