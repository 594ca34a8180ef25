"""What goes wrong on a kubeadm master: nothing is lost, and what was down stays down."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING

import pytest

from tests.testbed.inventory import APISERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kubelet.master import Master, Outcome

pytestmark = pytest.mark.kubelet


def await_that(condition: Callable[[], bool], deadline: float = 120.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def kubeconfig(master: Master) -> Path:
    return master.node.kubernetes / "scheduler.conf"


def only_step(outcome: Outcome) -> dict[str, str]:
    (step,) = outcome.report["steps"]
    found: dict[str, str] = step
    return found


def test_a_pod_without_a_manifest_is_left_down_and_comes_back_with_the_new_pair(
    master: Master,
) -> None:
    node = master.node
    before = kubeconfig(master).read_bytes()
    manifest, elsewhere = node.manifest(SCHEDULER), node.kubernetes / "scheduler.yaml"
    manifest.rename(elsewhere)
    try:
        await_that(lambda: node.container(SCHEDULER) is None)
        outcome = master.rotate(SCHEDULER)
        assert outcome.code == 0, outcome.err
        assert only_step(outcome)["result"] == "stopped"
        published = kubeconfig(master).read_bytes()
        assert published != before
        time.sleep(3)
        assert node.container(SCHEDULER) is None
    finally:
        elsewhere.rename(manifest)
    await_that(lambda: node.container(SCHEDULER) is not None)
    node.wait_ready(SCHEDULER)
    container = node.container(SCHEDULER)
    assert container is not None
    mounted = node.namespaces.path(f"/proc/{container.pid}/root/etc/kubernetes/scheduler.conf")
    assert mounted.read_bytes() == published
    assert node.client("scheduler").status("/version") == http.client.OK


def test_without_a_kubelet_no_container_is_stopped(master: Master) -> None:
    node = master.node
    before = {name: node.container(name) for name in (CONTROLLER_MANAGER, SCHEDULER)}
    file = kubeconfig(master).read_bytes()
    node.kubelet.kill()
    try:
        outcome = master.rotate(SCHEDULER)
        assert outcome.code != 0
        assert "kubelet at http://127.0.0.1:10248/healthz" in only_step(outcome)["error"]
        assert {name: node.container(name) for name in before} == before
        assert kubeconfig(master).read_bytes() == file
    finally:
        node.kubelet.start()
    await_that(lambda: node.namespaces.call(kubelet_is_well))
    assert "OWED: kube-scheduler" in master.run("status").out
    assert master.run("resume").code == 0
    done = master.rotate(SCHEDULER)
    assert only_step(done)["result"] == "done", done.out
    assert node.container(SCHEDULER) != before[SCHEDULER]


def kubelet_is_well() -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", 10248, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def test_a_pod_that_crash_loops_with_the_new_kubeconfig_gets_the_old_one_back(
    master: Master,
) -> None:
    node = master.node
    before = kubeconfig(master).read_bytes()
    untouched = {name: node.container(name) for name in (ETCD, APISERVER, CONTROLLER_MANAGER)}
    # The scheduler's pod mounts its kubeconfig and nothing else.
    output = master.component(SCHEDULER)["certificates"]["scheduler"]["outputs"][0]
    output["ca_file"] = "/etc/kubernetes/pki/ca.crt"
    master.write()

    outcome = master.rotate(SCHEDULER)
    step = only_step(outcome)
    assert outcome.code == 4
    assert step["result"] == "rolled_back"
    assert "ended again: exit code 1" in step["error"]
    assert "/etc/kubernetes/pki/ca.crt: no such file or directory" in step["error"]
    assert kubeconfig(master).read_bytes() == before
    node.wait_ready(SCHEDULER)
    assert {name: node.container(name) for name in untouched} == untouched

    held = master.rotate(SCHEDULER)
    assert held.code == 4
    assert "rotation is on hold" in held.err

    del output["ca_file"]
    master.write()
    assert master.run("resume").code == 0
    mended = master.rotate(SCHEDULER)
    assert mended.code == 0, mended.err
    assert only_step(mended)["result"] == "done"
    assert kubeconfig(master).read_bytes() != before
