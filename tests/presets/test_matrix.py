"""The reload matrix: well formed, without gaps, and complete."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from certrotd.core.reloading import MatrixRow, parse_version, row_for
from certrotd.presets import matrix, programs
from certrotd.presets.programs import KUBECONFIG_MATERIALS
from certrotd.presets.reading import document

MATERIALS: list[tuple[str, str]] = list(
    dict.fromkeys((row.program, row.material) for row in matrix())
)
IDS = [" ".join(each) for each in MATERIALS]

COMPONENT = "serving sni self-signed-serving client-ca request-header-ca"
KUBECONFIG = " ".join(KUBECONFIG_MATERIALS)
RESEARCHED = {
    "kube-apiserver": "serving sni client-ca request-header-ca kubelet-client kubelet-ca "
    "etcd-client etcd-ca front-proxy-client service-account-keys egress peer-ca loopback oidc-ca "
    "webhook-kubeconfig",
    "kube-controller-manager": f"{COMPONENT} {KUBECONFIG} cluster-signing root-ca "
    "service-account-keys",
    "kube-scheduler": f"{COMPONENT} {KUBECONFIG}",
    "kubelet": f"managed-client managed-serving serving client-ca {KUBECONFIG}",
    "kube-proxy": f"{KUBECONFIG} configuration",
    "etcd": "serving peer client peer-client trusted-ca peer-trusted-ca token-keys "
    "healthcheck-client",
    "konnectivity-server": f"cluster-ca server-ca serving cluster-serving {KUBECONFIG}",
    "konnectivity-agent": "proxy-ca client",
}
"""Every material whose reloading was looked up in source or measured."""


def rows_of(program: str, material: str) -> list[MatrixRow]:
    return [row for row in matrix() if (row.program, row.material) == (program, material)]


def test_the_matrix_has_every_material_that_was_looked_up_and_no_other() -> None:
    found = {
        program: {material for owner, material in MATERIALS if owner == program}
        for program in programs()
    }
    assert found == {program: set(told.split()) for program, told in RESEARCHED.items()}


def test_what_the_programs_can_be_told_by_flags_is_what_the_matrix_is_about() -> None:
    told = [(each.name, material) for each in programs().values() for material in each.materials]
    assert set(told) == set(MATERIALS)


@pytest.mark.parametrize("row", matrix(), ids=lambda row: f"{row.program} {row.material}")
def test_every_row_is_well_formed(row: MatrixRow) -> None:
    assert row.how
    assert row.proof
    assert row.source
    assert row.since is None or row.before is None or row.since < row.before
    assert row.reloads == (row.within > timedelta(0))
    assert row.reloads or not row.minimum_life
    assert not row.minimum_life or row.minimum_life > row.within
    assert row.before is None or row.before[1] > 0, "the table says which minor is the last"


@pytest.mark.parametrize(("program", "material"), MATERIALS, ids=IDS)
def test_ranges_follow_one_another_from_the_oldest_release_on(program: str, material: str) -> None:
    rows = rows_of(program, material)
    first, last = rows[0], rows[-1]
    oldest = parse_version(document("matrix.yaml")["oldest"][programs()[program].releases])
    assert oldest
    assert first.since is None or first.since <= oldest
    assert last.before is None
    for earlier, later in itertools.pairwise(rows):
        assert earlier.before is not None
        assert earlier.before == later.since


@pytest.mark.parametrize(("program", "material"), MATERIALS, ids=IDS)
def test_an_unknown_release_is_taken_for_the_one_that_needs_most(
    program: str, material: str
) -> None:
    rows = rows_of(program, material)
    found = row_for(matrix(), program, material, None)
    assert found is not None
    assert found.reloads == all(row.reloads for row in rows)
    assert not found.reloads or found.within == max(row.within for row in rows)


@pytest.mark.parametrize("program", programs())
def test_every_flag_names_one_material(program: str) -> None:
    about = programs()[program]
    for material in about.materials:
        for flag in about.flags(material):
            expected = None if material in KUBECONFIG_MATERIALS else material
            assert about.material(flag) == expected


@pytest.mark.parametrize("program", programs())
def test_programs_wait_for_programs_that_are_known(program: str) -> None:
    assert set(programs()[program].after) <= set(programs())


CURRENT = {"kubernetes": (1, 37, 2), "etcd": (3, 6, 16)}


@pytest.mark.parametrize(
    ("program", "material"),
    [
        (each.name, pair.material)
        for each in programs().values()
        for pair in each.pairs
        if each.releases in CURRENT
    ],
)
def test_a_current_release_reloads_every_leaf_that_a_flag_names(
    program: str, material: str
) -> None:
    row = row_for(matrix(), program, material, CURRENT[programs()[program].releases])
    assert row is not None
    assert row.reloads
