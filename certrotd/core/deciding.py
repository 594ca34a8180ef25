"""What the process of a step needs: which of its files change, and what the reload matrix says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from certrotd.core import reloading, render
from certrotd.core.model import Decision, OutputKind
from certrotd.core.reloading import ChangedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from certrotd.core.model import (
        CertificateName,
        CertificateSpec,
        Component,
        IssuerName,
        Observation,
        Output,
        RuntimeFacts,
        SeenFile,
        Step,
        StoredFile,
    )
    from certrotd.core.reloading import MatrixRow

    Anchors = Mapping[IssuerName, tuple[bytes, ...]]

_HOLDS_ONE = "cluster-signing"
"""kube-controller-manager exits at its start if this file holds more than one certificate."""


class Seen(NamedTuple):
    """What a decision is made from; `version` is None if the process could not be asked."""

    rows: tuple[MatrixRow, ...]
    facts: RuntimeFacts
    now: datetime


def changed_by(
    step: Step, observations: Mapping[CertificateName, Observation], anchors: Anchors, now: datetime
) -> tuple[ChangedFile, ...]:
    """Return the files of a step that the process finds changed.

    A replaced pair changes what holds it; CA files and kubeconfigs that name files change only if
    their content does. Of what an earlier run published it is not known what the process has read
    since: all of it counts, and of what it replaced no life may be left.
    """
    changed: list[ChangedFile] = []
    for each in step.replacements:
        seen = observations[each.spec.name]
        left = seen.leaf.not_after - now if seen.leaf else None
        pinned = anchors.get(each.spec.issuer, ())
        changed += [
            _file(file.output, left)
            for file in seen.stored.files
            if _differs(file, each.spec, pinned)
        ]
    for published in step.owed.published if step.owed else ():
        # Also if it is replaced again: the CA file on disk is not the one the process has read.
        changed += all_of(observations[published.certificate].spec, left=now - now)
    return tuple(changed)


def all_of(spec: CertificateSpec, left: timedelta | None = None) -> tuple[ChangedFile, ...]:
    """Return every output of a certificate as changed."""
    return tuple(_file(each, left) for each in spec.outputs)


def decide(
    component: Component, changed: Iterable[ChangedFile], outdated: tuple[str, ...], seen: Seen
) -> Decision:
    """Ask the reload matrix; what the process read before it was changed needs a restart."""
    version = reloading.parse_version(seen.facts.version) if seen.facts.version else None
    decision = reloading.decide(
        seen.rows, component.program, version, tuple(changed), seen.facts.loopback_ends, seen.now
    )
    reasons = decision.reasons
    if version is None and seen.facts.detail:
        reasons = (*reasons, seen.facts.detail)
    if not outdated:
        return Decision(restart=decision.restart, reasons=reasons, within=decision.within)
    kept = reasons if decision.restart else ()
    return Decision(restart=True, reasons=(*outdated, *kept), within=decision.within)


def changed_since(
    files: Iterable[SeenFile], started: datetime, now: datetime
) -> tuple[SeenFile, ...]:
    """Return the files that were changed after a process started.

    A time to come says nothing yet: no restart would make the process younger than the file.
    """
    return tuple(each for each in files if each.changed_at and started < each.changed_at <= now)


def outdated(component: Component, changed: Iterable[SeenFile], seen: Seen) -> tuple[str, ...]:
    """Say which changed files the process has read before, and will not read again."""
    version = reloading.parse_version(seen.facts.version) if seen.facts.version else None
    told = []
    for each in changed:
        row = reloading.row_for(seen.rows, component.program, each.file.material, version)
        if row is None or not row.reloads:
            told.append(
                f"{each.file.material}: {each.file.path} was changed at "
                f"{each.changed_at:%Y-%m-%dT%H:%M:%SZ}, after the process started"
            )
    return tuple(told)


def unusable(files: Iterable[SeenFile]) -> tuple[str, ...]:
    """Say which files would keep the process from starting again."""
    told = [f"{each.file.path}: {each.problem}" for each in files if each.problem]
    told += [
        f"{each.file.path} holds {each.certificates} certificates and must hold exactly one"
        for each in files
        if each.file.material == _HOLDS_ONE and not each.problem and each.certificates > 1
    ]
    return tuple(told)


def _differs(file: StoredFile, spec: CertificateSpec, anchors: tuple[bytes, ...]) -> bool:
    """Tell whether a new pair changes a file."""
    content = render.constant(file.output, spec, anchors)
    return content is None or file.content is None or file.content.reveal() != content


def _file(output: Output, left: timedelta | None) -> ChangedFile:
    pair = output.kind is not OutputKind.CA
    return ChangedFile(path=output.path, material=output.material, remaining=left if pair else None)
