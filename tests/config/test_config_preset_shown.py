"""What is shown of a configuration with a preset, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from certrotd.config import load, shown, traced
from tests.config_text import EXAMPLES, FIRST, KUBEADM, write


@pytest.mark.parametrize("name", ["kubeadm", "standalone", "split"])
def test_what_is_shown_is_written_out_and_means_the_same(name: str, tmp_path: Path) -> None:
    first = load(EXAMPLES / f"{name}.yaml")
    data = shown(first)
    assert "preset" not in data
    second = load(write(tmp_path, yaml.safe_dump(data, sort_keys=False)))
    assert second.components == first.components
    assert shown(second) == data


def test_every_value_tells_where_it_comes_from(tmp_path: Path) -> None:
    text = KUBEADM.replace("node: master-1", "cluster: test")
    path = write(
        tmp_path, f"{text}defaults: {{ttl: 9d}}\ncomponents:\n  kube-apiserver: {{settle: 30s}}\n"
    )
    more = write(tmp_path, "components: {admin: {settle: 1s}}\n", "conf.d/more.yaml")
    data, origins = traced(path)
    at: tuple[str | int, ...] = ("components", "kube-apiserver")
    apiserver = (*at, "certificates", "apiserver")
    assert origins[("cluster",)] == f"{path}:1"
    assert origins[("node",)] == "host name"
    assert origins[("limits", "workers")] == "default"
    assert origins[("components", "admin", "settle")] == f"{more}:1"
    assert origins[(*at, "settle")] == f"{path}:{FIRST + 2}"
    assert origins[(*apiserver, "ttl")] == f"{path}:{FIRST}"
    assert origins[(*apiserver, "key")] == "default"
    assert origins[(*apiserver, "outputs", 0, "mode")] == "default"
    assert origins[(*apiserver, "common_name")].startswith("preset kubeadm:")
    layout, _, fact = origins[(*apiserver, "ip_addresses", 1)].partition(", ")
    assert layout.startswith("preset kubeadm:")
    assert fact == f"advertise_address of {path}:4"
    assert "," not in origins[(*apiserver, "dns_names", 3)]
    json.dumps(data)


def test_items_of_a_list_keep_their_places_beside_facts_with_none_or_several_values(
    tmp_path: Path,
) -> None:
    text = KUBEADM.replace("  service_ip", "  dns_names: [one.example, two.example]\n  service_ip")
    path = write(tmp_path, text)
    _, origins = traced(path)
    at = ("components", "kube-apiserver", "certificates", "apiserver", "dns_names")
    document = Path("certrotd/presets/layouts/kubeadm.yaml").read_text().splitlines()
    line = next(i for i, each in enumerate(document, 1) if each.endswith("- ${dns_names}"))
    expected = f"preset kubeadm:{line}, dns_names of {path}:5"
    assert [origins[(*at, i)] for i in (5, 6)] == [expected, expected]
    assert (*at, 7) not in origins


def test_every_place_of_a_preset_is_the_line_where_it_stands() -> None:
    _, origins = traced(EXAMPLES / "standalone.yaml")
    document = Path("certrotd/presets/layouts/standalone.yaml").read_text().splitlines()
    looked_at = 0
    for at, origin in origins.items():
        place, _, line = origin.rpartition(":")
        if place == "preset standalone" and isinstance(at[-1], str):
            assert f"{at[-1]}:" in document[int(line) - 1], at
            looked_at += 1
    assert looked_at > 150
