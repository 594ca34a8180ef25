"""Day 0, a full rotation under load, and every way in which Vault can disappoint."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.plane import Node
from tests.e2e.traffic import Traffic
from tests.testbed.controlplane import ControlPlane
from tests.testbed.inventory import ADMIN, COMPONENTS, Domain
from tests.testbed.vaultserver import VaultServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.servers
EVERYTHING = [*COMPONENTS, ADMIN]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A control plane that certrotd bootstrapped on empty directories."""
    with VaultServer(tmp_path_factory.mktemp("vault")) as vault:
        plane = ControlPlane(tmp_path_factory.mktemp("kubernetes"))
        made = Node(plane, vault)
        outcome = made.run("rotate", "--yes", "-o", "json")
        assert outcome.code == 0, outcome.err
        results = {step["component"]: step["result"] for step in outcome.report["steps"]}
        assert results == dict.fromkeys(EVERYTHING, "stopped")
        with plane:
            yield made


def test_what_day_zero_published_is_served_and_nothing_is_due(node: Node) -> None:
    outcome = node.run("status", "-o", "json")
    assert outcome.code == 0
    certificates = outcome.report["certificates"]
    assert len(certificates) == len(node.inventory.certificates)
    assert not [each for each in certificates if each["reasons"]]
    serving = {c.name for c in node.inventory.certificates if c.served_at}
    assert {each["certificate"] for each in certificates if each["served"]} >= serving
    assert node.run("check").code == 0
    assert "Nothing is due" in node.run("plan").out


def test_everything_is_rotated_under_load_and_nobody_notices(node: Node) -> None:
    before, pids = node.served(), {name: node.plane.pid(name) for name in COMPONENTS}
    with Traffic(node.plane) as traffic:
        outcome = node.run("rotate", "--force", "--yes", "-o", "json")
    assert outcome.code == 0, outcome.err
    report = outcome.report
    assert [step["component"] for step in report["steps"]] == EVERYTHING
    assert {step["result"] for step in report["steps"]} == {"done"}
    changed = {c["certificate"] for step in report["steps"] for c in step["changes"]}
    assert changed == {each.name for each in node.inventory.certificates}

    after = node.served()
    assert not [address for address in before if before[address] == after[address]]
    new = {c["new_serial"] for step in report["steps"] for c in step["changes"]}
    assert set(after.values()) <= new

    restarted = {name for name in COMPONENTS if node.plane.pid(name) != pids[name]}
    assert restarted == {"kube-controller-manager", "kube-scheduler"}
    for name in ("admin", "controller-manager", "scheduler"):
        assert node.plane.client(name).status("/version") == 200
    assert traffic.written > 10
    assert traffic.failures == []
    assert traffic.seen() == traffic.written


def test_the_journal_of_each_step_is_complete(node: Node) -> None:
    run = node.run("rotate", "--force", "--yes", "-o", "json").report["run"]
    entries = [e for e in node.run("history", "-o", "json", "-n", "200").report["entries"]
               if e["run"] == run]  # fmt: skip
    for component in node.inventory.components:
        mine = [each["event"] for each in entries if each["component"] == component.name]
        count = len(component.certificates)
        assert mine == [
            *["issued"] * count, "begun", *["published"] * count, "activated", "done",
        ]  # fmt: skip


def refused(node: Node, code: int, *said: str) -> None:
    """A forced rotation ends with this code and these words, and nothing changed on disk."""
    files, served = node.files(), node.served()
    outcome = node.run("rotate", "--force", "--yes")
    assert outcome.code == code, outcome.out + outcome.err
    for text in said:
        assert text in outcome.out
    assert "Traceback" not in outcome.err
    assert node.files() == files
    assert node.served() == served
    assert node.run("resume").out.startswith("Rotation is not on hold")


def test_a_sealed_vault_changes_nothing(node: Node) -> None:
    node.vault.seal()
    try:
        refused(node, 75, "sealed", "vault operator unseal")
    finally:
        node.vault.unseal()


