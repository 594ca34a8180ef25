"""The static pod node itself: does it live as a master does, and leave nothing behind?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.testbed import kubeadm, nodeinit
from tests.testbed.inventory import APISERVER, COMPONENTS, SCHEDULER
from tests.testbed.processes import ServerFailed
from tests.testbed.staticpods import PORTS, StaticPodNode, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kubelet


def await_that(condition: Callable[[], bool], deadline: float = 60.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def test_the_control_plane_runs_as_mirrored_static_pods_of_a_ready_node(
    static_pod_node: StaticPodNode,
) -> None:
    node = static_pod_node
    print("\nseconds:", node.took)
    assert node.node_is_ready()

    def images() -> dict[str, str]:
        pods = node.client().request("GET", "/api/v1/namespaces/kube-system/pods")["items"]
        return {
            each["name"]: each["image"]
            for pod in pods
            for each in pod["spec"]["containers"]
            if pod["metadata"]["annotations"].get("kubernetes.io/config.mirror")
        }

    await_that(lambda: images() == kubeadm.IMAGES)
    assert all(node.ready(name) for name in COMPONENTS)
    assert len({node.served(port) for port in PORTS}) == len(PORTS)


def test_a_killed_container_is_started_again_in_its_pod(static_pod_node: StaticPodNode) -> None:
    before = static_pod_node.container(SCHEDULER)
    assert before is not None
    static_pod_node.kill_container(SCHEDULER)

    def replaced() -> bool:
        now = static_pod_node.container(SCHEDULER)
        return now is not None and now.id != before.id and now.started > before.started

    await_that(replaced)
    static_pod_node.wait_ready(SCHEDULER)


def test_a_changed_manifest_is_a_new_pod(static_pod_node: StaticPodNode) -> None:
    before = static_pod_node.container(APISERVER)
    manifest = static_pod_node.manifest(APISERVER)
    moved = manifest.with_name(".kube-apiserver")
    manifest.rename(moved)
    await_that(lambda: static_pod_node.container(APISERVER) is None)
    moved.rename(manifest)
    static_pod_node.wait_ready(APISERVER)
    assert static_pod_node.container(APISERVER) != before


@pytest.fixture
def machine(tmp_path: Path) -> tuple[str, ...]:
    if reason := unavailable():
        pytest.skip(reason)
    return state(tmp_path)


def state(directory: Path) -> tuple[str, ...]:
    """What a kubelet and a containerd would change of the machine."""
    settings = (f"{each}={(Path('/proc/sys') / each).read_text()}" for each in nodeinit.SETTINGS)
    folders = (
        f"{each} {Path(each).exists()}"
        for each in (*nodeinit.OWN, "/usr/libexec/kubernetes", "/run/containerd")
    )
    places = {
        *nodeinit.OVERLAID,
        *nodeinit.OWN,
        "/run",
        *(f"/proc/sys/{s}" for s in nodeinit.SETTINGS),
    }
    mounts = (
        line
        for line in Path("/proc/self/mounts").read_text().splitlines()
        # Other tests may mount something meanwhile.
        if line.split()[1] in places or str(directory) in line
    )
    return (*mounts, *settings, *folders)


def control_groups(container: str) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"**/{container}"))


def inhabitants(namespace: Path) -> list[int]:
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and pid_namespace(process) == namespace
    ]


def pid_namespace(process: Path) -> Path | None:
    try:
        return (process / "ns" / "pid").readlink()
    except OSError:  # it has just ended, or hides from everybody
        return None


def test_nothing_is_left_of_a_node(machine: tuple[str, ...], tmp_path: Path) -> None:
    with StaticPodNode(tmp_path) as node:
        init = Path("/proc") / nodeinit.pidfile(tmp_path).read_text().strip()
        namespace = pid_namespace(init)
        assert namespace is not None
        assert len(inhabitants(namespace)) > len(("init", "containerd", "kubelet"))
        containers = node.containerd.containers()
        assert len(containers) == 2 * len(COMPONENTS)
        assert all(control_groups(each) for each in containers)
    assert inhabitants(namespace) == []
    assert not any(control_groups(each) for each in containers)
    assert state(tmp_path) == machine


def test_nothing_is_left_of_a_node_that_did_not_start(
    machine: tuple[str, ...], tmp_path: Path
) -> None:
    node = StaticPodNode(tmp_path, ["--no-such-flag"])
    with pytest.raises(ServerFailed, match="unknown flag: --no-such-flag"):
        node.start()
    init = Path("/proc") / nodeinit.pidfile(tmp_path).read_text().strip()
    namespace = pid_namespace(init)
    assert namespace is not None
    node.stop()
    assert inhabitants(namespace) == []
    assert state(tmp_path) == machine
