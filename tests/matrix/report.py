"""The measured matrix as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.reloading import MatrixRow, row_for
from certrotd.presets import matrix, programs
from tests.matrix.measuring import pinned, version_of
from tests.matrix.publishing import GRACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from tests.matrix.measuring import Finding

_NAMES = {"kubernetes": "Kubernetes", "etcd": "etcd"}
_ABOUT = """# The reload matrix, measured

<!-- Written by `make matrix`; do not edit. -->

What `certrotd/presets/matrix.yaml` says of {versions}, beside what
these programs did on {day}: {agreeing} of {count} rows agree. `make matrix` repeats it: it
builds the programs on first use, takes about {minutes} minutes, and fails if a row disagrees.
`make test` has all rows that take seconds.

- **Files** were published by certrotd's own store: one rename of a link, and {grace:g} s later the
  replaced files are unlinked. All shown times are the slowest of the rounds.
- **used after**: seconds from the rename until the new one was seen in use, and in brackets from
  the unlinking. Whoever watches files (inotify) watches inodes, so that it wakes only when the old
  ones are unlinked; its limit counts from there, everybody else's from the rename.
- **still the old one**: that long after the publication the process used the old one and not the
  new one; after a restart it used the new one.
- What client-go reads again every 5 minutes is as old as its last tick when something is published,
  so that a single measurement lies anywhere up to the limit.
- Where a process is a client, what it talks to is a TLS server of ours: as kubelet, extension API
  server, etcd peer, proxy, and in front of the real etcd. Who talks to the real API server is read
  from its audit log.
"""


def page(findings: Sequence[Finding], day: date, minutes: int) -> str:
    """The whole page."""
    versions = dict.fromkeys(
        f"{_NAMES[programs()[each.row.program].releases]} {version_of(each.row.program)}"
        for each in findings
    )
    about = _ABOUT.format(
        versions=" and ".join(versions),
        day=day.isoformat(),
        agreeing=sum(each.agrees() for each in findings),
        count=len(findings),
        minutes=minutes,
        grace=GRACE,
    )
    measured = {(each.row.program, each.row.material) for each in findings}
    return "\n".join([about, *_measured(findings), "", *_others(measured), ""])


def _measured(findings: Iterable[Finding]) -> Iterator[str]:
    yield "| program | material | the matrix says | measured | rounds | agrees | seen by |"
    yield "|---|---|---|---|---|---|---|"
    for each in findings:
        agrees = "yes" if each.agrees() else "**NO**"
        yield _line(
            each.row.program, each.row.material, says(each.row), saw(each), str(each.rounds),
            agrees, each.evidence,
        )  # fmt: skip


def _others(measured: set[tuple[str, str]]) -> Iterator[str]:
    yield "## Not measured here"
    yield ""
    yield "From the sources that the matrix names."
    yield ""
    yield "| program | material | the matrix says | source |"
    yield "|---|---|---|---|"
    for program, material in dict.fromkeys((row.program, row.material) for row in matrix()):
        if (program, material) not in measured:
            row = row_for(matrix(), program, material, pinned(program))
            assert row is not None
            yield _line(program, material, says(row), row.source)


def says(row: MatrixRow) -> str:
    """What the matrix says of a row, in short."""
    if not row.reloads:
        return "needs a restart"
    return f"reloads within {row.within.total_seconds():g} s: {row.how}"


def saw(finding: Finding) -> str:
    """What was measured of a row, in short."""
    if finding.problem:
        return finding.problem
    if finding.renamed is not None and finding.retired is not None:
        retired = f"{finding.retired:.2f} s" if finding.retired >= 0 else "before"
        return f"used after {finding.renamed:.2f} s ({retired})"
    return f"still the old one after {finding.held:.0f} s, the new one after a restart"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
