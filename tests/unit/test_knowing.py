"""Who may say what is a node's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

import pytest

from certrotd.core.errors import TransientError
from certrotd.core.model.kubelets import KnownNames, NodeFacts
from certrotd.kubelets.knowing import Approvals, Sources
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster, FakeNodes
from tests.fakes.names import FakeInventory, FakeResolver
from tests.unit.requests_of_kubelets import NODE, dns, ips, pem, serving, submitted

MINE, FOREIGN = ip_address("10.0.0.11"), ip_address("10.0.0.99")


def facts(
    *names: str, resolver: FakeResolver | None = None, trusts: bool = True, listed: bool = False
) -> NodeFacts:
    cluster = FakeCluster(FakeClock(), nodes={"node-1": NODE})
    inventory = FakeInventory({
        "node-1": KnownNames(dns_names=frozenset({"listed.example"}), ip_addresses={FOREIGN})  # type: ignore[arg-type]  # any set
    })  # fmt: skip
    sources = Sources(
        nodes=FakeNodes(cluster),
        inventory=inventory if listed else None,
        resolver=resolver,
        trusts_nodes=trusts,
    )
    return sources.facts("node-1", serving(*dns(*names), *ips("10.0.0.11")), ())


def test_node_and_inventory_add_up_unless_nodes_are_not_trusted() -> None:
    both = facts("node-1", listed=True)
    assert both.dns_names == {*NODE.dns_names, "listed.example"}
    assert both.ip_addresses == {*NODE.ip_addresses, FOREIGN}
    only = facts("node-1", listed=True, trusts=False)
    assert only.dns_names == {"listed.example"}
    assert only.ip_addresses == {FOREIGN}
    assert (only.exists, only.last_seen) == (True, NODE.last_seen)


@pytest.mark.parametrize(("found", "counts"), [
    ({MINE}, True), ({MINE, FOREIGN}, False), ({FOREIGN}, False), (set(), False),
])  # fmt: skip
def test_a_name_counts_if_it_resolves_to_the_node_alone(
    found: set[object], *, counts: bool
) -> None:
    resolver = FakeResolver({"other.example": frozenset(found)})  # type: ignore[arg-type]  # addresses
    assert ("other.example" in facts("node-1", "other.example", resolver=resolver).dns_names) is (
        counts
    )
    assert resolver.asked == ["other.example"]  # what the node vouches for is not looked up


def test_a_resolver_that_does_not_answer_is_an_error_and_no_no() -> None:
    resolver = FakeResolver(broken=TransientError("no answer"))
    with pytest.raises(TransientError):
        facts("other.example", resolver=resolver)


def test_not_more_names_are_looked_up_than_any_node_has() -> None:
    resolver = FakeResolver()
    facts(*(f"n{i}.example" for i in range(100)), resolver=resolver)
    assert len(resolver.asked) == 8


def test_approvals_are_remembered_once_for_as_long_as_they_count() -> None:
    clock, approvals = FakeClock(), Approvals()
    now = clock.now()
    approved = submitted(pem(), approved="yes", approved_at=now)
    for _ in range(2):
        approvals.add(approved, now)
    old = replace(approved, uid="2", approved_at=now - timedelta(minutes=30))
    approvals.add(old, now)
    approvals.add(replace(approved, uid="3", approved_at=now - timedelta(minutes=61)), now)
    approvals.add(replace(approved, uid="4", approved_at=None), now)
    assert approvals.of("node-1", approved.signer) == (old.approved_at, now)
    assert approvals.of("node-2", approved.signer) == ()
    later = now + timedelta(hours=2)
    other = submitted(pem(), uid="5", approved="yes", approved_at=later)
    approvals.add(other, later)
    assert approvals.of("node-1", approved.signer) == (later,)
