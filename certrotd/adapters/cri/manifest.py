"""Manifests of static pods: read, compared with their neighbours, changed by one annotation.

The kubelet reads every file of its directory whose name does not begin with a dot, and makes a new
pod of what changed in any way. So a change is written to a dot-file first and renamed, and no copy
of a manifest is ever left beside it.
"""

from __future__ import annotations

import copy
import functools
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from certrotd import durable

ANNOTATION = "certrotd/restarted-at"
"""What is changed to have a pod restarted."""
LARGEST = 1024 * 1024
"""No manifest is larger, in bytes."""


_KEPT = 32
"""So many manifests are kept understood: they are looked at each minute, and PyYAML is slow."""


class Unfit(Exception):
    """The manifest cannot be used; the text names the file and says why."""


class Absent(Unfit):
    """There is no manifest, though there is its directory: the pod is deliberately down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A static pod as its file has it; `status` is the file's when it was read."""

    path: str
    text: str
    pod: str
    namespace: str
    containers: tuple[str, ...]
    restart_policy: str
    status: os.stat_result


def read(path: str) -> Manifest:
    """Read the manifest of one pod.

    Raises:
        Absent: there is none.
        Unfit: it cannot be read, or is no pod's.
    """
    try:
        text, status = _load(path)
    except FileNotFoundError as e:
        if Path(path).parent.is_dir():
            raise Absent(f"{path}: there is no such manifest") from e
        raise Unfit(f"{path}: its directory is not there") from e
    except OSError as e:
        raise Unfit(f"{path}: it cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise Unfit(f"{path}: it is not UTF-8") from e
    document = _parse(path, text)
    try:
        if document["kind"] != "Pod":
            raise Unfit(f"{path}: it is a {document['kind']}, not a Pod")
        metadata, spec = document["metadata"], document["spec"]
        return Manifest(
            path=path,
            text=text,
            pod=_word(metadata["name"]),
            namespace=_word(metadata.get("namespace") or "default"),
            containers=tuple(_word(each["name"]) for each in spec["containers"]),
            restart_policy=_word(spec.get("restartPolicy") or "Always"),
            status=status,
        )
    except (KeyError, TypeError, AttributeError) as e:
        raise Unfit(f"{path}: it is not a Pod with a name and containers ({e})") from e


def neighbours(path: str) -> tuple[Manifest, ...]:
    """Return the other pods of the directory; what is not a pod's manifest is passed over.

    Raises:
        Unfit: the directory cannot be read.
    """
    directory = Path(path).parent
    try:
        names = sorted(each.name for each in directory.iterdir() if each.name[0] != ".")
    except OSError as e:
        raise Unfit(f"{directory}: it cannot be read: {e.strerror}") from e
    found = []
    for name in names:
        if name != Path(path).name:
            # The kubelet tells of these itself, and they are other components' affair.
            with suppress(Unfit):
                found.append(read(str(directory / name)))
    return tuple(found)


def annotated(manifest: Manifest, value: str) -> str:
    """Return the text with ANNOTATION set to `value`, and every other byte as it was.

    Raises:
        Unfit: no way to do so was found; the file is then to be changed by hand.
    """
    text = manifest.text
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    metadata = _value(root, "metadata")
    annotations = _value(metadata, "annotations")
    present = _value(annotations, ANNOTATION)
    pair = f'"{ANNOTATION}": "{value}"'
    if present is not None:
        changed = _replace(text, present, f'"{value}"')
    elif isinstance(annotations, yaml.MappingNode) and (
        annotations.value or annotations.flow_style
    ):
        changed = _insert(text, annotations, pair)
    elif annotations is not None:  # nothing, or the word null
        blank = " " if annotations.start_mark.index == annotations.end_mark.index else ""
        changed = _replace(text, annotations, f"{blank}{{{pair}}}")
    elif isinstance(metadata, yaml.MappingNode):
        changed = _insert(text, metadata, f'"annotations": {{{pair}}}')
    else:
        changed = text
    wanted = copy.deepcopy(_parse(manifest.path, text))
    given = wanted["metadata"].get("annotations") or {}
    if not isinstance(given, dict):
        raise Unfit(f"{manifest.path}: its annotations are not a mapping")
    wanted["metadata"]["annotations"] = {**given, ANNOTATION: value}
    try:
        right = _parse(manifest.path, changed) == wanted
    except Unfit:
        right = False
    if not right:
        raise Unfit(
            f"{manifest.path}: the annotation {ANNOTATION} cannot be set without touching anything "
            "else; write one there by hand, in a line of its own"
        )
    return changed


def put(manifest: Manifest, text: str) -> None:
    """Put a changed text in the place of a manifest by one rename; mode and owner stay.

    Raises:
        Unfit: it cannot be written, or was changed by somebody else meanwhile; nothing happened.
    """
    path = Path(manifest.path)
    temporary = path.with_name(f".{path.name}.certrotd")
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()  # of a run that was killed
        _write(temporary, text.encode(), manifest.status)
        now = path.lstat()
        if stat.S_ISLNK(now.st_mode):
            raise Unfit(f"{path}: it is a symbolic link; name the file itself")
        if (now.st_ino, now.st_mtime_ns) != (manifest.status.st_ino, manifest.status.st_mtime_ns):
            raise Unfit(f"{path}: somebody else changed it just now")
        # The directory is not flushed: after a power cut every pod is a new one anyhow.
        temporary.rename(path)
    except OSError as e:
        raise Unfit(f"{path}: it cannot be changed: {e.strerror}") from e
    finally:
        with suppress(OSError):
            temporary.unlink()


def _write(path: Path, data: bytes, like: os.stat_result) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        durable.write_all(fd, data)
        os.fchown(fd, like.st_uid, like.st_gid)
        os.fchmod(fd, stat.S_IMODE(like.st_mode))
        os.fsync(fd)
    finally:
        os.close(fd)


def _load(path: str) -> tuple[str, os.stat_result]:
    # Not blocking: a pipe in the file's place would not let go.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Unfit(f"{path}: it is not a regular file")
        data = os.pread(fd, LARGEST + 1, 0)
    finally:
        os.close(fd)
    if len(data) > LARGEST:
        raise Unfit(f"{path}: it is larger than any manifest")
    return data.decode(), status


@functools.lru_cache(_KEPT)
def _parse(path: str, text: str) -> Any:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise Unfit(f"{path}: it is not YAML{line}") from e
    except (RecursionError, ValueError) as e:  # ValueError: a date that is none
        raise Unfit(f"{path}: it is not YAML: {e}") from e
    if not isinstance(document, dict):
        raise Unfit(f"{path}: it is not a mapping, as every manifest is")
    return document


def _word(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} stands where a name should")
    return value


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """Return the value of a key of a mapping, the last one as in `_parse`."""
    if not isinstance(node, yaml.MappingNode):
        return None
    found = [value for name, value in node.value if name.value == key]
    return found[-1] if found else None


def _replace(text: str, node: yaml.Node, by: str) -> str:
    return text[: node.start_mark.index] + by + text[node.end_mark.index :]


def _insert(text: str, mapping: yaml.MappingNode, pair: str) -> str:
    """Put a pair before the first of a mapping that is a block or stands in braces."""
    if mapping.flow_style:
        at = mapping.start_mark.index + 1
        return f"{text[:at]}{pair}{', ' if mapping.value else ''}{text[at:]}"
    first = mapping.value[0][0].start_mark
    if mapping.start_mark.line == first.line:
        first = mapping.start_mark  # where a question mark stands before the key
    # Where the first key begins, in a line of its own with the same indentation.
    end = "\r\n" if "\r\n" in text else "\n"
    return f"{text[: first.index]}{pair}{end}{' ' * first.column}{text[first.index :]}"
