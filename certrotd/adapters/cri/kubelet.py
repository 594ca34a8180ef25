"""The kubelet, asked over plain HTTP on this machine: whether it is well, and for its pods."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from certrotd.adapters.cri.containers import SOURCE, Container, Phase, Unreachable
from certrotd.adapters.cri.logfile import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LOOK = 5.0
"""Time limit for an answer, in seconds."""
LARGEST = 16 * 1024 * 1024
"""No list of pods is larger, in bytes."""
_PHASES = {"running": Phase.RUNNING, "terminated": Phase.EXITED, "waiting": Phase.CREATED}


@dataclass(frozen=True, slots=True)
class KubeletView:
    """The containers of static pods, as the kubelet's `/pods` at `url` has them.

    `is_ours` tells by namespace and name whether a pod is the component's.
    """

    url: str
    is_ours: Callable[[str, str], bool]

    def containers(self) -> tuple[Container, ...]:
        """Return the present and the last container of each name.

        Raises:
            Unreachable: the kubelet does not answer, or not with pods.
        """
        return tuple(container for container, _ in self._told())

    def ending(self, container: Container) -> str:
        """Say how a container ended, if the kubelet still knows."""
        for each, how in self._told():
            if each.id == container.id and how:
                told = f"exit code {how.get('exitCode')} ({how.get('reason')})"
                message = how.get("message")
                return f"{told}: {printable(message)}" if message else told
        return "it ended, the kubelet does not tell how"

    def _told(self) -> Iterator[tuple[Container, Mapping[str, Any]]]:
        body = _get(self.url)
        try:
            for pod in json.loads(body)["items"] or ():
                metadata = pod["metadata"]
                static = metadata.get("annotations", {}).get(SOURCE) == "file"
                if static and self.is_ours(metadata["namespace"], metadata["name"]):
                    yield from _of_pod(pod)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
            raise Unreachable(f"kubelet at {self.url}: that is no list of pods ({e})") from e


def check_health(url: str) -> None:
    """Ask the kubelet whether it is well.

    Raises:
        Unreachable: it does not answer, or that it is not.
    """
    _get(url)


def _of_pod(pod: Mapping[str, Any]) -> Iterator[tuple[Container, Mapping[str, Any]]]:
    for status in pod.get("status", {}).get("containerStatuses") or ():
        for states in (status.get("state") or {}, status.get("lastState") or {}):
            for word, facts in states.items():
                # One that waits for its first start has no id yet, one that waits for another
                # has its last life's, which `lastState` tells of.
                name = facts.get("containerID") or status.get("containerID")
                if name and word != "waiting":
                    yield (
                        Container(
                            id=name.rpartition("/")[2],
                            pod=pod["metadata"]["name"],
                            name=status["name"],
                            phase=_PHASES[word],
                            created=_moment(facts.get("startedAt")),
                        ),
                        facts,
                    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _get(url: str) -> bytes:
    """Get what is at a URL of this machine, in bounded time and size, without a proxy.

    Raises:
        Unreachable: there was no answer, or not 200.
    """
    import http.client  # noqa: PLC0415  # only who restarts containers waits for it

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LOOK)
    try:
        connection.connect()
        deadline = time.monotonic() + LOOK
        # The timeout of the socket is one for each read: who dribbles could go on for ever.
        end = threading.Timer(LOOK, connection.sock.shutdown, (socket.SHUT_RDWR,))
        end.start()
        try:
            connection.request("GET", parts.path or "/")
            answer = connection.getresponse()
            body = answer.read(LARGEST)
        finally:
            end.cancel()
    except (OSError, http.client.HTTPException) as e:
        raise Unreachable(f"kubelet at {url}: {printable(str(e)) or 'no answer'}") from e
    finally:
        connection.close()
    # http.client takes an answer that was cut off for a whole one.
    if answer.length or time.monotonic() >= deadline:
        raise Unreachable(f"kubelet at {url}: its answer was cut off, or too slow or long")
    if answer.status != http.client.OK:
        said = printable(body[:200].decode(errors="replace"))
        raise Unreachable(f"kubelet at {url}: {answer.status} {said}")
    return body
