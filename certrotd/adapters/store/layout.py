"""Names: where everything lies in a store, and which link is ours. Reads and writes nothing."""

from __future__ import annotations

import hashlib
import posixpath
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from certrotd.core.model import GenerationId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certrotd.core.model import CertificateSpec

TREE = ".certrotd"
LIVE = "live"
GENERATIONS = "gen"
MANIFEST = "MANIFEST"
STAGING = ".staging-"
"""What a generation is called until it is complete; nothing of that name is ever served."""
_FORMAT = "%Y%m%dT%H%M%S.%fZ"
_GENERATION = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{6}")


def new_generation(at: datetime, after: Iterable[GenerationId]) -> GenerationId:
    """Return an id that sorts after all given ones, even where the clock went back."""
    moment = at.astimezone(UTC)
    for each in after:
        moment = max(moment, _taken(each) + timedelta(microseconds=1))
    return GenerationId(f"{moment.strftime(_FORMAT)}-{secrets.token_hex(3)}")


def generation_of(name: str) -> GenerationId | None:
    """Return the id if `name` is one of ours."""
    if not _GENERATION.fullmatch(name):
        return None
    try:
        _taken(name)
    except ValueError:
        return None
    return GenerationId(name)


def _taken(generation: str) -> datetime:
    return datetime.fromisoformat(generation.partition("-")[0])


def home_of(spec: CertificateSpec) -> str:
    """Return the directory that holds the certificate's generations."""
    return posixpath.dirname(spec.outputs[0].path)


def entry_of(spec: CertificateSpec, path: str) -> str:
    """Return the name of an output within its generation.

    It depends on the path and the home alone, so that links made once stay right when outputs
    come and go: at home the file's own name, elsewhere a short hash is added.
    """
    directory, name = posixpath.split(path)
    if directory == home_of(spec) and name != MANIFEST:
        return name
    return f"{name[:200]}@{_hash(path)}"


def target_of(spec: CertificateSpec, path: str) -> str:
    """Return what the link at `path` says, relative so that it holds inside a container too."""
    home, directory = (posixpath.realpath(d) for d in (home_of(spec), posixpath.dirname(path)))
    entry = posixpath.join(TREE, LIVE, spec.name, entry_of(spec, path))
    return posixpath.normpath(posixpath.join(posixpath.relpath(home, directory), entry))


def live_target(name: str, generation: GenerationId) -> str:
    """Return what the live link of a certificate says."""
    return posixpath.join("..", GENERATIONS, name, generation)


def generation_in(name: str, target: str) -> GenerationId | None:
    """Return the generation a live link names, if it is one of ours."""
    directory, last = posixpath.split(target)
    return generation_of(last) if directory == f"../{GENERATIONS}/{name}" else None


def temporary(name: str) -> str:
    """Return the name under which a link or probe is made before it is renamed.

    Always the same for the same name, so that what a crash leaves behind is found again.
    """
    return f"{TREE}-{_hash(name)}.new"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
