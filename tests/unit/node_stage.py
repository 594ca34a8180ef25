"""One node with a clock and a cluster in memory; its store and what it remembers are real files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from certrotd.adapters.kubelet import FileRecords, KubeletStore
from certrotd.core import kubelets
from certrotd.core.errors import ApiRefused, PermanentError
from certrotd.core.kubelets import Cause, specification
from certrotd.core.model import KeyAlgorithm, SigningRequest
from certrotd.core.model.kubelets import NodeFacts, Purpose, Ruling, Verdict
from certrotd.kubelets.naming import ServingNames
from certrotd.kubelets.renewing import Means, Renewer, Terms
from certrotd.kubelets.settling import Settling
from certrotd.kubelets.tending import Tending
from tests.factories import Lab
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster, FakeNodes, FakeSigningRequests
from tests.fakes.gate import FakeGate
from tests.fakes.lock import FakeLock
from tests.fakes.log import RecordingLog
from tests.fakes.service import FakeService

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.core.kubelets import Held
    from certrotd.kubelets.progress import Progress
    from certrotd.ports import Gate

CLIENT, SERVING = Purpose.CLIENT, Purpose.SERVING
MINUTE = timedelta(minutes=1)
MONTH = timedelta(days=30)
YES = Verdict(ruling=Ruling.APPROVED, rule="all", detail="yes")


@dataclass
class Asker:
    who: str
    by_token: bool
    requests: Any
    nodes: FakeNodes


class Refusing(FakeSigningRequests):
    """An API server that does not let this one in."""

    def look(self, name: str) -> Any:
        raise ApiRefused(f"{name}: HTTP 401: Unauthorized", status=401)


@dataclass
class FakeAccess:
    cluster: FakeCluster
    token: bool = True
    lets_node_in: bool = True
    asked_as: list[str] = field(default_factory=list)

    def node(self, held: Held) -> Asker:
        assert held.leaf is not None
        self.asked_as.append("node")
        kind = FakeSigningRequests if self.lets_node_in else Refusing
        return Asker(
            held.path, by_token=False, requests=kind(self.cluster), nodes=FakeNodes(self.cluster)
        )

    def bootstrap_problem(self) -> PermanentError | None:
        return None if self.token else PermanentError("no credential", hint="make a token")

    def bootstrap(self) -> Asker | None:
        if not self.token:
            return None
        self.asked_as.append("token")
        requests = FakeSigningRequests(self.cluster, username="system:bootstrap:abcdef")
        return Asker("the token", by_token=True, requests=requests, nodes=FakeNodes(self.cluster))


class Stage:
    """A node of a cluster; `answer` plays approver and signer."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.lab = Lab(self.clock.now())
        self.cluster = FakeCluster(self.clock)
        self.cluster.nodes["node-1"] = NodeFacts(
            name="node-1",
            exists=True,
            dns_names=frozenset({"node-1"}),
            ip_addresses=frozenset({ip_address("10.0.0.11")}),
        )
        self.service = FakeService()
        self.gate = FakeGate()
        self.log = RecordingLog()
        self.access = FakeAccess(self.cluster)
        self.terms = Terms(
            node="node-1", server="https://api:6443", ca_file="/ca.crt",
            key=KeyAlgorithm.ECDSA_P256,
        )  # fmt: skip
        self.store = KubeletStore(str(directory / "pki"), str(directory / "kubelet.conf"))
        self.tending = self.anew()

    def anew(self) -> Tending:
        """Another process on the same files."""

        def gates(_purpose: Purpose, _held: Held) -> tuple[Gate, ...]:
            return (self.gate,)

        settling = Settling(service=self.service, gates=gates, clock=self.clock, log=self.log)
        means = Means(
            store=self.store,
            records=FileRecords(str(self.directory / "state")),
            access=self.access,
            names=ServingNames("node-1", self.clock),
            settling=settling,
            anchors=lambda: self.lab.anchors,
            current=self.store.current(CLIENT),
        )
        renewer = Renewer(terms=self.terms, means=means, clock=self.clock, log=self.log)
        self.tending = Tending(renewer=renewer, purposes=(CLIENT, SERVING), lock=FakeLock())
        return self.tending

    def look(self, purpose: Purpose = CLIENT, **how: bool) -> Progress:
        return self.tending.renewer.look(purpose, **how)

    def has(self, purpose: Purpose, *, ttl: timedelta = MONTH, ip: str = "10.0.0.11") -> str:
        """Put a good pair into the store, made now; returns its serial."""
        wanted = kubelets.Wanted(node="node-1", purpose=purpose)
        if purpose is SERVING:
            wanted = replace(wanted, dns_names=("node-1",), ip_addresses=(ip_address(ip),))
        attempt = kubelets.begin(wanted, Cause.MISSING, self.clock.now())
        spec = specification(wanted, ttl)
        request = SigningRequest(spec=spec, csr_pem=attempt.request)
        chain = self.lab.issuer(self.clock.now()).sign(request).chain
        self.store.write(purpose, chain, attempt.private_key, self.clock.now())
        if purpose is CLIENT:
            self.store.write_kubeconfig(
                kubelets.kubeconfig("node-1", self.store.current(CLIENT), "https://x", "/ca")
            )
        leaf = self.store.read(purpose).leaf
        assert leaf is not None
        return leaf.serial

    def answer(self, purpose: Purpose = CLIENT, *, ttl: timedelta = MONTH) -> None:
        """Approve and sign what is open."""
        signer = FakeSigningRequests(self.cluster)
        renewer = self.tending.renewer
        for each in [e for e in self.cluster.requests.values() if e.is_open]:
            wanted = renewer.wanted(purpose, self.store.read(purpose), self.clock.now())
            request = SigningRequest(spec=specification(wanted, ttl), csr_pem=each.request)
            chain = self.lab.issuer(self.clock.now()).sign(request).chain
            signer.deliver(signer.approve(each, YES), chain)

    def serial(self, purpose: Purpose = CLIENT) -> str | None:
        leaf = self.store.read(purpose).leaf
        return leaf.serial if leaf else None
