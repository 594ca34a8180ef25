"""The rows of the reload matrix that take seconds, on real servers; `make matrix` has the rest."""

from __future__ import annotations

import pytest

from tests.matrix import apiserver, authenticators, components, controllers, etcd
from tests.matrix.bed import Bed
from tests.matrix.measuring import SLOW, Finding, measure, row_of
from tests.matrix.report import saw, says

pytestmark = pytest.mark.servers

HOLD = 8.0
"""Seconds without a restart; a watcher needs less than one after the old files went."""
BUSY = 30.0
"""Seconds that a busy machine may take on top of a limit: it is no defect of the matrix.

Still less than the minute after which older releases looked again.
"""
RESTARTED = {
    "etcd trusted-ca",
    "etcd peer-trusted-ca",
    "kube-apiserver etcd-ca",
    "kube-apiserver loopback",
    "kube-apiserver oidc-ca",
    "kube-apiserver webhook-kubeconfig",
    "kube-apiserver service-account-keys",
    "kube-controller-manager root-ca",
    "kube-controller-manager service-account-keys",
}
RELOADED = {
    "etcd serving",
    "etcd peer",
    "etcd peer-client",
    "etcd healthcheck-client",
    "kube-apiserver serving",
    "kube-apiserver sni",
    "kube-apiserver client-ca",
    "kube-apiserver request-header-ca",
    "kube-apiserver etcd-client",
    "kube-apiserver front-proxy-client",
    "kube-controller-manager serving",
    "kube-controller-manager sni",
    "kube-controller-manager client-ca",
    "kube-controller-manager request-header-ca",
    "kube-controller-manager cluster-signing",
    "kube-scheduler serving",
    "kube-scheduler sni",
    "kube-scheduler client-ca",
    "kube-scheduler request-header-ca",
}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    """All of them, measured at once on one bed."""
    bed = Bed(tmp_path_factory.mktemp("matrix"))
    of = (apiserver, authenticators, components, controllers, etcd)
    everything = [case for each in of for case in each.cases(bed)]
    cases = [each for each in everything if row_of(each.program, each.material).within <= SLOW]
    with bed:
        found = measure(cases, hold=HOLD, rounds=1, processes=bed.processes)
    return {f"{each.row.program} {each.row.material}": each for each in found}


def test_what_is_measured_is_what_was_meant_to_be(findings: dict[str, Finding]) -> None:
    assert set(findings) == RELOADED | RESTARTED


@pytest.mark.parametrize("row", sorted(RELOADED))
def test_a_reload_is_seen_within_its_limit(row: str, findings: dict[str, Finding]) -> None:
    found = findings[row]
    assert found.row.reloads
    assert found.agrees(BUSY), f"the matrix says {says(found.row)}; {saw(found)}"


@pytest.mark.parametrize("row", sorted(RESTARTED))
def test_without_a_restart_the_old_one_is_used(row: str, findings: dict[str, Finding]) -> None:
    found = findings[row]
    assert not found.row.reloads
    assert found.agrees(), f"the matrix says {says(found.row)}; {saw(found)}"
