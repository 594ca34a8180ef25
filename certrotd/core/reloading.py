"""What a running process does with a changed file: reads it by itself, or needs a restart.

The rows come from outside (`certrotd.presets`); what follows from them is decided here, always on
the safe side: what no row covers, and what nobody could find out, is a restart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.core.model import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

Version = tuple[int, int, int]

LOOPBACK_MARGIN = timedelta(days=30)
"""How long before the end of its loopback certificate kube-apiserver is restarted."""

_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})\+?(?:\.([0-9]{1,4}))?([-+].*)?")
_PRE_RELEASE = re.compile(r"-(?:alpha|beta|rc)\b.*")
_UNSET = (0, 0)
"""What a Kubernetes build says that was not told its version (v0.0.0-master)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """What one program of some releases does with one material.

    The releases are `since` (included) to `before` (excluded); None is an open end. `within` is
    the longest time from publication to use, zero where a restart is needed. `minimum_life` is
    how long the replaced certificate must still be valid for the reload to be waited for, zero
    where its end does not matter. `how`, `proof` (how to see it) and `source` are for people.
    """

    program: str
    material: str
    flags: tuple[str, ...]
    since: Version | None
    before: Version | None
    reloads: bool
    within: timedelta
    how: str
    proof: str
    minimum_life: timedelta
    source: str

    def covers(self, version: Version) -> bool:
        """Whether the row is about this release."""
        return (self.since is None or self.since <= version) and (
            self.before is None or version < self.before
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """A file that gets new content; `remaining` is the life left of the certificate it replaces.

    `remaining` is None for what is no certificate and where there was none.
    """

    path: str
    material: str | None
    remaining: timedelta | None


def parse_version(text: str) -> Version | None:
    """Read `v1.37.2`, `1.36.2-gke.1`, `3.6.16` or `1.32+`; None if it says no release.

    A pre-release lies on neither side of a boundary, so it counts as not known.
    """
    match = _VERSION.fullmatch(text.strip())
    if match is None or _PRE_RELEASE.fullmatch(match[4] or ""):
        return None
    version = (int(match[1]), int(match[2]), int(match[3] or 0))
    return None if version[:2] == _UNSET else version


def version_text(version: Version) -> str:
    """Write a version as `1.36.2`."""
    return ".".join(map(str, version))


def row_for(
    rows: Iterable[MatrixRow], program: str, material: str, version: Version | None
) -> MatrixRow | None:
    """Return the row of a release; None where no row covers it, which means a restart.

    Where the version is not known, the safest row of the material is returned: one that needs a
    restart if there is one, else the slowest.
    """
    found = [each for each in rows if each.program == program and each.material == material]
    if version is not None:
        return next((each for each in found if each.covers(version)), None)
    return max(
        found, key=lambda each: (not each.reloads, each.within, each.minimum_life), default=None
    )


def decide(
    rows: Iterable[MatrixRow],
    program: str,
    version: Version | None,
    changed: tuple[ChangedFile, ...],
    loopback_ends: datetime | None,
    now: datetime,
) -> Decision:
    """Decide what a process needs to use its changed files.

    Args:
        rows: The matrix.
        program: Whose files they are, e.g. `kube-apiserver`.
        version: What the process said it is; None if it could not be asked.
        changed: The files with new content.
        loopback_ends: When the certificate that kube-apiserver keeps in memory ends, if known.
        now: The time.
    """
    known = tuple(rows)
    restarts: list[str] = []
    reloads: list[str] = []
    slowest = timedelta(0)
    for file in changed:
        row = row_for(known, program, file.material, version) if file.material else None
        if why := _needs_restart(file, row, _called(program, version)):
            restarts.append(why)
        elif row is not None:
            slowest = max(slowest, row.within)
            reloads.append(f"{row.material}: {row.how}{_soon(row)} ({_named(row)})")
    if loopback_ends is not None and loopback_ends - now < LOOPBACK_MARGIN:
        restarts.append(
            f"its in-memory loopback certificate ends {loopback_ends:%Y-%m-%d}: a planned restart"
        )
    reasons = dict.fromkeys(restarts or reloads)
    if version is None and any(file.material for file in changed):
        reasons[f"the version of {program} is not known: the safest row applies"] = None
    return Decision(
        restart=bool(restarts),
        reasons=tuple(reasons),
        within=timedelta(0) if restarts else slowest,
    )


def _needs_restart(file: ChangedFile, row: MatrixRow | None, program: str) -> str | None:
    """Say why a restart is needed for one file; None if it is reloaded."""
    if file.material is None:
        return f"{file.path}: what {program} does with it is not known"
    if row is None:
        return f"{file.material}: the matrix has no row for {program}"
    if not row.reloads:
        return f"{row.material}: {row.how} ({_named(row)})"
    if row.minimum_life and file.remaining is not None and file.remaining < row.minimum_life:
        left = max(round(file.remaining / timedelta(minutes=1)), 0)
        needed = round(row.minimum_life / timedelta(minutes=1))
        return (
            f"{row.material}: what it replaces ends in {left} min, and a reload is waited for "
            f"only with {needed} min left ({_named(row)})"
        )
    return None


def _soon(row: MatrixRow) -> str:
    return f", within {row.within / timedelta(seconds=1):g} s" if row.within else ""


def _named(row: MatrixRow) -> str:
    return f"matrix: {row.program} {row.material}"


def _called(program: str, version: Version | None) -> str:
    return f"{program} {version_text(version)}" if version else program
