"""Which pod is meant, and when a restart has come to its end."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from certrotd.adapters.cri import watching
from certrotd.adapters.cri.containers import Container, Phase, Refused
from certrotd.adapters.cri.pods import Pods
from certrotd.adapters.cri.watching import Deadline, NotBack, wait_for_successors

OLD = Container(id="old", pod="p", name="main", phase=Phase.RUNNING)
ENDED = Container(id="old", pod="p", name="main", phase=Phase.EXITED)
MADE = Container(id="new", pod="p", name="main", phase=Phase.CREATED)
NEW = Container(id="new", pod="p", name="main", phase=Phase.RUNNING)
BROKEN = Container(id="new", pod="p", name="main", phase=Phase.EXITED)
NEWER = Container(id="newer", pod="p", name="main", phase=Phase.RUNNING)
SIDE = Container(id="side", pod="p", name="side", phase=Phase.RUNNING)


@dataclass
class Script:
    """Tells of what is written down, look by look; the last for ever."""

    looks: list[tuple[Container, ...]]
    taken: int = field(default=0, init=False)

    def containers(self) -> tuple[Container, ...]:
        self.taken += 1
        return self.looks[min(self.taken, len(self.looks)) - 1]

    def ending(self, container: Container) -> str:
        return f"{container.id} ended so"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "STEADY", 0.05)
    monkeypatch.setattr(watching, "POLL", 0.005)


def wait(script: Script, *names: str, limit: float = 0.5) -> None:
    wanted = frozenset(names or ("main",))
    wait_for_successors(script, frozenset({"old"}), wanted, Deadline(limit))


@pytest.mark.parametrize(
    "looks",
    [
        [(NEW,)],
        [(OLD,), (), (ENDED,), (ENDED, MADE), (NEW, ENDED)],
        [(OLD, NEW), (NEW,)],
        [(NEW,), (NEW,), (NEWER,)],
        [(NEW, SIDE)],
    ],
)
def test_it_is_over_when_only_new_ones_run_steadily(looks: list[tuple[Container, ...]]) -> None:
    script = Script(looks)
    wait(script)
    assert script.taken > len(looks)


def test_all_names_are_waited_for() -> None:
    wait(Script([(NEW,), (NEW,), (NEW, SIDE)]), "main", "side")
    with pytest.raises(NotBack, match="has not started another container side"):
        wait(Script([(NEW,)]), "main", "side", limit=0.1)


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ((OLD,), r"old container main \(old\) of pod p still runs"),
        ((OLD, NEW), "still runs"),
        ((ENDED,), "has not started another container main"),
        ((), "has not started another container main"),
        ((ENDED, MADE), r"new container main \(new\) of pod p is created"),
    ],
)
def test_what_is_in_the_way_is_told_when_time_is_up(last: tuple[Container, ...], told: str) -> None:
    with pytest.raises(NotBack, match=rf"after 0\.1 s .*{told}"):
        wait(Script([(OLD,), last]), limit=0.1)


@pytest.mark.parametrize("looks", [[(BROKEN,)], [(NEW,), (ENDED, BROKEN)], [(NEWER, BROKEN)]])
def test_a_new_one_that_ended_ends_the_wait_at_once(looks: list[tuple[Container, ...]]) -> None:
    script = Script(looks)
    with pytest.raises(NotBack, match="ended again: new ended so"):
        wait(script, limit=60)
    assert script.taken == len(looks)


def test_containers_that_change_for_ever_are_given_up() -> None:
    changing: list[tuple[Container, ...]] = [
        (Container(id=str(number), pod="p", name="main", phase=Phase.RUNNING),)
        for number in range(500)
    ]
    with pytest.raises(NotBack, match="change again and again"):
        wait(Script(changing), limit=0.2)


@pytest.mark.parametrize(
    ("name", "neighbours", "pod", "ours"),
    [
        ("etcd", (), "etcd-node1", True),
        ("etcd", (), "etcd-node-1.example.org", True),
        ("etcd", (), "etcd", False),
        ("etcd", (), "etcdx-node1", False),
        ("etcd", ("etcd-events",), "etcd-events-node1", False),
        ("etcd-events", ("etcd",), "etcd-events-node1", True),
        ("etcd-events", ("etcd",), "etcd-node1", False),
        ("etcd", ("kube-scheduler",), "etcd-kube-scheduler", True),
    ],
)
def test_a_pod_belongs_to_the_longest_name(
    name: str, neighbours: tuple[str, ...], pod: str, *, ours: bool
) -> None:
    pods = Pods("kube-system", name, frozenset(neighbours))
    assert pods.is_ours("kube-system", pod) is ours
    assert not pods.is_ours("default", pod)
    assert pods.pick([pod, pod]) == (pod if ours else None)


def test_several_that_could_be_meant_are_refused() -> None:
    pods = Pods("kube-system", "etcd")
    with pytest.raises(Refused, match="several pods could be etcd: etcd-events-node1, etcd-node1"):
        pods.pick(["etcd-node1", "etcd-events-node1", "kube-scheduler-node1"])
