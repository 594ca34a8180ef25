"""Many new nodes at once: each is approved and signed once, at a bounded cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kubelets.approver import ApproverProcess
from tests.kubelets.burst import ask_all, largest, requests_served, wait_signed
from tests.kubelets.lab import BOOTSTRAPPERS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kubelets.lab import KubeletLab

pytestmark = pytest.mark.servers
COUNT = 300


def test_many_nodes_cost_four_requests_each_and_no_memory(
    unsigning_cluster: KubeletLab, tmp_path: Path
) -> None:
    lab = unsigning_cluster
    authority = {"certificate": str(lab.ca_file), "key": str(lab.ca_key)}
    approver = ApproverProcess(
        lab, tmp_path,
        policy={"bootstrap_groups": [BOOTSTRAPPERS]},
        root={"issuers": {"disk": {"ca": authority}}},
        signers={"client": {"issuer": "disk", "role": "kubelet", "ttl": "1h"}},
    )  # fmt: skip
    with approver:
        wait_signed(lab, ask_all(lab, "first", 20))
        small = largest(approver.pid)
        names = ask_all(lab, "many", COUNT)
        before = requests_served(lab)
        wait_signed(lab, names)
        assert (requests_served(lab) - before) / COUNT < 6  # the cluster's own are counted, too
        assert largest(approver.pid) - small < 10  # MiB
    approved = [each["request"] for each in approver.events("request_approved")]
    assert sorted(each for each in approved if each.startswith("many-")) == sorted(names)
    signed = [each["request"] for each in approver.events("request_signed")]
    assert sorted(each for each in signed if each.startswith("many-")) == sorted(names)
