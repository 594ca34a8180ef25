"""The flags of programs.yaml, against what the real programs say they take."""

from __future__ import annotations

import re
import subprocess

import pytest

from certrotd.presets import Program, programs
from tests.testbed import build
from tests.testbed.catalogue import SERVERS

BUILT = [name for name in programs() if name in SERVERS]

LEFT_OUT = {
    # Settings, no certificates: what they name is not read by a TLS handshake.
    "--audit-policy-file",
    "--authentication-config",
    "--authorization-config",
    "--authorization-policy-file",
    "--cloud-config",
    "--encryption-provider-config",
    "--image-credential-provider-config",
    "--leader-migration-config",
    "--lock-file",
    "--rotate-certificates",
    "--rotate-server-certificates",
    "--runtime-config",
    "--token-auth-file",
    "--tracing-config-file",
    # Read once, when a member or a node joins.
    "--bootstrap-kubeconfig",
    "--discovery-cacert",
    "--discovery-cert",
    "--discovery-key",
    # Revocation lists: what lives for days is not revoked.
    "--client-crl-file",
    "--peer-crl-file",
    # The program's own settings, in which `config init` looks for the keys of programs.yaml.
    "--config",
    "--config-file",
}
"""Flags that name files and no material."""
_FILE = re.compile(r"-file$|(cert|key|cert-key|cacert|cafile|certfile|keyfile|config)$|certificate")


def flags_of(program: Program) -> set[str]:
    named = {flag for material in program.materials for flag in program.flags(material)}
    places = (program.address, program.port, program.peer_port)
    named |= {place.flag for place in places if place is not None}
    return {flag for flag in named if flag.startswith("--")}


def test_most_programs_are_built_for_the_tests() -> None:
    assert {"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"} <= {*BUILT}


def flags_taken(name: str) -> set[str]:
    told = subprocess.run(
        [str(build.ensure(name)), "--help"], check=True, capture_output=True, text=True
    )
    found = set(re.findall(r"--[a-z0-9-]+", told.stdout + told.stderr))
    assert len(found) > 50
    return found


@pytest.mark.servers
@pytest.mark.parametrize("name", BUILT)
def test_every_flag_is_one_that_the_program_takes(name: str) -> None:
    assert flags_of(programs()[name]) - flags_taken(name) == set()


@pytest.mark.servers
@pytest.mark.parametrize("name", BUILT)
def test_every_flag_that_names_certificates_or_keys_has_a_material(name: str) -> None:
    about = {flag for flag in flags_taken(name) if _FILE.search(flag)}
    assert len(about) >= 5
    assert about - flags_of(programs()[name]) - LEFT_OUT == set()


@pytest.mark.servers
@pytest.mark.parametrize("name", BUILT)
def test_every_program_says_its_version_as_the_file_says(name: str) -> None:
    arguments = programs()[name].version_arguments
    told = subprocess.run(
        [str(build.ensure(name)), *arguments], check=True, capture_output=True, text=True
    )
    assert SERVERS[name].version in told.stdout
