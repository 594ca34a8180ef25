"""Commands about this node's kubelet that need no cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certrotd.core.kubelets import Record, begin
from certrotd.core.model.kubelets import Purpose

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
    from certrotd.adapters.clock import SystemClock  # noqa: PLC0415
    from certrotd.adapters.kubelet import FileRecords  # noqa: PLC0415
    from certrotd.core.kubelets import Cause, Wanted  # noqa: PLC0415

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
