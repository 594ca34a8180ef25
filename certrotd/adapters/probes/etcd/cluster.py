"""An etcd cluster at one moment: looked at through one member, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from certrotd.adapters.probes.connection import Deadline
from certrotd.adapters.probes.etcd.client import Connection, Listed, Status, Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from certrotd.adapters.probes.etcd.client import Access

QUORUM = 2.0
"""How long a read that a quorum confirms may take, in seconds; an election takes about one."""
ANSWER = 1.5
"""How long one member's answer about itself may take, in seconds."""
LAG = 1000
"""How many raft entries a member may be behind. etcd itself refuses work at 5,000."""
AT_ONCE = 8
"""How many members are asked at once."""
_ALARM = re.compile(r"memberID:(\d+) alarm:(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What was seen.

    `here` is the member that was asked, `quorum` why no quorum confirmed the member list (empty
    if one did), `statuses` each started member's status or why there is none.
    """

    here: int
    members: tuple[Listed, ...]
    quorum: str
    statuses: Mapping[int, Status | Unanswered]

    @property
    def own(self) -> Status | Unanswered:
        """The status of the member that was asked."""
        return self.statuses[self.here]

    @property
    def leads(self) -> bool:
        """Whether the member that was asked is the leader."""
        return isinstance(self.own, Status) and self.own.leader == self.here

    @property
    def largest(self) -> int:
        """The largest raft index that any member knows."""
        return max((each.index for each in self._known()), default=0)

    def lag(self, status: Status) -> int:
        """How many raft entries a member has still to apply."""
        return max(self.largest - status.applied, 0)

    def name(self, number: int) -> str:
        """Return a member's name."""
        return next((str(each) for each in self.members if each.number == number), f"{number:x}")

    def successor(self) -> int | None:
        """Return the voter that is best fit to lead instead of the one asked; None without one."""
        fit = [
            (status.applied, status.number)
            for status in self._known()
            if status.number != self.here
            and not status.learner
            and status.leader == self.here
            and self.lag(status) <= LAG
        ]
        return max(fit)[1] if fit else None

    def voters(self) -> int:
        """Return how many members vote."""
        return sum(not each.learner for each in self.members)

    def common_faults(self) -> tuple[str, ...]:
        """Say what concerns all members: no quorum, no leader, alarms."""
        said = [f"no quorum: {self.quorum}"] if self.quorum else []
        if isinstance(self.own, Status) and not self.own.leader:
            said.append("it knows of no leader")
        raised = [
            f"alarm {kind} of {self.name(int(number))}"
            for status in self._known()
            for error in status.errors
            for number, kind in _ALARM.findall(error)
        ]
        return (*said, *dict.fromkeys(raised))

    def faults_of(self, member: Listed) -> tuple[str, ...]:
        """Say what is wrong with one member."""
        if not member.started:
            return (f"{member} was never started",)
        status = self.statuses[member.number]
        if isinstance(status, Unanswered):
            return (f"{member}: {status}",)
        said = [f"{member} is a learner"] if member.learner or status.learner else []
        if (lag := self.lag(status)) > LAG:
            said.append(f"{member} is {lag} raft entries behind")
        own = self.own
        if isinstance(own, Status) and status.leader != own.leader:
            leader = self.name(status.leader) if status.leader else "none"
            said.append(f"{member} sees another leader ({leader})")
        return tuple(said)

    def _known(self) -> tuple[Status, ...]:
        return tuple(each for each in self.statuses.values() if isinstance(each, Status))


def look(endpoint: str, access: Access, timeout: float) -> Cluster:
    """Look at a cluster through the member at `endpoint`, within `timeout` seconds.

    No call of it writes: alarms are read from each member's status, as the call for alarms goes
    through the raft log.

    Raises:
        Unanswered: that member says nothing at all.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # comes with grpc

    deadline = Deadline(timeout)
    with Connection(endpoint, access) as connection:
        quorum = ""
        try:
            here, members = connection.members(_within(deadline, QUORUM), linearizable=True)
        except Unanswered as e:
            if not e.reachable:
                raise
            quorum = str(e)
            here, members = connection.members(_within(deadline, ANSWER), linearizable=False)
        limit = _within(deadline, ANSWER)
        asks: dict[int, Callable[[], Status | Unanswered]] = {
            each.number: partial(_ask, each, access, limit) for each in members if each.started
        }
        asks[here] = partial(_status, connection, limit)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = {number: pool.submit(ask) for number, ask in asks.items()}
            statuses = {number: answer.result() for number, answer in answers.items()}
    return Cluster(here=here, members=members, quorum=quorum, statuses=statuses)


def _ask(member: Listed, access: Access, limit: float) -> Status | Unanswered:
    """Ask a member at the first of its URLs that leads to it."""
    deadline = Deadline(limit)
    answer = Unanswered("it has no https URL for clients")
    for url in member.urls:
        parts = urlsplit(url)
        if parts.scheme != "https":
            continue
        try:
            with Connection(parts.netloc, access) as connection:
                status = _status(connection, deadline.left())
        except TimeoutError:
            break
        if isinstance(status, Unanswered):
            answer = Unanswered(f"{parts.netloc}: {status}", reachable=status.reachable)
        elif status.number == member.number:
            return status
        else:
            answer = Unanswered(f"{parts.netloc}: another member answers ({status.number:x})")
    return answer


def _status(connection: Connection, limit: float) -> Status | Unanswered:
    try:
        return connection.status(limit)
    except Unanswered as e:
        return e


def _within(deadline: Deadline, limit: float) -> float:
    """Return the time for one call.

    Raises:
        Unanswered: there is none left.
    """
    try:
        return min(limit, deadline.left())
    except TimeoutError as e:
        raise Unanswered(f"no answer within {deadline.seconds:g} s") from e
