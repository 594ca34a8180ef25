"""systemd units to processes: the running command line first, the unit file where none runs."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from certrotd.core.errors import NotUnderstood, Problem
from certrotd.discovery import commandline, unitfile
from certrotd.discovery.commandline import Word
from certrotd.discovery.process import Process, named, twice
from certrotd.presets import programs

if TYPE_CHECKING:
    from certrotd.core.model import UnitFacts
    from certrotd.discovery.unitfile import Setting
    from certrotd.ports import Node

_WORTH_KEEPING = frozenset(programs()) - {"kubelet"}
_HINT = "`certrotd presets show` lists the programs"


def processes(node: Node, names: tuple[str, ...]) -> tuple[tuple[Process, ...], tuple[str, ...]]:
    """Return the known programs that the named units run, or all loaded services if none is named.

    Notes tell of units that were not named, are called like a known program, and were no use.

    Raises:
        NotUnderstood: with every fault: a unit is not known, masked, runs no known program.
    """
    found: list[Process] = []
    problems: list[Problem] = []
    notes: list[str] = []
    try:
        wanted = [each if "." in each else f"{each}.service" for each in names] or node.services()
        for name in dict.fromkeys(wanted):
            try:
                process = _process(node, node.unit(name))
            except NotUnderstood as e:
                if names:
                    problems += e.problems
                elif any(program in name for program in _WORTH_KEEPING):
                    notes.append(f"{e}; it is passed over")
            else:
                found.append(process)
    except OSError as e:
        raise NotUnderstood(
            (Problem(file="systemd", line=0, key="", message=e.strerror or str(e)),),
            hint="is this machine's first process systemd? --from-kubeadm reads static pods",
        ) from None
    problems += twice(found, "name the unit that counts")
    if problems:
        raise NotUnderstood(tuple(problems), hint=_HINT)
    if not found:
        told = "no loaded service runs a program that certrotd knows"
        raise NotUnderstood((Problem(file="systemd", line=0, key="", message=told),), hint=_HINT)
    return named(found), tuple(notes)


def folders(found: tuple[Process, ...]) -> tuple[str, ...]:
    """Return where kubeconfigs of people may lie: beside those of the processes."""
    beside = [
        posixpath.dirname(word.text)
        for each in found
        for _, word in each.flags.all(*each.program.kubeconfigs)
        if word.text.startswith("/")
    ]
    return tuple(dict.fromkeys((*beside, "/etc/kubernetes")))


def _process(node: Node, unit: UnitFacts) -> Process:
    """Understand one unit.

    Raises:
        NotUnderstood: it cannot be loaded, or runs nothing that is known.
    """
    _loaded(unit)
    settings = unitfile.settings(unit.text, (unit.file, *unit.drop_ins))
    environment, notes = _environment(node, unit, settings)
    starts = [each for each in settings if each.name == "ExecStart"]
    commands = [_located(unit.arguments, unit.text)] if unit.arguments else []
    try:
        commands += [unitfile.command(each, unit.name, environment) for each in starts]
        runs = [commandline.program_in(each, _WORTH_KEEPING) for each in commands]
    except ValueError as e:
        raise _fault(unit, starts[0].line if starts else 0, "ExecStart", str(e)) from None
    run = next((each for each in runs if each), None)
    if run is None:
        line = starts[0].line if starts else 0
        other = commands[0][0].text if commands and commands[0] else "nothing"
        raise _fault(unit, line, "ExecStart", f"runs {other}, which is no program certrotd knows")
    program = programs()[run[0]]
    prefix = program.environment
    return Process(
        name=posixpath.splitext(unit.name)[0].replace("@", "-"),
        program=program,
        source=unit.file or unit.name,
        flags=commandline.flags(run[1]).with_defaults(
            commandline.from_environment(environment, prefix)
        ),
        keeper=unit.name,
        notes=notes,
    )


def _loaded(unit: UnitFacts) -> None:
    if unit.load_state == "loaded":
        return
    told = {
        "not-found": "there is no such unit",
        "masked": "is masked: it can never start; unmask it first",
    }
    message = told.get(
        unit.load_state,
        f"systemd cannot load it ({unit.load_state}): systemd-analyze verify {unit.name} says why",
    )
    raise NotUnderstood((Problem(file=unit.name, line=0, key="", message=message),))


def _fault(unit: UnitFacts, line: int, key: str, message: str) -> NotUnderstood:
    problem = Problem(file=unit.file or unit.name, line=line, key=key, message=message)
    return NotUnderstood((problem,))


def _located(arguments: tuple[str, ...], text: str) -> tuple[Word, ...]:
    """Give running arguments the line of the unit file that their flag stands in, if it does."""
    lines = text.splitlines()

    def line(argument: str) -> int:
        flag = argument.partition("=")[0]
        found = (n for n, each in enumerate(lines) if flag in each)
        return next(found, 0) if flag.startswith("-") else 0

    return tuple(Word(each, line(each)) for each in arguments)


def _environment(
    node: Node, unit: UnitFacts, settings: tuple[Setting, ...]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the environment of the process, or that of the unit file where none runs."""
    if unit.environment:
        return dict(each.partition("=")[::2] for each in unit.environment), ()
    found: dict[str, str] = {}
    notes = []
    for each in settings:
        if each.name == "Environment":
            try:
                found |= unitfile.environment(each.value)
            except ValueError as e:
                raise _fault(unit, each.line, each.name, str(e)) from None
        elif each.name == "EnvironmentFile":
            path = each.value.removeprefix("-")
            try:
                found |= unitfile.environment_file(node.read(path).decode(errors="replace"))
            except OSError as e:
                told = f"not found on this node: {path} (EnvironmentFile): {e.strerror}; fill in"
                notes.append(f"{told} what it sets, if flags depend on it")
    return found, tuple(notes)
