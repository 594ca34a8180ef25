"""Commands about this node's kubelet that need no cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.ca import AuthorityIssuer
from certrotd.adapters.clock import SystemClock
from certrotd.adapters.kubelet import FileRecords, KubeletStore
from certrotd.core.kubelets import Cause, Record, Wanted, begin, kubeconfig, specification
from certrotd.core.model import Secret, SigningRequest
from certrotd.core.model.kubelets import Purpose
from tests.exposition import parse

if TYPE_CHECKING:
    from tests.cli.node import Node


@pytest.fixture
def worker(node: Node) -> Node:
    """A node with a kubelet that has nothing, and no API server."""
    node.settings["kubelet"] = {
        "server": "https://127.0.0.1:1",
        "node_name": "worker-1",
        "directory": str(node.directory / "kubelet"),
        "kubeconfig": str(node.directory / "kubelet.conf"),
        "purposes": ["client", "serving"],
        "ca_file": str(node.directory / "ca.crt"),
    }
    node.write()
    return node


def test_a_plan_says_that_the_kubelet_is_exempt_and_why(worker: Node) -> None:
    outcome = worker.run("plan", "-o", "json")
    assert outcome.code == 0
    assert "not part of the daily run" in outcome.data["exempt"]["kubelet"]
    assert [step["component"] for step in outcome.data["steps"]] == ["etcd", "apiserver"]
    assert "not part of the daily run" in worker.run("plan").out


def test_a_plan_without_a_kubelet_says_nothing_of_it(node: Node) -> None:
    assert "daily run" not in node.run("plan").out
    assert node.run("plan", "-o", "json").data["exempt"] == {}


def test_the_status_shows_it_below_the_components(worker: Node) -> None:
    text = worker.run("status").out
    assert text.index("COMPONENT") < text.index("KUBELET")
    client, serving = worker.run("status", "-o", "json").data["kubelet"]
    assert (client["cause"], serving["cause"]) == ("missing", "missing")
    assert client["next_request"] is None


def test_its_own_status_shows_what_is_on_its_way(worker: Node) -> None:
    now = SystemClock().now()
    wanted = Wanted(node="worker-1", purpose=Purpose.CLIENT)
    attempt = begin(wanted, Cause.MISSING, now)
    records = FileRecords(str(worker.directory / "state" / "kubelet"))
    records.save(Purpose.CLIENT, Record(requests=(now,), attempt=attempt))
    outcome = worker.run("kubelet", "status")
    assert outcome.code == 0
    assert f"client: request {attempt.name} since" in outcome.out
    assert "PRIVATE" not in outcome.out + worker.run("kubelet", "status", "-o", "json").out


@pytest.mark.parametrize("command", ["status", "renew", "bootstrap"])
def test_without_the_section_the_configuration_is_named(node: Node, command: str) -> None:
    outcome = node.run("kubelet", command)
    assert outcome.code == 3
    assert "kubelet: is required" in outcome.err


def test_a_purpose_that_is_not_configured_is_a_usage_error(worker: Node) -> None:
    worker.settings["kubelet"]["purposes"] = ["client"]
    worker.write()
    outcome = worker.run("kubelet", "renew", "--purpose", "serving")
    assert outcome.code == 2
    assert "kubelet.purposes has only: client" in outcome.err


@pytest.mark.parametrize("command", ["renew", "bootstrap"])
def test_with_nothing_to_ask_with_it_says_what_to_do(worker: Node, command: str) -> None:
    outcome = worker.run("kubelet", command)
    assert outcome.code == 1
    assert "no bootstrap credential is configured" in outcome.err
    assert "kubeadm token create" in outcome.err


@pytest.mark.parametrize(
    ("mode", "content", "told"),
    [
        (0o644, "abcdef.0123456789abcdef", "everybody can read it"),
        (0o600, "", "holds no bootstrap token"),
        (0o600, "two words", "holds no bootstrap token"),
        (None, "", "cannot read the bootstrap token"),
    ],
)
def test_a_token_file_that_is_no_good_is_told(
    worker: Node, mode: int | None, content: str, told: str
) -> None:
    token = worker.directory / "token"
    if mode is not None:
        token.write_text(content)
        token.chmod(mode)
    worker.settings["kubelet"]["bootstrap"] = {"token_file": str(token)}
    worker.write()
    outcome = worker.run("kubelet", "renew", "--purpose", "client")
    assert outcome.code == 1
    assert told in outcome.err
    assert "0123456789abcdef" not in outcome.err


def test_a_systemd_credential_is_looked_for_where_systemd_puts_it(
    worker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.settings["kubelet"]["bootstrap"] = {"credential": "bootstrap-token"}
    worker.write()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    outcome = worker.run("kubelet", "bootstrap")
    assert outcome.code == 1
    assert "LoadCredential=bootstrap-token" in outcome.err
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(worker.directory))
    assert str(worker.directory / "bootstrap-token") in worker.run("kubelet", "bootstrap").err


def test_a_check_of_a_node_that_has_nothing(worker: Node) -> None:
    outcome = worker.run("kubelet", "guard-check")
    assert outcome.code == 2
    first, *below = outcome.out.splitlines()
    assert first.startswith(
        "CERTROTD KUBELET CRITICAL - node worker-1 cannot come back by itself: its client "
        "certificate is of no use, and no bootstrap credential is configured (and 2 more)"
    )
    assert first.endswith(
        "| client_remaining=U client_requests=0 serving_remaining=U serving_requests=0"
    )
    assert "kubeadm token create" in below[1]
    data = worker.run("kubelet", "guard-check", "-o", "json").data
    assert data["state"] == "CRITICAL"
    rules = [(each["state"], each["rule"]) for each in data["concerns"]]
    assert rules == [("CRITICAL", each) for each in ("credential", "certificate", "certificate")]
    assert [each["cause"] for each in data["kubelet"]] == ["missing", "missing"]


@pytest.mark.parametrize(("mode", "told"), [(0o600, ""), (0o644, "everybody"), (None, "cannot")])
def test_a_check_reads_the_credential_only_where_it_is_needed(
    worker: Node, mode: int | None, told: str
) -> None:
    token = worker.directory / "token"
    if mode is not None:
        token.write_text("abcdef.0123456789abcdef")
        token.chmod(mode)
    worker.settings["kubelet"]["bootstrap"] = {"token_file": str(token)}
    worker.write()
    out = worker.run("kubelet", "guard-check").out
    assert ("cannot come back by itself" in out) is bool(told)
    assert told in out
    assert "0123456789abcdef" not in out


def test_a_credential_of_the_unit_is_not_missed_outside_of_it(
    worker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.settings["kubelet"]["bootstrap"] = {"credential": "bootstrap-token"}
    worker.write()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "come back" not in worker.run("kubelet", "guard-check").out
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(worker.directory))
    assert "come back" in worker.run("kubelet", "guard-check").out


def test_a_check_of_a_node_where_all_is_well(worker: Node) -> None:
    _provide(worker)
    outcome = worker.run("kubelet", "guard-check")
    assert outcome.code == 0
    assert outcome.out.startswith("CERTROTD KUBELET OK - the client certificate ends in 29d23h, ")
    assert "client_remaining=259" in outcome.out
    assert worker.run("kubelet", "guard-check", "-o", "json").data["concerns"] == []
    outcome = worker.run("kubelet", "guard-check", "-o", "prometheus")
    got = parse(outcome.out)
    assert (outcome.code, got["certrotd_kubelet_own_state", frozenset()]) == (0, 0)
    name, labels = (
        "certrotd_kubelet_own_certificate_expiry_timestamp_seconds",
        ("client", "serving"),
    )
    for each in labels:
        left = got[name, frozenset({("purpose", each)})] - SystemClock().now().timestamp()
        assert left == pytest.approx(30 * 86400, abs=60)
    assert sum(at for (name, _), at in got.items() if name.endswith("_concern")) == 0


def test_the_metrics_of_a_node_that_has_nothing(worker: Node) -> None:
    outcome = worker.run("kubelet", "guard-check", "-o", "prometheus")
    got = parse(outcome.out)
    assert (outcome.code, got["certrotd_kubelet_own_state", frozenset()]) == (2, 2)
    labels = frozenset({("rule", "certificate"), ("level", "critical")})
    assert got["certrotd_kubelet_own_concern", labels] == 1
    assert not any("expiry" in name for name, _ in got)


@pytest.mark.parametrize("command", ["guard", "guard-check"])
def test_what_cannot_be_checked_is_unknown(node: Node, command: str) -> None:
    outcome = node.run("kubelet", command)
    assert outcome.code == 3
    assert "UNKNOWN" in outcome.out
    outcome = node.run("kubelet", command, "-o", "prometheus")
    assert outcome.code == 3
    assert list(parse(outcome.out).values()) == [3]


def _provide(worker: Node) -> None:
    """Give the kubelet both pairs, made now for 30 days, and its kubeconfig."""
    ca = (
        (worker.directory / "ca.crt").read_bytes(),
        Secret((worker.directory / "ca.key").read_bytes()),
    )
    now = SystemClock().now()
    issuer = AuthorityIssuer(*ca, clock=lambda: now, anchors=ca[:1])
    store = KubeletStore(
        worker.settings["kubelet"]["directory"], worker.settings["kubelet"]["kubeconfig"]
    )
    for purpose in Purpose:
        wanted = Wanted(
            node="worker-1", purpose=purpose, dns_names=("worker-1",) * (purpose is Purpose.SERVING)
        )
        attempt = begin(wanted, Cause.MISSING, now)
        spec = specification(wanted, timedelta(days=30))
        chain = issuer.sign(SigningRequest(spec=spec, csr_pem=attempt.request)).chain
        store.write(purpose, chain, attempt.private_key, now)
    store.write_kubeconfig(
        kubeconfig("worker-1", store.current(Purpose.CLIENT), "https://x", "/ca")
    )
