"""Static pod manifests (core/v1 Pod) to processes; reads what the kubelet would read."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from certrotd.core.errors import NotUnderstood, Problem
from certrotd.discovery import commandline, tree
from certrotd.discovery.commandline import Word
from certrotd.discovery.process import Mount, Process, StaticPod, named, twice
from certrotd.presets import programs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.discovery.tree import Tree
    from certrotd.ports import Node

_WORTH_KEEPING = frozenset(programs()) - {"kubelet"}


def processes(node: Node, folder: str) -> tuple[tuple[Process, ...], tuple[str, ...]]:
    """Return the known programs that manifests of a folder run, and notes about the others.

    As the kubelet does, every file that is not hidden counts, whatever its name ends with.

    Raises:
        NotUnderstood: with every fault of every manifest, or there is none to read.
    """
    try:
        names = [each for each in node.entries(folder) if not each.startswith(".")]
    except OSError as e:
        raise NotUnderstood(
            (_problem(folder, 0, "", f"cannot be read: {e.strerror}"),),
            hint="run as root on a control-plane node, or name the kubelet's staticPodPath with "
            "--manifests",
        ) from None
    if not names:
        raise NotUnderstood(
            (_problem(folder, 0, "", "holds no manifest"),),
            hint="is this a control-plane node? --manifests names another folder, --from-systemd "
            "reads units",
        )
    found: list[Process] = []
    notes: list[str] = []
    problems: list[Problem] = []
    for path in (posixpath.join(folder, each) for each in names):
        try:
            process = _process(path, node.read(path))
        except OSError as e:
            problems.append(_problem(path, 0, "", f"cannot be read: {e.strerror}"))
        except NotUnderstood as e:
            problems += e.problems
        else:
            if process:
                found.append(process)
            else:
                notes.append(f"{path} runs no program that certrotd knows; it is passed over")
    problems += twice(
        found,
        "the kubelet reads every file that is not hidden; move the one that does not count out of "
        "the folder",
    )
    if problems:
        raise NotUnderstood(tuple(problems))
    if not found:
        raise NotUnderstood(
            (_problem(folder, 0, "", "no manifest in it runs a program that certrotd knows"),),
            hint="`certrotd presets show` lists the programs",
        )
    return named(found), tuple(notes)


def _problem(file: str, line: int, key: str, message: str) -> Problem:
    return Problem(file=file, line=line, key=key, message=message)


def _process(path: str, content: bytes) -> Process | None:
    """Understand one manifest; None if it runs nothing that is known.

    Raises:
        NotUnderstood: it is no manifest of a pod.
    """
    try:
        document = tree.parse(content)
    except tree.NoYaml as e:
        raise NotUnderstood((_problem(path, e.line, "", str(e)),)) from None
    if document["kind"].text != "Pod":
        kind = document["kind"].text or "nothing"
        told = f"is {kind} where a Pod is expected; the kubelet cannot run it"
        raise NotUnderstood((_problem(path, document["kind"].line, "kind", told),))
    name = document["metadata"]["name"].text
    containers = document["spec"]["containers"].each()
    if not name or not containers:
        key = "spec.containers" if name else "metadata.name"
        raise NotUnderstood((_problem(path, document.line, key, "is missing"),))
    for container in containers:
        environment = {each["name"].text: each["value"].text for each in container["env"].each()}
        arguments = tuple(
            commandline.expanded(Word(each.text, each.line), environment)
            for key in ("command", "args")
            for each in container[key].each()
        )
        try:
            run = commandline.program_in(arguments, _WORTH_KEEPING)
        except ValueError as e:
            line = container["command"].line
            raise NotUnderstood((_problem(path, line, "command", str(e)),)) from None
        if run is None:
            continue
        program = programs()[run[0]]
        return Process(
            name=name,
            program=program,
            source=path,
            flags=commandline.flags(run[1]).with_defaults(
                commandline.from_environment(environment, program.environment)
            ),
            keeper=StaticPod(
                namespace=document["metadata"]["namespace"].text or "default",
                name=name,
                manifest=path,
            ),
            mounts=_mounts(container, document["spec"]),
            version=_version(container["image"].text),
        )
    return None


def _mounts(container: Tree, spec: Tree) -> tuple[Mount, ...]:
    volumes: Mapping[str, str] = {
        each["name"].text: each["hostPath"]["path"].text for each in spec["volumes"].each()
    }
    return tuple(
        Mount(
            host=posixpath.normpath(posixpath.join(host, each["subPath"].text)),
            container=posixpath.normpath(each["mountPath"].text),
        )
        for each in container["volumeMounts"].each()
        if (host := volumes.get(each["name"].text)) and each["mountPath"].text
    )


def _version(image: str) -> str:
    """Return the tag of an image; a registry's port is none, and a digest tells no version."""
    name = image.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[2]
