"""Containers restarted through a real containerd, and every way in which that fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from certrotd.adapters.clock import SystemClock
from certrotd.adapters.cri import ContainerRestart, StaticPodRestart, runtime
from certrotd.adapters.cri.containers import Container, Phase, Unreachable
from certrotd.adapters.cri.runtime import Runtime
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import ServiceState
from tests.adapters.crilab import Lab, Pod
from tests.testbed.staticpods import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: kube-system}}
spec: {{containers: [{{name: main}}]}}
"""
WELL = "trap 'echo asked to end; exit 0' TERM; echo up; while :; do sleep 0.02; done"
TELL_START = "cat /proc/$$/stat > /work/new && mv /work/new /work/stat"
ONCE_WELL = f"test -e /work/well || {{ echo refused my certificate >&2; exit 3; }}; {WELL}"
DEAF = "trap '' TERM; while :; do sleep 0.02; done"
LABELS = {"io.kubernetes.container.name": "main", "io.kubernetes.pod.name": "proxy-x7"}


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One for all."""
    if reason := unavailable():
        pytest.skip(reason)
    with Lab(tmp_path_factory.mktemp("cri")) as started:
        yield started


@pytest.fixture
def make(containerd: Lab, tmp_path: Path) -> Iterator[Callable[..., Pod]]:
    """Make pods, removed after the test; /work of their containers is `tmp_path`."""
    made: list[Pod] = []

    def one(name: str, script: str = WELL, *, static: bool = True) -> Pod:
        made.append(Pod(containerd, name, script, tmp_path, static=static))
        return made[-1]

    (tmp_path / "well").touch()
    yield one
    for pod in made:
        pod.remove()


def static_pod(
    endpoint: str, tmp_path: Path, name: str = "etcd", limit: float = 30
) -> StaticPodRestart:
    manifest = tmp_path / "manifests" / f"{name}.yaml"
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(MANIFEST.format(name=name))
    return StaticPodRestart(
        pod=name, manifest=str(manifest), timeout=timedelta(seconds=limit), endpoint=endpoint,
        component=name,
    )  # fmt: skip


def container(endpoint: str, limit: float = 30) -> ContainerRestart:
    return ContainerRestart(
        labels=LABELS, timeout=timedelta(seconds=limit), endpoint=endpoint, component="proxy"
    )


def running(containerd: Lab, pod: str) -> list[Container]:
    with Runtime(containerd.endpoint) as asked:
        found = asked.containers({"io.kubernetes.pod.name": pod})
    # Sorted, as a runtime tells of them in any order.
    return sorted((each for each in found if each.phase is Phase.RUNNING), key=lambda c: c.id)


def wait_for(path: Path) -> Path:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path


def failure(service: StaticPodRestart | ContainerRestart) -> str:
    with pytest.raises(ActivationFailed) as failed:
        service.activate()
    assert failed.value.hint
    return str(failed.value)


def test_the_generated_code_is_what_the_messages_give(tmp_path: Path) -> None:
    proto = "certrotd/adapters/cri/runtime.proto"
    command = (sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}",
               f"--pyi_out={tmp_path}", proto)  # fmt: skip
    subprocess.run(command, cwd=REPOSITORY, check=True)
    for made in (tmp_path / proto).parent.iterdir():
        assert (REPOSITORY / proto).with_name(made.name).read_text() == made.read_text()


@pytest.mark.containerd
def test_the_runtime_tells_its_version(containerd: Lab) -> None:
    with Runtime(containerd.endpoint) as asked:
        assert asked.version().startswith("containerd ")


@pytest.mark.containerd
def test_a_static_pod_gets_a_new_container(
    containerd: Lab, make: Callable[..., Pod], tmp_path: Path
) -> None:
    service = static_pod(containerd.endpoint, tmp_path)
    assert service.state() is ServiceState.RUNNING
    assert service.started() is None
    with make("etcd-node1", f"{TELL_START}; {WELL}").kept():
        (old,) = running(containerd, "etcd-node1")
        before = SystemClock().now()
        assert (first := service.started())
        assert first < before
        wait_for(tmp_path / "stat").unlink()
        service.activate()
        (new,) = running(containerd, "etcd-node1")
        assert new.id != old.id
        assert (second := service.started())
        assert before < second < SystemClock().now()
        # The start is told as the container's creation: a little earlier, never later.
        ticks = int(wait_for(tmp_path / "stat").read_text().rpartition(")")[2].split()[19])
        boot = time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME)
        true = boot + ticks / os.sysconf("SC_CLK_TCK")
        assert 0 < true + 0.01 - second.timestamp() < 5
    # It was asked to end, not killed.
    assert "asked to end" in (tmp_path / "log-etcd-node1" / "0.log").read_text()


@pytest.mark.containerd
def test_only_the_pod_itself_is_restarted(
    containerd: Lab, make: Callable[..., Pod], tmp_path: Path
) -> None:
    service = static_pod(containerd.endpoint, tmp_path, "etcd")
    static_pod(containerd.endpoint, tmp_path, "etcd-events")
    backup = make("etcd-backup-28000", static=False)
    backup.start()
    with make("etcd-node-1").kept(), make("etcd-events-node-1").kept():
        others = ("etcd-events-node-1", "etcd-backup-28000")
        before = [running(containerd, each) for each in others]
        service.activate()
        assert [running(containerd, each) for each in others] == before


@pytest.mark.containerd
def test_a_pod_that_could_be_another_is_left_alone(
    containerd: Lab, make: Callable[..., Pod], tmp_path: Path
) -> None:
    service = static_pod(containerd.endpoint, tmp_path)
    for name in ("etcd-node1", "etcd-events-node1"):
        make(name).start()
    before = [running(containerd, each) for each in ("etcd-node1", "etcd-events-node1")]
    assert "several pods could be etcd: etcd-events-node1, etcd-node1" in failure(service)
    assert service.started() is None
    assert before == [running(containerd, each) for each in ("etcd-node1", "etcd-events-node1")]


@pytest.mark.containerd
@pytest.mark.parametrize("kind", ["static pod", "container"])
def test_a_container_that_ends_again_is_noticed_and_can_be_healed(
    containerd: Lab, make: Callable[..., Pod], tmp_path: Path, kind: str
) -> None:
    static = kind == "static pod"
    service: StaticPodRestart | ContainerRestart = (
        static_pod(containerd.endpoint, tmp_path) if static else container(containerd.endpoint)
    )
    with make("etcd-node1" if static else "proxy-x7", ONCE_WELL, static=static).kept(delay=1):
        (tmp_path / "well").unlink()
        told = failure(service)
        assert "ended again: exit code 3 (Error)" in told
        assert told.endswith("The last lines of its log:\nrefused my certificate")
        # Nobody wanted it to be down: it is taken for running, so that a rollback restarts it.
        assert service.state() is ServiceState.RUNNING
        assert service.started() is None
        (tmp_path / "well").touch()
        service.activate()
        assert service.started()


@pytest.mark.containerd
def test_a_container_that_nobody_starts_again_is_given_up(
    containerd: Lab, make: Callable[..., Pod], tmp_path: Path
) -> None:
    make("etcd-node1").start()
    told = failure(static_pod(containerd.endpoint, tmp_path, limit=1))
    assert "after 1 s the kubelet has not started another container main" in told
    assert "CrashLoopBackOff" in told


@pytest.mark.containerd
@pytest.mark.parametrize(("pods_own", "given"), [(1, None), (60, timedelta(seconds=1))])
def test_who_does_not_hear_is_killed_after_the_grace_period(
    containerd: Lab,
    make: Callable[..., Pod],
    tmp_path: Path,
    pods_own: int,
    given: timedelta | None,
) -> None:
    make("etcd-node1", DEAF).start(grace=pods_own)
    service = replace(static_pod(containerd.endpoint, tmp_path, limit=3), grace=given)
    begin = time.monotonic()
    assert "has not started another" in failure(service)
    assert time.monotonic() - begin >= 3
    assert running(containerd, "etcd-node1") == []


@pytest.mark.containerd
def test_a_stop_that_takes_longer_than_the_limit_is_given_up(
    containerd: Lab, make: Callable[..., Pod], tmp_path: Path
) -> None:
    make("etcd-node1", DEAF).start(grace=60)
    told = failure(static_pod(containerd.endpoint, tmp_path, limit=1))
    assert "its grace period is 60 s, the time limit of the restart 1 s" in told
    assert running(containerd, "etcd-node1")


@pytest.mark.containerd
def test_a_container_is_found_by_its_labels(containerd: Lab, make: Callable[..., Pod]) -> None:
    service = container(containerd.endpoint)
    assert service.state() is ServiceState.STOPPED
    assert "no container has these labels" in failure(service)
    pod = make("proxy-x7", static=False)
    with pod.kept():
        assert service.state() is ServiceState.RUNNING
        before = service.started()
        service.activate()
        after = service.started()
        assert before
        assert after
        assert before < after
    pod.stop()
    assert service.state() is ServiceState.STOPPED


@pytest.mark.containerd
def test_labels_that_fit_several_are_refused(containerd: Lab, make: Callable[..., Pod]) -> None:
    pod = make("proxy-x7")
    pod.start("main")
    pod.start("side")
    both = ContainerRestart(
        labels={"io.kubernetes.pod.name": "proxy-x7"},
        timeout=timedelta(seconds=5),
        endpoint=containerd.endpoint,
    )
    before = running(containerd, "proxy-x7")
    told = failure(both)
    assert "several have these labels: container main (" in told
    assert "container side (" in told
    assert running(containerd, "proxy-x7") == before


def test_without_a_manifest_it_is_down_and_stays_so(tmp_path: Path) -> None:
    service = static_pod(str(tmp_path / "no.sock"), tmp_path)
    assert service.state() is ServiceState.RUNNING
    Path(service.manifest).unlink()
    assert service.state() is ServiceState.STOPPED
    assert "there is no such manifest" in failure(service)
    # What is not even mounted here says nothing about the component.
    Path(service.manifest).parent.rmdir()
    assert service.state() is ServiceState.UNKNOWN


def test_two_manifests_of_one_pod_are_refused_by_name(tmp_path: Path) -> None:
    service = static_pod(str(tmp_path / "no.sock"), tmp_path)
    twin = Path(service.manifest).with_name("etcd.backup")
    twin.write_text(MANIFEST.format(name="etcd"))
    told = failure(service)
    assert f"{service.manifest} and {twin} are both manifests of pod kube-system/etcd" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pod": "etcd-events"}, "it is pod kube-system/etcd, not kube-system/etcd-events"),
        ({"namespace": "default"}, "it is pod kube-system/etcd, not default/etcd"),
        ({"container": "side"}, "it has no container side"),
    ],
)
def test_another_pods_manifest_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    service = replace(static_pod(str(tmp_path / "no.sock"), tmp_path), **changes)
    assert told in failure(service)
    assert service.state() is ServiceState.UNKNOWN
    assert service.started() is None


@pytest.mark.containerd
def test_a_pod_that_would_not_be_started_again_is_not_stopped(
    containerd: Lab, make: Callable[..., Pod], tmp_path: Path
) -> None:
    service = static_pod(containerd.endpoint, tmp_path)
    path = Path(service.manifest)
    path.write_text(path.read_text().replace("spec: {", "spec: {restartPolicy: OnFailure, "))
    make("etcd-node1").start()
    before = running(containerd, "etcd-node1")
    assert "restartPolicy is OnFailure" in failure(service)
    assert running(containerd, "etcd-node1") == before


def test_without_a_runtime_nobody_can_watch_a_changed_manifest(tmp_path: Path) -> None:
    service = replace(static_pod(str(tmp_path / "no.sock"), tmp_path), way="manifest")
    before = Path(service.manifest).read_text()
    assert "there is no such socket" in failure(service)
    assert Path(service.manifest).read_text() == before


def test_a_socket_that_is_not_there_is_told(tmp_path: Path) -> None:
    service = static_pod(str(tmp_path / "no.sock"), tmp_path)
    assert "there is no such socket" in failure(service)
    assert service.started() is None
    assert container(str(tmp_path / "no.sock")).state() is ServiceState.UNKNOWN


def test_a_socket_where_nobody_listens_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "dead.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        assert "nobody listens there" in failure(container(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be another user for a moment")
def test_who_may_not_ask_is_told() -> None:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as closed:
        Path(directory).chmod(0o755)
        path = f"{directory}/closed.sock"
        closed.bind(path)
        closed.listen()
        Path(path).chmod(0o600)
        service = container(path)
        try:
            os.seteuid(65533)
            told = failure(service)
        finally:
            os.seteuid(0)
    assert "not permitted; only root may ask" in told


def test_who_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "LOOK", 0.5)
    path = str(tmp_path / "silent.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen(50)
        assert "no answer within 0.5 s" in failure(container(path))


def test_a_server_that_is_no_runtime_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "other.sock")
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        server.add_insecure_port(f"unix:{path}")
        server.start()
        try:
            with Runtime(path) as asked, pytest.raises(Unreachable, match="version 1 of the CRI"):
                asked.version()
        finally:
            server.stop(None).wait()
