"""The section `kubelet`: a worker that has nothing else, and what may be wrong with it."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from certrotd.config import json_schema, load, shown
from tests.config_text import faults, write

if TYPE_CHECKING:
    from certrotd.config import settings

WORKER = """\
issuers: {}
components: {}
kubelet:
  server: https://api.example:6443
"""

CASES: dict[str, tuple[str, list[str]]] = {
    "no server": ("  directory: /pki", ["3: kubelet.server: is required"]),
    "a lifetime that the API server refuses": (
        "  lifetime: 5m",
        ["5: kubelet.lifetime: is under 10m, and the API server accepts nothing shorter"],
    ),
    "no purpose": (
        "  purposes: []",
        ["5: kubelet.purposes: must name `client`, `serving`, or both"],
    ),
    "a purpose twice": (
        "  purposes: [client, client]",
        ["5: kubelet.purposes[1]: names client a second time"],
    ),
    "names without addresses": (
        "  dns_names: [node-1]",
        ["3: kubelet.ip_addresses: is required with dns_names"],
    ),
    "a Vault that is not there": (
        "  bootstrap: {vault: {connection: main, path: secret/data/kubelets}}",
        ["5: kubelet.bootstrap.vault.connection: 'main' names no entry of vaults"],
    ),
    "two credentials": (
        "  bootstrap: {token_file: /t, credential: t}",
        ["5: kubelet.bootstrap: exactly one of token_file, credential, vault must be given"],
    ),
    "a kubelet in a static pod": (
        "  restart: {static_pod: {name: kubelet, manifest: /m}}",
        ["5: kubelet.restart.static_pod: a kubelet is none: it keeps them"],
    ),
    "a program without its path": (
        "  restart: {exec: {command: [restart-kubelet]}}",
        [
            "5: kubelet.restart.exec.command: must start with the absolute path of a program",
        ],
    ),
}


def section(path: Path) -> settings.Kubelet:
    found = load(path).settings.kubelet
    assert found is not None
    return found


def test_a_worker_needs_nothing_but_a_server(tmp_path: Path) -> None:
    kubelet = section(write(tmp_path, WORKER))
    assert kubelet.purposes == ("client",)
    assert kubelet.restart.unit == "kubelet.service"
    assert kubelet.patience == timedelta(minutes=5)


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_told_with_line_and_key(case: str, tmp_path: Path) -> None:
    line, expected = CASES[case]
    text = (
        WORKER.replace("  server: https://api.example:6443", line)
        if case == "no server"
        else (f"{WORKER}{line}\n")
    )
    told = faults(write(tmp_path, text))
    assert len(told) == len(expected)
    for said, begin in zip(told, expected, strict=True):
        assert said.startswith(f"certrotd.yaml:{begin}"), said


def test_a_configuration_of_nothing_is_still_refused(tmp_path: Path) -> None:
    told = faults(write(tmp_path, "issuers: {}\ncomponents: {}\n"))
    assert told == ["certrotd.yaml:2: components: must name at least one component"]


def test_what_the_sample_shows_in_comments_is_right(tmp_path: Path) -> None:
    lines = Path("config/certrotd.yaml").read_text().splitlines()
    begin = lines.index("# kubelet:")
    end = next(i for i, line in enumerate(lines[begin:], begin) if not line.startswith("#"))
    once = [line.removeprefix("# ") for line in lines[begin:end]]
    twice = [re.sub(r"^(\s*)# ", r"\1", line) for line in once]
    # Of the credentials only one may stay.
    chosen = [line for line in twice if not line.lstrip().startswith(("credential:", "vault:"))]
    text = "issuers: {}\ncomponents: {}\n" + "\n".join(chosen) + "\n"
    kubelet = section(write(tmp_path, text))
    assert kubelet.server == "https://api.example:6443"
    shown_keys = set(yaml.safe_load(text)["kubelet"])
    known = json_schema()["$defs"]["Kubelet"]["properties"]  # type: ignore[index]
    assert shown_keys == set(known)


def test_what_is_shown_can_be_loaded_again(tmp_path: Path) -> None:
    path = write(tmp_path, WORKER)
    again = write(tmp_path / "again", yaml.safe_dump(shown(load(path))))
    assert vars(section(again))["server"] == section(path).server
