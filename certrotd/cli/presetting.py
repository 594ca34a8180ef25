"""What certrotd knows of control planes: the reload matrix and the layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from certrotd.cli.options import emit, output_option
from certrotd.cli.tables import span, table

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from certrotd.core.reloading import MatrixRow, Version


@click.group()
def presets() -> None:
    """Show what is known of control planes: which files are reloaded, and whole inventories."""


def _complete(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from certrotd.presets import programs

    return [CompletionItem(name) for name in programs() if name.startswith(incomplete)]


@presets.command()
@click.argument("program", required=False, shell_complete=_complete)
@click.option("--version", "release", metavar="VERSION", help="Only what holds for this release.")
@click.option("--layout", metavar="NAME", help="Print a layout's document instead.")
@output_option
def show(program: str | None, release: str | None, layout: str | None, form: str) -> None:
    """Print the reload matrix, of all programs or of one with its proofs and sources.

    A program that reads a changed file by itself is not restarted by `activation: auto`; all else,
    and what has no row, needs a restart.

    \b
    Examples:
      certrotd presets show
      certrotd presets show kube-apiserver --version 1.36.2
      certrotd presets show --layout kubeadm
    """
    if layout is not None:
        if program or release:
            raise click.UsageError("--layout goes with neither a PROGRAM nor --version")
        _show_layout(layout, form)
        return
    rows = _chosen(program, _version(program, release))
    data = [_data(row) for row in rows]
    emit(form, data, lambda: _detailed(rows) if program else _compact(rows))


@presets.command()
@output_option
def layouts(form: str) -> None:
    """List the layouts that `preset: {layout: NAME}` in the configuration can choose.

    \b
    Example:
      certrotd presets layouts
    """
    from certrotd.presets import LAYOUTS, layout_about

    data = [{"layout": name, "about": layout_about(name)} for name in LAYOUTS]
    rows = [tuple(each.values()) for each in data]
    emit(form, data, lambda: table(("LAYOUT", "ABOUT"), rows))


def _show_layout(name: str, form: str) -> None:
    from certrotd.presets import LAYOUTS, layout_text

    if name not in LAYOUTS:
        raise click.BadParameter(f"there is no layout {name}; known: {', '.join(LAYOUTS)}")
    if form == "json":
        from certrotd.presets.reading import document

        emit(form, document(f"layouts/{name}.yaml"), str)
    else:
        click.echo(layout_text(name), nl=False)


def _version(program: str | None, release: str | None) -> Version | None:
    from certrotd.core.reloading import parse_version

    if release is None:
        return None
    if program is None:
        raise click.UsageError("--version needs a PROGRAM: not all have the same releases")
    if (version := parse_version(release)) is None:
        raise click.BadParameter(f"{release} is no release; write for example 1.36.2")
    return version


def _chosen(program: str | None, version: Version | None) -> list[MatrixRow]:
    from certrotd.presets import matrix, programs

    if program is not None and program not in programs():
        raise click.BadParameter(f"there is no program {program}; known: {', '.join(programs())}")
    rows = [row for row in matrix() if program in (None, row.program)]
    return [row for row in rows if version is None or row.covers(version)]


def _data(row: MatrixRow) -> dict[str, object]:
    from certrotd.core.reloading import version_text

    return {
        "program": row.program,
        "material": row.material,
        "flags": list(row.flags),
        "since": version_text(row.since) if row.since else None,
        "before": version_text(row.before) if row.before else None,
        "reloads": row.reloads,
        "within_seconds": row.within.total_seconds() if row.reloads else None,
        "minimum_life_seconds": row.minimum_life.total_seconds(),
        "how": row.how,
        "proof": row.proof,
        "source": row.source,
    }


def _releases(row: MatrixRow) -> str:
    """Write a range of releases, `1.17 to 1.22`; the end of a range is the last that is in it."""
    first = f"{row.since[0]}.{row.since[1]}" if row.since else ""
    last = f"{row.before[0]}.{row.before[1] - 1}" if row.before else ""
    if first and last:
        return f"{first} to {last}"
    return f"from {first}" if first else f"up to {last}" if last else "all"


def _reloads(row: MatrixRow) -> str:
    return f"within {span(row.within)}" if row.reloads else "restart"


def _compact(rows: list[MatrixRow]) -> str:
    return table(
        ("PROGRAM", "MATERIAL", "RELEASES", "RELOADS", "HOW"),
        ((row.program, row.material, _releases(row), _reloads(row), row.how) for row in rows),
    )


def _detailed(rows: list[MatrixRow]) -> str:
    """Return a table of one program with the notes of each row below it."""
    head, *lines = table(
        ("MATERIAL", "RELEASES", "RELOADS", "FLAGS"),
        ((row.material, _releases(row), _reloads(row), _flags(row)) for row in rows),
    ).splitlines()
    told = (
        f"{line}\n    {row.how}\n    seen by: {row.proof}\n    source:  {row.source}"
        for line, row in zip(lines, rows, strict=True)
    )
    return "\n".join((head, *told))


def _flags(row: MatrixRow) -> str:
    shown = " ".join(row.flags[:2])
    more = len(row.flags) - 2
    return (f"{shown} and {more} more" if more > 0 else shown) or "-"
