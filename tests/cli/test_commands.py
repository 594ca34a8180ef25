from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from certrotd.cli.outcome import _OF_RESULT
from certrotd.core.model import Result

if TYPE_CHECKING:
    from tests.cli.node import Node


def test_a_first_run_publishes_everything_and_a_second_has_nothing_to_do(node: Node) -> None:
    first = node.run("rotate", "--yes")
    assert first.code == 0
    assert "2 replaced" in first.out
    second = node.run("rotate", "--yes")
    assert second.code == 0
    assert "Nothing" in second.out


def test_a_plan_names_what_is_due_and_why_and_changes_nothing(node: Node) -> None:
    outcome = node.run("plan", "-o", "json")
    assert outcome.code == 0
    assert [step["component"] for step in outcome.data["steps"]] == ["etcd", "apiserver"]
    reasons = outcome.data["steps"][0]["replace"][0]["reasons"]
    assert reasons[0]["reason"] == "missing"
    assert not list((node.directory / "pki").iterdir())
    assert not (node.directory / "state").exists()


def test_a_dry_run_is_a_plan(node: Node) -> None:
    assert "missing" in node.run("rotate", "--dry-run").out
    assert not list((node.directory / "pki").iterdir())


def test_only_the_named_component_is_rotated(node: Node) -> None:
    node.run("rotate", "--yes")
    before = node.pair("etcd"), node.pair("apiserver")
    report = node.run("rotate", "--yes", "--force", "etcd", "-o", "json").data
    assert [step["component"] for step in report["steps"]] == ["etcd"]
    change = report["steps"][0]["changes"][0]
    assert change["old_serial"] != change["new_serial"]
    assert node.pair("etcd") != before[0]
    assert node.pair("apiserver") == before[1]


def test_status_shows_every_certificate(node: Node) -> None:
    node.run("rotate", "--yes")
    table = node.run("status").out
    assert "etcd" in table
    assert "6d23h" in table
    data = node.run("status", "-o", "yaml").out
    assert len(yaml.safe_load(data)["certificates"]) == 2


def test_check_speaks_to_monitoring_systems(node: Node) -> None:
    before = node.run("check")
    assert before.code == 2
    assert before.out.startswith("CERTROTD CRITICAL - ")
    node.run("rotate", "--yes")
    after = node.run("check")
    assert after.code == 0
    assert after.out.startswith("CERTROTD OK - 2 certificates are fresh")
    assert "| certificates=2 due=0 remaining=" in after.out
    assert node.run("check", "-o", "json").data == {"state": "OK", "remarks": []}
    assert node.run("check", "--warning", "8d").code == 1
    assert node.run("check", "--critical", "8d").code == 2
    assert node.run("check", "--critical", "soon").code == 2
    node.config.write_text("components: {}")
    unknown = node.run("check")
    assert unknown.code == 3
    assert unknown.out.startswith("CERTROTD UNKNOWN - ")


def test_hold_and_resume(node: Node) -> None:
    assert node.run("hold", "etcd", "maintenance").code == 0
    held = node.run("rotate", "--yes")
    assert held.code == 4
    assert "etcd maintenance" in held.err
    assert "certrotd resume" in held.err
    assert "ON HOLD" in node.run("status").out
    assert node.run("check").code == 2
    assert "etcd maintenance" in node.run("resume").out
    assert node.run("rotate", "--yes").code == 0
    assert "not on hold" in node.run("resume").out


def test_history_and_rollback(node: Node) -> None:
    assert "Nothing has happened yet" in node.run("history").out
    node.run("rotate", "--yes")
    first = node.pair("etcd")
    node.run("rotate", "--yes", "--force")
    assert node.pair("etcd") != first
    kept = node.run("history", "etcd", "-o", "json").data
    assert {entry["component"] for entry in kept["entries"]} == {"etcd"}
    assert len(kept["kept"]["etcd"]) == 1
    outcome = node.run("rollback", "etcd", "--yes")
    assert outcome.code == 0
    assert node.pair("etcd") == first
    assert node.run("rotate", "--force", "--yes").code == 4


def test_rollback_without_an_earlier_generation_says_so(node: Node) -> None:
    node.run("rotate", "--yes")
    outcome = node.run("rollback", "etcd", "--yes")
    assert outcome.code == 1
    assert "no earlier generation" in outcome.err
    outcome = node.run("rollback", "etcd", "--to", "20200101T000000Z-aaaaaa", "--yes")
    assert outcome.code == 1
    assert "20200101T000000Z-aaaaaa" in outcome.err


def test_inspect_shows_pairs_and_never_a_key(node: Node) -> None:
    node.run("rotate", "--yes")
    pki = node.directory / "pki"
    files = [str(pki / name) for name in ("etcd.crt", "etcd.key", "apiserver.key")]
    outcome = node.run("inspect", *files, config=False)
    assert outcome.code == 0
    assert f"belongs to {files[0]}" in outcome.out
    assert "belongs to none of these" in outcome.out
    assert "PRIVATE" not in outcome.out
    kinds = [item["kind"] for item in node.run("inspect", *files, "-o", "json", config=False).data]
    assert kinds == ["certificate", "private key", "private key"]


def test_inspect_says_what_it_cannot_read(node: Node) -> None:
    rubbish = node.directory / "rubbish.pem"
    rubbish.write_bytes(b"-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")
    outcome = node.run("inspect", str(rubbish), "/nowhere/at.all", config=False)
    assert outcome.code == 1
    assert "No such file" in outcome.out
    assert "base64" in outcome.out


def test_the_configuration_can_be_validated_shown_and_described(node: Node) -> None:
    assert "2 components, 2 certificates" in node.run("config", "validate").out
    assert node.run("config", "validate", "-o", "json").data["valid"] is True
    shown = yaml.safe_load(node.run("config", "show").out)
    assert shown["limits"]["workers"] == 4
    assert "components" in node.run("config", "schema", config=False).data["properties"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_completion_for(node: Node, shell: str) -> None:
    outcome = node.run("completion", shell, config=False)
    assert outcome.code == 0
    assert "_CERTROTD_COMPLETE" in outcome.out


def test_components_are_completed(node: Node) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "certrotd"],
        env={
            "_CERTROTD_COMPLETE": "bash_complete",
            "COMP_WORDS": f"certrotd rotate -c {node.config} api",
            "COMP_CWORD": "4",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "apiserver" in done.stdout


@pytest.mark.parametrize(
    "command", ["plan", "status", "check", "history", "rotate", "run", "rollback", "inspect"]
)
def test_help_teaches_by_example(node: Node, command: str) -> None:
    outcome = node.run(command, "--help", config=False)
    assert outcome.code == 0
    assert f"certrotd {command}" in outcome.out


def test_every_result_has_an_exit_code() -> None:
    assert set(_OF_RESULT) == {str(result) for result in Result}


@pytest.mark.parametrize("command", ["status", "check", "plan", "--help"])
def test_commands_that_look_load_nothing_they_do_not_need(node: Node, command: str) -> None:
    node.run("rotate", "--yes")
    heavy = ("hvac", "requests", "grpc", "kubernetes", "apscheduler", "structlog", "tenacity")
    script = (
        "import sys; from certrotd.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    )
    config = [] if command == "--help" else ["-c", str(node.config)]
    done = subprocess.run(
        [sys.executable, "-c", script, command, *config],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout
