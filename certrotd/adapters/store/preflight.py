"""Whether publishing can work, found out before anybody is asked to sign anything.

Every directory is looked at once, however many certificates live in it, and everything that is
wrong is said at once.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certrotd.adapters.store import layout
from certrotd.adapters.store.directory import Directory
from certrotd.adapters.store.filesystems import FileSystems
from certrotd.adapters.store.probe import probe
from certrotd.core.errors import PublishRefused
from certrotd.durable import let_go, located, make_private_directory

if TYPE_CHECKING:
    from certrotd.core.model import CertificateSpec, Output

FILE_SIZE = 16 << 10
"""What one output with its share of the manifest is taken to need, in bytes."""
RESERVE = 10
"""How many times the need must be free."""
_NAME = re.compile(r"[A-Za-z0-9_@:+-][A-Za-z0-9._@:+-]{0,127}")
_CAP_CHOWN = 0


@dataclass(slots=True)
class _Target:
    """A directory and how many files and links will be made in it."""

    path: str
    files: int = 0
    outputs: list[Output] = field(default_factory=list)


def check(specs: tuple[CertificateSpec, ...], history: str) -> None:
    """Check all targets and the history.

    Raises:
        PublishRefused: one line for each thing that is wrong.
    """
    problems: list[PublishRefused] = []
    targets: dict[str, _Target] = {}
    may_chown = _may_chown()
    for spec in specs:
        if not _NAME.fullmatch(spec.name):
            text = f"certificate {spec.name}: the name cannot be the name of a directory"
            problems.append(PublishRefused(text, path=spec.name, hint="choose letters and digits"))
        for output in spec.outputs:
            path = posixpath.dirname(output.path)
            targets.setdefault(path, _Target(path)).outputs.append(output)
            if not may_chown and (problem := _owner_problem(output)):
                problems.append(problem)
        targets[layout.home_of(spec)].files += len(spec.outputs) + 1
    file_systems = FileSystems()
    for target in targets.values():
        problems += _target_problems(target, file_systems)
    if specs:
        problems += _history_problems(history, sum(t.files for t in targets.values()), file_systems)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = [f"{each} ({each.hint})" if each.hint else str(each) for each in problems]
        raise PublishRefused(
            "\n".join(lines), path=problems[0].path, hint="nothing was changed; mend all of these"
        )


def _target_problems(target: _Target, file_systems: FileSystems) -> list[PublishRefused]:
    try:
        directory = _open(target.path)
    except PublishRefused as e:
        return [e]
    with directory:
        problems = [
            *_safety_problems(directory),
            *file_systems.problems(directory, target.files, RESERVE, FILE_SIZE),
        ]
        if problems:
            return problems
        try:
            _check_tree(directory)
            probe(directory)
        except PublishRefused as e:
            return [e]
        for output in target.outputs:
            try:
                directory.read(posixpath.basename(output.path))
            except PublishRefused as e:
                problems.append(e)
    return problems


def _history_problems(path: str, files: int, file_systems: FileSystems) -> list[PublishRefused]:
    try:
        make_private_directory(path)
        directory = Directory.open(path)
    except PublishRefused as e:
        return [e]
    with directory:
        problems = file_systems.problems(directory, files, RESERVE, FILE_SIZE)
        if not problems:
            try:
                probe(directory)
            except PublishRefused as e:
                return [e]
    return problems


def _open(path: str) -> Directory:
    try:
        return Directory.open(path)
    except PublishRefused as e:
        cause = e.__cause__
        if isinstance(cause, FileNotFoundError):
            raise PublishRefused(
                f"{path}: does not exist", path=path, hint=f"create the directory {path}"
            ) from e
        if isinstance(cause, NotADirectoryError):
            raise _not_a_directory(path) from e
        raise


def _not_a_directory(path: str) -> PublishRefused:
    if posixpath.islink(path):
        real = posixpath.realpath(path)
        return PublishRefused(
            f"{path}: is a link to {real}",
            path=path,
            hint=f"write {real} in the configuration: links of ours must not depend on another",
        )
    return PublishRefused(
        f"{path}: is not a directory", path=path, hint="name a file in a directory as output"
    )


def _safety_problems(directory: Directory) -> list[PublishRefused]:
    """Find who else could put something in the place of what is published."""
    path, problems = directory.path, []
    real = posixpath.realpath(path)
    if layout.TREE in real.split("/"):
        problems.append(
            PublishRefused(
                f"{path}: lies inside a generation tree of certrotd",
                path=path,
                hint="choose a directory outside of any .certrotd",
            )
        )
    problems += _writers(directory)
    parent = posixpath.dirname(real)
    while parent != "/":
        with located(parent):
            mode = os.stat(parent).st_mode  # noqa: PTH116  # the crash tests watch the os module
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            problems.append(
                PublishRefused(
                    f"{path}: everybody can replace it, as {parent} is writable by everybody",
                    path=path,
                    hint=f"chmod o-w {parent}",
                )
            )
        parent = posixpath.dirname(parent)
    return problems


def _writers(directory: Directory) -> list[PublishRefused]:
    path, status = directory.path, directory.status()
    if status.st_mode & stat.S_IWOTH:
        return [
            PublishRefused(
                f"{path}: everybody can write to it", path=path, hint=f"chmod o-w {path}"
            )
        ]
    if os.geteuid() != 0:
        return []
    problems = []
    if status.st_uid != 0:
        problems.append(
            PublishRefused(
                f"{path}: belongs to user {status.st_uid}, who can replace what root publishes",
                path=path,
                hint=f"chown root {path}; outputs themselves may have another owner",
            )
        )
    if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        problems.append(
            PublishRefused(
                f"{path}: group {status.st_gid} can write to it",
                path=path,
                hint=f"chmod g-w {path}",
            )
        )
    return problems


def _check_tree(home: Directory) -> None:
    """Make sure that what is named like our tree is one.

    Raises:
        PublishRefused: it is a link or a file, or somebody else may write to it.
    """
    root = home.below(layout.TREE)
    if root is None:
        return
    with root:
        for each in (None, layout.LIVE, layout.GENERATIONS):
            below = root.below(each) if each else root
            if below is None:
                continue
            try:
                for problem in _writers(below):
                    raise problem
            finally:
                if below is not root:
                    let_go(below.fd)


def _owner_problem(output: Output) -> PublishRefused | None:
    """Say if a process without CAP_CHOWN cannot give the file this owner."""
    uid, groups = os.geteuid(), {os.getegid(), *os.getgroups()}
    if output.uid in (None, uid) and (output.gid is None or output.gid in groups):
        return None
    wanted = ":".join("" if each is None else str(each) for each in (output.uid, output.gid))
    return PublishRefused(
        f"{output.path}: this process may not give it the owner {wanted}",
        path=output.path,
        hint="run certrotd as root or with CAP_CHOWN, or let the output belong to its user and "
        "one of its groups",
    )


def _may_chown() -> bool:
    """Whether the process has CAP_CHOWN, which root in a hardened unit may not have."""
    try:
        with open("/proc/self/status") as file:  # noqa: PTH123  # as quick as it gets
            found = re.search(r"^CapEff:\s*([0-9a-f]+)$", file.read(), re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        return os.geteuid() == 0
    return bool(int(found[1], 16) >> _CAP_CHOWN & 1)