def test_a_stopped_vault_changes_nothing(node: Node) -> None:
    node.vault.stop()
    try:
        refused(node, 75, node.vault.address)
    finally:
        node.vault.start()


def spoiled(node: Node, **changes: Any) -> None:
    for certificate in node.inventory.certificates:
        node.define_role(certificate, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"organization": ["system:masters"]}, ("organizations", "system:masters")),
        ({"ou": ["surprise"]}, ("other names", "surprise")),
        ({"max_ttl": "1h"}, ("time to live", "7 days")),
        ({"key_usage": ["KeyEncipherment"]}, ("key usages", "key encipherment")),
        ({"server_flag": False, "client_flag": False}, ("extended key usages",)),
        ({"allowed_domains": ["other.example"], "allow_localhost": False}, ("not allowed",)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_role_that_signs_something_else_changes_nothing(
    node: Node, changes: dict[str, Any], said: tuple[str, ...]
) -> None:
    spoiled(node, **changes)
    try:
        files = node.files()
        outcome = node.run("rotate", "--force", "--yes", "etcd")
        assert outcome.code == 1, outcome.out + outcome.err
        for text in said:
            assert text in outcome.out
        assert node.files() == files
    finally:
        spoiled(node)


def test_another_ca_in_the_same_mount_changes_nothing(node: Node) -> None:
    mount = node.mount(Domain.KUBERNETES)
    before = node.vault.read(f"{mount}/config/issuers")["default"]
    made = node.vault.write(
        f"{mount}/root/generate/internal", common_name="impostor", key_type="ec", key_bits=256
    )
    node.vault.write(f"{mount}/config/issuers", default=made["data"]["issuer_id"])
    try:
        files = node.files()
        outcome = node.run("rotate", "--force", "--yes", "kube-apiserver")
        assert outcome.code == 1
        assert "impostor" in outcome.out
        assert "no pinned trust anchor" in outcome.out
        assert node.files() == files
    finally:
        node.vault.write(f"{mount}/config/issuers", default=before)


def test_a_policy_that_forgets_a_role_is_named_with_the_line_it_lacks(node: Node) -> None:
    rules = "".join(
        f'path "{node.mount(c.domain)}/sign/{c.name}" {{ capabilities = ["update"] }}\n'
        for c in node.inventory.certificates
        if c.name != "apiserver"
    )
    full = node.vault.read(f"sys/policies/acl/{node.policy}")
    node.vault.write_policy(node.policy, rules)
    try:
        outcome = node.run("rotate", "--force", "--yes", "kube-apiserver")
        assert outcome.code == 1
        line = f'path "{node.mount(Domain.KUBERNETES)}/sign/apiserver"'
        assert line in outcome.out
    finally:
        node.vault.write_policy(node.policy, full["policy"])


def test_after_all_that_a_rotation_still_works(node: Node) -> None:
    outcome = node.run("rotate", "--force", "--yes")
    assert outcome.code == 0, outcome.out + outcome.err
    assert node.run("check").code == 0


def test_no_secret_was_ever_said_or_written_down(node: Node) -> None:
    canaries = {node.secret_id, node.vault.root_token}
    for content in node.files().values():
        for key in re.findall(rb"-----BEGIN[A-Z ]*PRIVATE KEY-----\n(.+?)\n", content):
            canaries.add(key.decode())
        for data in re.findall(rb"client-key-data: \"?([A-Za-z0-9+/=]+)", content):
            canaries.add(base64.b64decode(data).decode().splitlines()[1])
    assert len(canaries) > 10
    state = node.directory / "state"
    written = [p for p in state.rglob("*") if p.is_file() and "history" not in p.parts]
    for text in (*node.said, *(path.read_text(errors="replace") for path in written)):
        assert not [canary for canary in canaries if canary in text]
        assert "hvs." not in text
