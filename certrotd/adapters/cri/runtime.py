"""The container runtime, asked over its socket: version 1 of the Container Runtime Interface."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self, TypeVar

from certrotd.adapters.cri.containers import (
    DEFAULT_GRACE,
    POD_NAME,
    SOURCE,
    Container,
    Gone,
    Late,
    Phase,
    Refused,
    Sandbox,
    Unreachable,
)
from certrotd.adapters.cri.logfile import last_words, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc
    from google.protobuf.message import Message

    _Answer = TypeVar("_Answer", bound=Message)

LOOK = 10.0
"""Time limit for a question, in seconds."""
SLACK = 5.0
"""Seconds a stop may take longer than the grace period, after which the runtime kills."""
_GRACE = "io.kubernetes.pod.terminationGracePeriod"
_EPOCH = datetime.fromtimestamp(0, UTC)
_HINTS = {
    errno.ENOENT: "there is no such socket; is the container runtime running, is the socket "
    "mounted, and does `runtime_endpoint` name it?",
    errno.EACCES: "not permitted; only root may ask a container runtime",
    errno.ECONNREFUSED: "nobody listens there; is the container runtime running?",
}


class Runtime:
    """A connection to the runtime whose socket is `endpoint`; for use in a `with` block."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            Unreachable: nobody listens at the socket.
        """
        # grpc's own messages for these hide the cause.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(LOOK)
            try:
                probe.connect(self._endpoint)
            except OSError as e:
                why = _HINTS.get(e.errno or 0, e.strerror or str(e))
                raise Unreachable(f"container runtime at {self._endpoint}: {why}") from e
        # Before the import, which reads it; whoever of a process imports grpc first decides.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        import grpc  # noqa: PLC0415  # only who restarts containers waits for it

        options = (
            # The name in the requests; runtimes refuse the path of the socket, grpc's default.
            ("grpc.default_authority", "localhost"),
            ("grpc.enable_http_proxy", 0),
        )
        self._channel = grpc.insecure_channel(f"unix:{self._endpoint}", options)
        return self

    def __exit__(self, *_: object) -> None:
        if self._channel is not None:
            self._channel.close()

    def version(self) -> str:
        """Return name and version of the runtime, as `containerd 1.6.20`.

        Raises:
            Unreachable, Refused: it did not answer, or with an error.
        """
        from certrotd.adapters.cri import runtime_pb2 as cri  # noqa: PLC0415  # loads protobuf, slowly

        answer = self._call("Version", cri.VersionRequest(), cri.VersionResponse)
        return f"{answer.runtime_name} {answer.runtime_version}"

    def sandboxes(self, labels: Mapping[str, str]) -> tuple[Sandbox, ...]:
        """Return the pods with all these labels.

        Raises:
            Unreachable, Refused: it did not answer, or with an error.
        """
        from certrotd.adapters.cri import runtime_pb2 as cri  # noqa: PLC0415  # loads protobuf, slowly

        asked = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector=labels))
        answer = self._call("ListPodSandbox", asked, cri.ListPodSandboxResponse)
        return tuple(
            Sandbox(
                id=each.id,
                pod=each.metadata.name,
                static=each.annotations.get(SOURCE) == "file",
                ready=each.state == cri.SANDBOX_READY,
            )
            for each in answer.items
        )

    def containers(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """Return the containers with all these labels, ended ones included.

        Raises:
            Unreachable, Refused: it did not answer, or with an error.
        """
        from certrotd.adapters.cri import runtime_pb2 as cri  # noqa: PLC0415  # loads protobuf, slowly

        phases = {
            cri.CONTAINER_CREATED: Phase.CREATED,
            cri.CONTAINER_RUNNING: Phase.RUNNING,
            cri.CONTAINER_EXITED: Phase.EXITED,
        }
        asked = cri.ListContainersRequest(filter=cri.ContainerFilter(label_selector=labels))
        answer = self._call("ListContainers", asked, cri.ListContainersResponse)
        return tuple(
            Container(
                id=each.id,
                sandbox=each.pod_sandbox_id,
                pod=each.labels.get(POD_NAME, ""),
                name=each.metadata.name,
                phase=phases.get(each.state, Phase.UNKNOWN),
                created=_EPOCH + timedelta(microseconds=each.created_at // 1000),
                grace=_grace(each.annotations.get(_GRACE, "")),
            )
            for each in answer.containers
        )

    def stop(self, container: Container, grace: int, limit: float) -> None:
        """Have a container ended: asked to, and killed after `grace` seconds.

        Its preStop hook, which the kubelet would run, is not run.

        Raises:
            Unreachable, Refused: it did not answer within `limit` seconds, or with an error.
        """
        from certrotd.adapters.cri import runtime_pb2 as cri  # noqa: PLC0415  # loads protobuf, slowly

        asked = cri.StopContainerRequest(container_id=container.id, timeout=grace)
        limit = min(limit, grace + SLACK)
        with contextlib.suppress(Gone):
            self._call("StopContainer", asked, cri.StopContainerResponse, limit)

    def ending(self, container: Container) -> str:
        """Say how a container ended, with the end of its log; a poor answer is told as it is."""
        from certrotd.adapters.cri import runtime_pb2 as cri  # noqa: PLC0415  # loads protobuf, slowly

        asked = cri.ContainerStatusRequest(container_id=container.id)
        try:
            status = self._call("ContainerStatus", asked, cri.ContainerStatusResponse).status
        except (Unreachable, Refused) as e:
            return f"it ended, nobody tells how: {e}"
        told = f"exit code {status.exit_code}"
        if status.reason:
            told += f" ({status.reason})"
        if status.message:
            told += f": {printable(status.message)}"
        return told + last_words(status.log_path)

    def _call(
        self, method: str, asked: Message, answer: type[_Answer], limit: float | None = None
    ) -> _Answer:
        import grpc  # noqa: PLC0415  # as above

        limit = LOOK if limit is None else limit
        if self._channel is None:
            raise ValueError("the connection is not open")
        call = self._channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=type(asked).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return call(asked, timeout=limit)
        except grpc.RpcError as e:
            raise _trouble(e, f"container runtime at {self._endpoint}: {method}", limit) from e


def _trouble(error: grpc.RpcError, doing: str, limit: float) -> Exception:
    import grpc  # noqa: PLC0415  # as above

    said = printable(error.details() or "")
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Late(f"{doing}: no answer within {limit:.3g} s")
        case grpc.StatusCode.UNAVAILABLE:
            return Unreachable(f"{doing}: {said}")
        case grpc.StatusCode.UNIMPLEMENTED:
            return Unreachable(f"{doing}: it does not speak version 1 of the CRI: {said}")
        case grpc.StatusCode.NOT_FOUND:
            return Gone(f"{doing}: {said}")
        case code:
            return Refused(f"{doing}: {code.name}: {said}")


def _grace(text: str) -> int:
    return int(text) if text.isdecimal() else DEFAULT_GRACE
