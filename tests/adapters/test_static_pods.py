"""Static pods restarted under a real kubelet, both ways, with certrotd inside the node."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.testbed.inventory import APISERVER, COMPONENTS, CONTROLLER_MANAGER, ETCD, SCHEDULER
from tests.testbed.staticpods import StaticPodNode, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kubelet

CODE = """
import json, sys, time
from datetime import timedelta
from certrotd.adapters.cri import ContainerRestart, StaticPodRestart
from certrotd.core.errors import ActivationFailed

seconds = timedelta(seconds=90)
socket = "/run/containerd/containerd.sock"

def pod(name, **changes):
    given = {
        "pod": name, "manifest": f"/etc/kubernetes/manifests/{name}.yaml", "timeout": seconds,
        "kubelet_health": "http://127.0.0.1:10248/healthz", "endpoint": socket,
        "component": name,
    }
    return StaticPodRestart(**(given | changes))

def activate(service):
    begin = time.monotonic()
    try:
        service.activate()
    except ActivationFailed as e:
        return {"failed": str(e), "hint": e.hint}
    started = service.started()
    return {"took": time.monotonic() - begin, "started": started and started.timestamp()}

print(json.dumps(eval(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def static_pod_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StaticPodNode]:
    """A node whose kubelet also has its read-only port, and has told the API server of its pods.

    Until it has, it makes good for that before it starts a container, and waits for an API server
    whose etcd is the container.
    """
    if reason := unavailable():
        pytest.skip(reason)
    arguments = ("--read-only-port=10255",)
    with StaticPodNode(tmp_path_factory.mktemp("node"), arguments) as node:
        pods = "/api/v1/namespaces/kube-system/pods"
        deadline = time.monotonic() + 60
        while len(node.client().request("GET", pods)["items"]) < len(COMPONENTS):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield node


def look(node: StaticPodNode, expression: str) -> Any:
    return json.loads(node.namespaces.run(sys.executable, "-c", CODE, expression).stdout)


def restarted(node: StaticPodNode, name: str, service: str) -> dict[str, float]:
    """Restart a component; see that another container runs and is well; print how long it took."""
    before = node.container(name)
    begin = time.time()
    told: dict[str, float] = look(node, f"activate({service})")
    assert "took" in told, told
    node.wait_ready(name)
    print(
        f"{service}: activated after {told['took']:.1f} s, well after {time.time() - begin:.1f} s"
    )
    after = node.container(name)
    assert before
    assert after
    assert after.id != before.id
    # To the second: the node tells starts relative to a boot time in whole seconds.
    assert begin < told["started"] <= after.started + 1.0
    assert after.started - told["started"] < 5
    return told


def beside(node: StaticPodNode) -> list[str]:
    return sorted(each.name for each in node.manifest(ETCD).parent.iterdir())


@pytest.mark.parametrize("name", [SCHEDULER, CONTROLLER_MANAGER, ETCD])
def test_through_the_runtime_the_next_container_runs_at_once(
    static_pod_node: StaticPodNode, name: str
) -> None:
    manifest = static_pod_node.manifest(name).read_bytes()
    told = restarted(static_pod_node, name, f"pod('{name}')")
    assert told["took"] < 30  # etcd takes 7 s for its end as long as somebody watches
    assert static_pod_node.manifest(name).read_bytes() == manifest


def test_an_api_server_that_is_watched_is_given_less_than_its_pod_has(
    static_pod_node: StaticPodNode,
) -> None:
    service = f"pod('{APISERVER}', grace=timedelta(seconds=3), serves_kubelet=True)"
    told = restarted(static_pod_node, APISERVER, service)
    assert told["took"] < 25


def test_a_changed_annotation_makes_a_new_pod(static_pod_node: StaticPodNode) -> None:
    files, path = beside(static_pod_node), static_pod_node.manifest(SCHEDULER)
    before = path.read_text()
    restarted(static_pod_node, SCHEDULER, f"pod('{SCHEDULER}', way='manifest')")
    assert beside(static_pod_node) == files
    added = set(path.read_text().splitlines()) - set(before.splitlines())
    assert len(added) == 1
    assert "certrotd/restarted-at" in added.pop()


def test_without_a_runtime_the_kubelet_is_asked(static_pod_node: StaticPodNode) -> None:
    blind = (
        f"pod('{CONTROLLER_MANAGER}', endpoint='/run/no.sock', "
        "kubelet_pods='http://127.0.0.1:10255/pods')"
    )
    seeing = f"pod('{CONTROLLER_MANAGER}').started().timestamp()"
    # The kubelet tells whole seconds, and the start rather than the creation.
    assert -1 < look(static_pod_node, f"{blind}.started().timestamp() - {seeing}") < 5
    restarted(static_pod_node, CONTROLLER_MANAGER, blind)


def test_a_component_that_ends_again_is_told_with_its_log_and_can_be_healed(
    static_pod_node: StaticPodNode,
) -> None:
    kubeconfig = static_pod_node.kubernetes / "scheduler.conf"
    good = kubeconfig.read_bytes()
    kubeconfig.write_bytes(b"no kubeconfig")
    try:
        told = look(static_pod_node, f"activate(pod('{SCHEDULER}'))")["failed"]
    finally:
        kubeconfig.write_bytes(good)
    assert "ended again: exit code 1 (Error)" in told
    assert "The last lines of its log:" in told
    assert "couldn't get version/kind" in told
    # The kubelet waits 10 s or so before it tries again (CrashLoopBackOff).
    assert "took" in look(static_pod_node, f"activate(pod('{SCHEDULER}'))")
    static_pod_node.wait_ready(SCHEDULER)


def test_nothing_is_stopped_while_no_kubelet_would_start_it(static_pod_node: StaticPodNode) -> None:
    before = static_pod_node.container(SCHEDULER)
    deaf = f"pod('{SCHEDULER}', kubelet_health='http://127.0.0.1:9/healthz')"
    assert (
        "kubelet at http://127.0.0.1:9/healthz"
        in look(static_pod_node, f"activate({deaf})")["failed"]
    )
    assert static_pod_node.container(SCHEDULER) == before


def test_what_serves_the_kubelet_never_falls_back_silently(static_pod_node: StaticPodNode) -> None:
    before = static_pod_node.container(APISERVER)
    blind = f"pod('{APISERVER}', endpoint='/run/no.sock', serves_kubelet=True)"
    told = look(static_pod_node, f"activate({blind})")
    assert "there is no such socket" in told["failed"]
    assert "way: manifest" in told["hint"]
    assert static_pod_node.container(APISERVER) == before
