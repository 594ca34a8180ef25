"""Bad input gets a message that names the thing, the right exit code, and changes nothing."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.adapters.ca import AuthorityIssuer
from certrotd.adapters.clock import SystemClock
from certrotd.adapters.flock import FileLock
from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm, Secret
from tests.factories import make_request, make_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.node import Node

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and owners need root")
not_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


def pki(node: Node) -> Path:
    return node.directory / "pki"


def certificate(node: Node, name: str = "etcd") -> dict[str, object]:
    found: dict[str, object] = node.settings["components"][name]["certificates"][name]
    return found


def refused(node: Node, *said: str, code: int = 3) -> None:
    """Both commands refuse, say all of it, and every served pair stays whole."""
    node.write()
    for command in (("rotate", "--yes"), ("plan",)):
        outcome = node.run(*command)
        assert outcome.code == code, outcome.err
        for text in said:
            assert text in outcome.err
        assert "Traceback" not in outcome.err


def test_wrong_yaml(node: Node) -> None:
    node.config.write_text("components: [unclosed")
    outcome = node.run("rotate", "--yes")
    assert outcome.code == 3
    assert f"{node.config}:" in outcome.err


def test_an_unknown_key(node: Node) -> None:
    certificate(node)["comon_name"] = "x"
    refused(node, "comon_name", "common_name", str(node.config))


def test_a_duplicate_output_path(node: Node) -> None:
    certificate(node)["outputs"] = [
        {"certificate": f"{pki(node)}/x.pem"}, {"key": f"{pki(node)}/x.pem"},
    ]  # fmt: skip
    refused(node, f"{pki(node)}/x.pem")


def test_two_certificates_that_write_one_file(node: Node) -> None:
    certificate(node, "apiserver")["outputs"] = certificate(node)["outputs"]
    refused(node, f"{pki(node)}/etcd.crt")


def test_a_relative_path(node: Node) -> None:
    certificate(node)["outputs"] = [{"combined": "pki/x.pem"}]
    refused(node, "outputs[0].combined", "absolute path")


def test_an_output_inside_anothers_generation_tree(node: Node) -> None:
    certificate(node)["outputs"] = [{"combined": f"{pki(node)}/.certrotd/live/x.pem"}]
    refused(node, ".certrotd")


def test_a_missing_user_and_group(node: Node) -> None:
    outputs = [{"combined": f"{pki(node)}/x.pem", "owner": "nobody-at-all", "group": "no-group"}]
    certificate(node)["outputs"] = outputs
    refused(node, "nobody-at-all", "no-group")


def test_a_cycle_of_after(node: Node) -> None:
    node.settings["components"]["etcd"]["after"] = ["apiserver"]
    node.settings["components"]["apiserver"]["after"] = ["etcd"]
    refused(node, "etcd", "apiserver", "->")


def test_an_unknown_component_on_the_command_line(node: Node) -> None:
    outcome = node.run("rotate", "--yes", "apisrver")
    assert outcome.code == 2
    assert "did you mean apiserver?" in outcome.err


def test_a_missing_configuration(node: Node) -> None:
    node.config.unlink()
    outcome = node.run("plan")
    assert outcome.code == 3
    assert str(node.config) in outcome.err


def failed(node: Node, *said: str) -> None:
    """Only etcd fails, with these words; the apiserver goes on."""
    report = node.run("rotate", "--yes", "--force", "-o", "json")
    assert report.code == 1, report.err
    steps = {step["component"]: step for step in report.data["steps"]}
    assert steps["etcd"]["result"] == "failed"
    for text in said:
        assert text in steps["etcd"]["error"] + str(steps["etcd"]["hint"])
    assert steps["apiserver"]["result"] == "done"


def move_etcd(node: Node, directory: Path) -> None:
    certificate(node)["outputs"] = [
        {"certificate": f"{directory}/etcd.crt"}, {"key": f"{directory}/etcd.key"},
    ]  # fmt: skip
    node.write()


def test_a_target_directory_that_is_missing(node: Node) -> None:
    move_etcd(node, node.directory / "absent")
    failed(node, str(node.directory / "absent"))


def test_a_target_directory_that_is_a_file(node: Node) -> None:
    (node.directory / "file").write_text("")
    move_etcd(node, node.directory / "file")
    failed(node, str(node.directory / "file"))


def test_a_target_directory_that_everybody_can_write(node: Node) -> None:
    (node.directory / "open").mkdir()
    (node.directory / "open").chmod(0o777)
    move_etcd(node, node.directory / "open")
    failed(node, str(node.directory / "open"), "everybody")


def test_a_target_directory_that_is_a_symlink(node: Node) -> None:
    (node.directory / "link").symlink_to(pki(node))
    move_etcd(node, node.directory / "link")
    failed(node, str(node.directory / "link"), "link")


@root_only
def test_a_target_directory_on_a_full_disk(node: Node) -> None:
    target = node.directory / "small"
    target.mkdir()
    assert os.spawnlp(os.P_WAIT, "mount", "mount", "-t", "tmpfs", "-o", "size=16k,mode=755",
                      "none", str(target)) == 0  # fmt: skip
    try:
        (target / "filler").write_bytes(b"x" * 12288)
        move_etcd(node, target)
        failed(node, str(target), "space")
        assert sorted(each.name for each in target.iterdir()) == ["filler"]
    finally:
        os.spawnlp(os.P_WAIT, "umount", "umount", str(target))


@root_only
def test_a_target_directory_that_is_read_only(node: Node) -> None:
    target = node.directory / "frozen"
    target.mkdir()
    assert os.spawnlp(os.P_WAIT, "mount", "mount", "-t", "tmpfs", "-o", "ro,mode=755", "none",
                      str(target)) == 0  # fmt: skip
    try:
        move_etcd(node, target)
        failed(node, str(target), "read-only")
    finally:
        os.spawnlp(os.P_WAIT, "umount", "umount", str(target))


def reason(node: Node) -> str:
    """Why etcd is due."""
    steps = node.run("plan", "-o", "json").data["steps"]
    return str(next(s for s in steps if s["component"] == "etcd")["replace"][0]["reasons"][0])


def healed(node: Node) -> None:
    assert node.run("rotate", "--yes").code == 0
    leaf, key = node.pair("etcd")
    assert x509.owns(Secret(key), x509.split_pem(leaf)[0])


def test_a_key_that_does_not_match(node: Node) -> None:
    node.run("rotate", "--yes")
    (pki(node) / "etcd.key").write_bytes(
        x509.key_pem(x509.new_key(KeyAlgorithm.ECDSA_P256)).reveal()
    )
    assert "key_mismatch" in reason(node)
    healed(node)


def test_pem_with_rubbish(node: Node) -> None:
    node.run("rotate", "--yes")
    (pki(node) / "etcd.crt").write_bytes(b"\xff\x00rubbish")
    assert "unreadable" in reason(node)
    healed(node)


@pytest.mark.parametrize(("offset", "expected"), [(-10, "expired"), (5, "not valid before")])
def test_a_current_certificate_out_of_its_time(node: Node, offset: int, expected: str) -> None:
    then = SystemClock().now() + timedelta(days=offset)
    authority = AuthorityIssuer(
        (node.directory / "ca.crt").read_bytes(),
        Secret((node.directory / "ca.key").read_bytes()),
        clock=lambda: then,
    )
    spec = make_spec(
        pki(node), "etcd", common_name="etcd.example", dns_names=("etcd.example",),
        ip_addresses=(), ttl=timedelta(days=3),
    )  # fmt: skip
    key, request = make_request(spec)
    (pki(node) / "etcd.crt").write_bytes(b"".join(authority.sign(request).chain))
    (pki(node) / "etcd.key").write_bytes(x509.key_pem(key).reveal())
    (pki(node) / "etcd.key").chmod(0o600)
    assert expected in reason(node)
    healed(node)


def test_a_current_file_that_is_a_directory(node: Node) -> None:
    (pki(node) / "etcd.crt").mkdir()
    (pki(node) / "etcd.key").write_bytes(b"")
    assert "unreadable" in reason(node)
    failed(node, f"{pki(node)}/etcd.crt")
    assert (pki(node) / "etcd.crt").is_dir()


@not_root
def test_a_current_file_that_may_not_be_read(node: Node) -> None:
    node.run("rotate", "--yes")
    (pki(node) / "etcd.key").chmod(0)
    assert "unreadable" in reason(node)


def test_two_certrotd_at_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certrotd.app.LOCK_WAIT", 0.1)
    other = FileLock(str(node.directory / "state" / "lock"), clock=SystemClock())
    with other.hold("rotate"):
        outcome = node.run("rotate", "--yes")
    assert outcome.code == 5
    assert f"process {os.getpid()}" in outcome.err
    assert node.run("rotate", "--yes").code == 0


def test_nobody_to_ask(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    outcome = node.run("rotate")
    assert outcome.code == 2
    assert "--yes" in outcome.err
    assert not list(pki(node).iterdir())


def test_an_issuer_whose_key_is_gone(node: Node) -> None:
    node.run("rotate", "--yes")
    before = node.pair("etcd")
    shutil.move(node.directory / "ca.key", node.directory / "gone")
    outcome = node.run("rotate", "--yes", "--force")
    assert outcome.code == 1
    assert "ca.key" in outcome.out
    assert node.pair("etcd") == before
    assert node.run("status").code == 0


def test_an_issuer_whose_anchors_are_gone_keeps_back_only_its_own(node: Node) -> None:
    anchors = node.directory / "anchors.pem"
    shutil.copy(node.directory / "ca.crt", anchors)
    node.settings["issuers"]["other"] = node.settings["issuers"]["lab"] | {
        "trust_anchors": str(anchors)
    }
    certificate(node)["issuer"] = "other"
    node.write()
    node.run("rotate", "--yes")
    before = node.pair("etcd")
    anchors.unlink()
    assert "wrong_issuer" in reason(node)
    failed(node, str(anchors))
    assert node.pair("etcd") == before
