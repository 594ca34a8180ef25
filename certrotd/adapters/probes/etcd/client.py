"""Calls to one etcd member, over mutual TLS."""

# ruff: noqa: PLC0415  # grpc takes 80 ms, and commands that look at no etcd do without it

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from certrotd.adapters.probes.asking import NoAnswer, get
from certrotd.adapters.probes.connection import (
    Unusable,
    client_context,
    excerpt,
    pair_in,
    present,
    split_address,
)
from certrotd.adapters.probes.tls import served_leaf
from certrotd.core.model import KeyAlgorithm

if TYPE_CHECKING:
    from types import TracebackType

    import grpc
    from google.protobuf.message import Message

    from certrotd.core.model import Output

    _Answer = TypeVar("_Answer", bound=Message)

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # as all probes: what is asked is on this network
    ("grpc.use_local_subchannel_pool", 1),  # each look makes its own handshake
)


class Unanswered(Exception):
    """A member did not answer a call; `reachable` tells whether it accepted the connection."""

    def __init__(self, detail: str, *, reachable: bool = True) -> None:
        super().__init__(detail)
        self.reachable = reachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A member as the member list has it; one that was never started has no name."""

    number: int
    name: str
    urls: tuple[str, ...]
    learner: bool

    @property
    def started(self) -> bool:
        """Whether it ever joined."""
        return bool(self.name and self.urls)

    def __str__(self) -> str:
        return excerpt(self.name) or f"{self.number:x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a member says of itself.

    `leader` is 0 if it knows of none. `index` is the last raft entry it knows to be committed,
    `applied` the last it has applied. `errors` are its alarms, in its own words.
    """

    number: int
    version: str
    leader: int
    index: int
    applied: int
    learner: bool
    errors: tuple[str, ...]


class Access:
    """What all members are asked with: the CA they must build to, and our pair.

    Raises:
        Unusable: the CA or the pair cannot be read.
    """

    def __init__(self, ca_file: str, client: tuple[Output, ...]) -> None:
        self._context = client_context(ca_file)
        present(self._context, client)
        pair = pair_in(client)
        try:
            anchors = Path(ca_file).read_bytes()
        except OSError as e:
            raise Unusable(f"{ca_file} cannot be read: {e.strerror}") from e
        self.credentials: grpc.ChannelCredentials = _grpc().ssl_channel_credentials(
            anchors, pair.private_key.reveal(), pair.chain
        )

    def obstacle(self, address: str, timeout: float) -> Unanswered | None:
        """Say why a connection cannot be made; None if it can.

        gRPC tells it in words of its library, which change. So the handshake is made once more.
        """
        try:
            get(f"https://{address}/health", self._context, timeout)
            leaf = served_leaf(address, split_address(address)[0], timeout)
        except NoAnswer as e:
            return Unanswered(str(e), reachable=e.reachable)
        except (OSError, ValueError):
            return None
        if leaf.key == KeyAlgorithm.ED25519:
            return Unanswered("its certificate's key is Ed25519, which gRPC cannot verify")
        return None


class Connection:
    """A connection to the member at `address` (`host:port`), for a `with` block."""

    def __init__(self, address: str, access: Access) -> None:
        self._address = address
        self._access = access

    def __enter__(self) -> Self:
        self._channel: grpc.Channel = _grpc().secure_channel(
            f"dns:///{self._address}", self._access.credentials, _OPTIONS
        )
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    def members(self, timeout: float, *, linearizable: bool) -> tuple[int, tuple[Listed, ...]]:
        """Return the number of the member that answers, and the member list.

        Args:
            timeout: In seconds.
            linearizable: Whether a quorum must confirm it (etcd 3.5 and newer; an older one
                answers from its own memory).

        Raises:
            Unanswered: it did not, or there is no quorum.
        """
        from certrotd.adapters.probes.etcd import etcd_pb2 as messages

        request = messages.MemberListRequest(linearizable=linearizable)
        answer = self._call("Cluster/MemberList", request, messages.MemberListResponse, timeout)
        return answer.header.member_id, tuple(
            Listed(
                number=each.ID,
                name=each.name,
                urls=tuple(each.clientURLs),
                learner=each.isLearner,
            )
            for each in answer.members
        )

    def status(self, timeout: float) -> Status:
        """Ask the member about itself; needs no quorum.

        Raises:
            Unanswered: it did not answer.
        """
        from certrotd.adapters.probes.etcd import etcd_pb2 as messages

        request = messages.StatusRequest()
        answer = self._call("Maintenance/Status", request, messages.StatusResponse, timeout)
        return Status(
            number=answer.header.member_id,
            version=answer.version,
            leader=answer.leader,
            index=answer.raftIndex,
            applied=answer.raftAppliedIndex,
            learner=answer.isLearner,
            errors=tuple(answer.errors),
        )

    def move_leader(self, target: int, timeout: float) -> None:
        """Let this member, the leader, hand over to another; returns when it has.

        Raises:
            Unanswered: it refused, or it did not happen in time.
        """
        from certrotd.adapters.probes.etcd import etcd_pb2 as messages

        request = messages.MoveLeaderRequest(targetID=target)
        self._call("Maintenance/MoveLeader", request, messages.MoveLeaderResponse, timeout)

    def _call(
        self, method: str, request: Message, expected: type[_Answer], timeout: float
    ) -> _Answer:
        grpc = _grpc()
        call = self._channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=expected.FromString,
        )
        try:
            answer: _Answer = call(request, timeout=timeout)
        except grpc.RpcError as e:
            raise self._told(e, timeout) from e
        return answer

    def _told(self, error: Any, timeout: float) -> Unanswered:
        """Say what a failed call means; `error` is both grpc.RpcError and grpc.Call."""
        grpc = _grpc()
        code, details = error.code(), error.details() or ""
        if details.startswith("etcdserver: "):
            return Unanswered(excerpt(details.removeprefix("etcdserver: ")))
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unanswered(f"no answer within {timeout:.1f} s")
        if code is grpc.StatusCode.UNAVAILABLE and (
            obstacle := self._access.obstacle(self._address, timeout)
        ):
            return obstacle
        return Unanswered(f"{code.name.lower().replace('_', ' ')}: {excerpt(details)}")


def _grpc() -> Any:
    # Its C library writes what went wrong to standard error; we say it ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    return grpc
