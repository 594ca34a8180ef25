"""The nouns of a machine that is looked at: files and systemd units."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """Mode and owner of a file; owner and group are names, or numbers that have none."""

    mode: int
    owner: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFacts:
    """What systemd says about a unit.

    `text` is the unit file with its drop-ins, each under a `# PATH` line, in the order in which
    they count; `file` and `drop_ins` are those paths. `arguments` is the command line of the
    running main process, empty while there is none; `environment` its settings (`NAME=value`),
    where they can be read.
    """

    name: str
    load_state: str
    file: str
    text: str
    drop_ins: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
