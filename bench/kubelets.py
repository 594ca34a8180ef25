"""2,500 new nodes at once: certrotd's approver and signer against kube-controller-manager's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.measures import Measure
from tests.kubelets.approver import MANIFESTS, ApproverProcess
from tests.kubelets.burst import ask_all, largest, requests_served, wait_signed
from tests.kubelets.lab import BOOTSTRAPPERS, KubeletLab
from tests.testbed.inventory import CONTROLLER_MANAGER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.lab import Lab

COUNT = 2500
UNTHROTTLED = ("--kube-api-qps=5000", "--kube-api-burst=5000")
"""As shipped it allows itself 20 requests a second."""


class Drained(NamedTuple):
    """How long it took from the start of the process, what it cost, how large it grew (MiB)."""

    seconds: float
    requests: float
    largest: float


def measure(lab: Lab) -> Iterator[Measure]:
    """Measure the three one after another, each on a cluster of its own."""
    ours = _certrotd(lab.directory / "certrotd")
    shipped = _controller(lab.directory / "shipped")
    unthrottled = _controller(lab.directory / "unthrottled", *UNTHROTTLED)
    for name, peer in (("as shipped", shipped), ("unthrottled", unthrottled)):
        yield Measure(
            work=f"{COUNT} new nodes at once, until the last has its certificate",
            ours=ours.seconds, peer=peer.seconds, peer_name=f"kube-controller-manager {name}",
            unit="s", aim=1.0,
            note=f"requests for each: {ours.requests:.1f} against {peer.requests:.1f}",
        )  # fmt: skip
    yield Measure(
        work="largest resident set meanwhile",
        ours=ours.largest, peer=shipped.largest, peer_name="kube-controller-manager",
        unit="MiB", aim=None,
    )  # fmt: skip


def _certrotd(directory: Path) -> Drained:
    """With the CA on disk, as kube-controller-manager has it."""
    lab = KubeletLab(directory)
    try:
        lab.plane.start("etcd", "kube-apiserver")
        for manifest in ("kubelet-approver", "kubelet-signer"):
            lab.apply(MANIFESTS / f"{manifest}.yaml")
        lab.bind("system:node-bootstrapper", BOOTSTRAPPERS)
        names = ask_all(lab, "burst", COUNT)
        authority = {"certificate": str(lab.ca_file), "key": str(lab.ca_key)}
        signer = {"issuer": "disk", "role": "kubelet", "ttl": "1h"}
        approver = ApproverProcess(
            lab, directory / "approver",
            policy={"bootstrap_groups": [BOOTSTRAPPERS]},
            root={"issuers": {"disk": {"ca": authority}}},
            signers={"client": signer},
        )  # fmt: skip
        before = requests_served(lab)
        with approver:
            seconds = wait_signed(lab, names)
            grown = largest(approver.pid)
        return Drained(seconds, (requests_served(lab) - before) / COUNT, grown)
    finally:
        lab.plane.stop()


def _controller(directory: Path, *flags: str) -> Drained:
    lab = KubeletLab(directory)
    lab.controller_manager("*", signs=True, more=("--leader-elect=false", *flags))
    try:
        lab.plane.start("etcd", "kube-apiserver")
        lab.bind("system:node-bootstrapper", BOOTSTRAPPERS)
        role = "system:certificates.k8s.io:certificatesigningrequests:nodeclient"
        lab.bind(role, BOOTSTRAPPERS)
        names = ask_all(lab, "burst", COUNT)
        before = requests_served(lab)
        lab.plane.start(CONTROLLER_MANAGER)
        seconds = wait_signed(lab, names)
        grown = largest(lab.plane.pid(CONTROLLER_MANAGER))
        return Drained(seconds, (requests_served(lab) - before) / COUNT, grown)
    finally:
        lab.plane.stop()
