"""Containers and pods as the runtime and the kubelet tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
SOURCE = "kubernetes.io/config.source"
"""The annotation that tells where the kubelet has a pod from; `file` makes it a static pod."""
DEFAULT_GRACE = 30
"""Seconds a pod has for its end if nothing is said."""


class Unreachable(Exception):
    """Nobody who knows the containers could be asked; the text says whom, why and what to do."""


class Late(Unreachable):
    """There was no answer in time."""


class Refused(Exception):
    """The runtime answered with an error; the text holds it."""


class Gone(Refused):
    """There is no such container any more."""


class Phase(StrEnum):
    """Where a container is in its one life; the next life is another container."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container.

    `created` is shortly before its process was started and its mounts were resolved; None if it is
    not told. `grace` is its pod's grace period in seconds.
    """

    id: str
    sandbox: str = ""
    pod: str
    name: str
    phase: Phase
    created: datetime | None = None
    grace: int = DEFAULT_GRACE

    def __str__(self) -> str:
        return f"container {self.name} ({self.id[:12]}) of pod {self.pod}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What holds a pod's containers; not `ready` once the pod is ended."""

    id: str
    pod: str
    static: bool
    ready: bool


class View(Protocol):
    """Who tells of the containers of one component."""

    def containers(self) -> tuple[Container, ...]:
        """Return all that are known, ended ones included.

        Raises:
            Unreachable: nobody could be asked.
            Refused: the answer was an error.
        """

    def ending(self, container: Container) -> str:
        """Say in words how a container ended, as far as it can be told."""
