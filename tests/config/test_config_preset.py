"""A preset, this node's facts, and the file laid over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from certrotd.config import load
from certrotd.config.section import bare, item, kinds
from certrotd.config.settings import Root
from certrotd.core.model import ActivationKind, CertificateSpec, Component
from tests.config_text import EXAMPLES, FIRST, ISSUERS, KUBEADM, faults, write


def components(text: str, folder: Path) -> dict[str, Component]:
    return {str(each.name): each for each in load(write(folder, text)).components}


def certificates(text: str, folder: Path) -> dict[str, CertificateSpec]:
    every = components(text, folder).values()
    return {str(spec.name): spec for each in every for spec in each.certificates}


# --- examples


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "kubeadm",
            "etcd kube-apiserver kube-controller-manager kube-scheduler admin",
        ),
        (
            "standalone",
            "etcd kube-apiserver kube-controller-manager kube-scheduler admin",
        ),
        ("split", "kube-apiserver"),
    ],
)
def test_the_examples_load_and_are_short(name: str, expected: str) -> None:
    path = EXAMPLES / f"{name}.yaml"
    assert 10 <= len(path.read_text().splitlines()) <= 25
    assert [each.name for each in load(path).components] == expected.split()


def test_every_layout_has_an_example_and_a_word_in_the_settings() -> None:
    words = item(kinds(Root)["preset"]) or bare(kinds(bare(kinds(Root)["preset"]))["layout"])
    assert set(words.__args__) == {each.stem for each in EXAMPLES.iterdir()}


# --- what a layout becomes


def test_facts_are_put_in(tmp_path: Path) -> None:
    found = certificates(KUBEADM, tmp_path)["apiserver"]
    assert found.dns_names == (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "master-1",
    )
    assert [*map(str, found.ip_addresses)] == ["10.96.0.1", "10.0.0.11"]


def test_facts_with_several_values_become_several_items_and_none_comes_twice(
    tmp_path: Path,
) -> None:
    more = (
        "  control_plane_endpoint: api.example:8443\n"
        "  dns_names: [api.internal, api.example, master-1]\n"
        "  ip_addresses: [10.0.0.10, 10.96.0.1]\n"
    )
    text = KUBEADM.replace("issuers:\n", f"{more}issuers:\n")
    found = certificates(text, tmp_path)
    assert found["apiserver"].dns_names[4:] == ("master-1", "api.example", "api.internal")
    assert [*map(str, found["apiserver"].ip_addresses)] == ["10.96.0.1", "10.0.0.11", "10.0.0.10"]
    kubeconfig = found["admin"].outputs[0].kubeconfig
    assert kubeconfig is not None
    assert kubeconfig.server == "https://api.example:8443"


def test_an_address_of_version_6_stands_in_brackets_where_a_port_follows(tmp_path: Path) -> None:
    text = KUBEADM.replace("10.0.0.11", "fd00::11").replace(
        "issuers:\n", "  control_plane_endpoint: '[fd00:0::11]:6443'\nissuers:\n"
    )
    config = load(write(tmp_path, text))
    apiserver = config.settings.components["kube-apiserver"]
    assert apiserver.proofs[0].tls is not None
    assert apiserver.proofs[0].tls.address == "[fd00::11]:6443"
    found = apiserver.certificates["apiserver"].ip_addresses
    assert [*map(str, found)] == ["10.96.0.1", "fd00::11"]


def test_components_can_be_chosen_and_wait_for_no_others(tmp_path: Path) -> None:
    text = KUBEADM.replace(
        "  service_ip: 10.96.0.1\n", "  components: [super-admin, kube-scheduler]\n"
    )
    found = components(text, tmp_path)
    assert [*found] == ["kube-scheduler", "super-admin"]
    assert [each.after for each in found.values()] == [(), ()]


@pytest.mark.parametrize("part", ["etcd", "etcd-events", "kube-proxy", "kube-controller-manager"])
def test_each_host_of_a_split_control_plane_needs_only_its_own_facts(
    part: str, tmp_path: Path
) -> None:
    endpoint = "" if part.startswith("etcd") else "  control_plane_endpoint: api.example:6443\n"
    address = "" if part == "kube-proxy" else "  advertise_address: 10.0.2.11\n"
    text = f"preset:\n  layout: split\n  components: [{part}]\n{address}{endpoint}{ISSUERS}"
    found = components(text, tmp_path)
    assert [*found] == [part]
    assert found[part].activation is ActivationKind.AUTO


def test_an_etcd_for_events_can_have_a_trust_domain_of_its_own(tmp_path: Path) -> None:
    text = (
        "preset:\n  layout: split\n  components: [etcd-events]\n  advertise_address: 10.0.2.11\n"
        "  issuers: {etcd_events: kubernetes, etcd_client: front-proxy}\n"
    ) + ISSUERS
    found = certificates(text, tmp_path)
    assert found["etcd-events-peer"].issuer == "kubernetes"
    assert found["etcd-events-healthcheck-client"].issuer == "front-proxy"


def test_leaf_files_of_kubeconfigs_are_told_from_embedded_ones(tmp_path: Path) -> None:
    embedded = certificates(KUBEADM, tmp_path)["scheduler"].outputs
    named = certificates(KUBEADM.replace("kubeadm", "standalone"), tmp_path)["scheduler"].outputs
    assert [each.material for each in embedded] == ["kubeconfig-embedded"]
    assert [each.material for each in named] == ["kubeconfig-pair", "kubeconfig-pair", "kubeconfig"]


# --- laid over it


def test_mappings_merge_and_single_values_and_lists_replace(tmp_path: Path) -> None:
    over = """\
components:
  kube-apiserver:
    settle: 30s
    certificates:
      apiserver: {key: rsa-2048, dns_names: [only.example]}
"""
    found = components(KUBEADM + over, tmp_path)
    assert found["kube-apiserver"].settle.total_seconds() == 30
    assert found["kube-apiserver"].after == ("etcd",)
    specs = {str(each.name): each for each in found["kube-apiserver"].certificates}
    assert len(specs) == 4
    assert specs["apiserver"].dns_names == ("only.example",)
    assert specs["apiserver"].key == "rsa-2048"
    assert specs["apiserver"].common_name == "kube-apiserver"


def test_null_removes_components_certificates_and_keys(tmp_path: Path) -> None:
    over = """\
components:
  admin: null
  etcd:
    settle: 3s
  kube-controller-manager: ~
  kube-apiserver:
    settle:
    certificates: {front-proxy-client: null}
"""
    found = components(KUBEADM + over, tmp_path)
    assert [*found] == ["etcd", "kube-apiserver", "kube-scheduler"]
    assert found["kube-scheduler"].after == ("kube-apiserver",)
    assert found["kube-apiserver"].settle.total_seconds() == 0
    names = [each.name for each in found["kube-apiserver"].certificates]
    assert names == ["apiserver", "apiserver-kubelet-client", "apiserver-etcd-client"]


def test_nothing_below_components_is_nothing_laid_over(tmp_path: Path) -> None:
    text = f"{KUBEADM}components:\n  # etcd: {{settle: 3s}}\n"
    assert components(text, tmp_path) == components(KUBEADM, tmp_path)


def test_facts_of_a_removed_component_need_not_be_given(tmp_path: Path) -> None:
    text = KUBEADM.replace("  service_ip: 10.96.0.1\n", "")
    assert faults(write(tmp_path, text)) != []
    assert faults(write(tmp_path, f"{text}components: {{kube-apiserver: null}}\n")) == []


@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        ("{restart: {unit: etcd.service}}", ActivationKind.RESTART),
        ("{none: {}}", ActivationKind.NONE),
        ("{none: }", ActivationKind.NONE),
        ("{auto: null, exec: {command: [/bin/true]}}", ActivationKind.EXEC),
        ("{auto: {restart: {unit: etcd.service}}}", ActivationKind.AUTO),
    ],
)
def test_one_kind_takes_the_place_of_another(
    activation: str, kind: ActivationKind, tmp_path: Path
) -> None:
    over = f"components: {{etcd: {{activation: {activation}}}}}\n"
    assert components(KUBEADM + over, tmp_path)["etcd"].activation is kind


def test_components_of_ones_own_stand_beside_it(tmp_path: Path) -> None:
    over = """\
components:
  haproxy:
    after: [kube-apiserver]
    activation: {none: {}}
    certificates:
      haproxy:
        issuer: kubernetes
        common_name: haproxy
        usages: [client auth]
        outputs: [{combined: /etc/haproxy/client.pem}]
"""
    write(tmp_path, over, "conf.d/haproxy.yaml")
    assert [*components(KUBEADM, tmp_path)][-1] == "haproxy"


# --- faults

PRESET_FAULTS: dict[str, tuple[str, str, list[str]]] = {
    "a fact that is missing": (
        "  advertise_address: 10.0.0.11\n",
        "",
        ["2: preset: advertise_address is required by the layout 'kubeadm'"],
    ),
    "a fact that nothing uses": (
        "  service_ip:",
        "  etcd_events_port: 2381\n  service_ip:",
        [
            (
                "5: preset.etcd_events_port: is not used by etcd, kube-apiserver, "
                "kube-controller-manager, kube-scheduler, admin of the layout 'kubeadm'"
            )
        ],
    ),
    "an issuer that nothing uses": (
        "  service_ip:",
        "  components: [admin]\n  issuers: {etcd: lab, kubernetes: kubernetes}\n  service_ip:",
        [
            "6: preset.issuers.etcd: is not used by admin of the layout 'kubeadm'",
            "7: preset.service_ip: is not used by admin of the layout 'kubeadm'",
        ],
    ),
    "a fact of the wrong kind": (
        "10.0.0.11",
        "master-1",
        ["4: preset.advertise_address: is no IP address"],
    ),
    "a fact that is a list": (
        "10.0.0.11",
        "[10.0.0.11]",
        ["4: preset.advertise_address: must be a single value, not a list or a mapping"],
    ),
    "an unknown fact": (
        "service_ip",
        "servce_ip",
        ["5: preset.servce_ip: unknown key; did you mean 'service_ip'?"],
    ),
    "an unknown layout": (
        "kubeadm",
        "kubadm",
        [("3: preset.layout: must be one of: kubeadm, standalone, split; did you mean 'kubeadm'?")],
    ),
    "no layout": ("  layout: kubeadm\n", "", ["2: preset.layout: is required"]),
    "a preset that is text": (
        KUBEADM[KUBEADM.index("\n  layout") : KUBEADM.index("issuers:")],
        " kubeadm\n",
        ["2: preset: must be a mapping of keys to values"],
    ),
    "an unknown component": (
        "  service_ip:",
        "  components: [etcd, kube-apisrver, etcd]\n  service_ip:",
        [
            (
                "5: preset.components[1]: 'kube-apisrver' is no component of the layout "
                "'kubeadm'; did you mean 'kube-apiserver'?"
            ),
            "5: preset.components[2]: names etcd a second time",
            "6: preset.service_ip: is not used by etcd of the layout 'kubeadm'",
        ],
    ),
    "a layout whose components must be chosen": (
        "kubeadm",
        "split",
        [
            (
                "2: preset: components are required by the layout 'split': which of etcd-events, "
                "etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, admin "
                "runs here?"
            ),
            "2: preset: etcd_endpoint is required by the layout 'split'",
            "2: preset: control_plane_endpoint is required by the layout 'split'",
        ],
    ),
}


@pytest.mark.parametrize("case", PRESET_FAULTS)
def test_a_faulty_preset_is_told_with_line_and_key(case: str, tmp_path: Path) -> None:
    old, new, expected = PRESET_FAULTS[case]
    assert old in KUBEADM
    path = write(tmp_path, KUBEADM.replace(old, new, 1))
    assert faults(path) == [f"certrotd.yaml:{line}" for line in expected]


OVER_FAULTS: dict[str, tuple[str, list[str]]] = {
    "an unknown key laid over": (
        "components: {etcd: {setle: 3s}}\n",
        [f"{FIRST}: components.etcd.setle: unknown key; did you mean 'settle'?"],
    ),
    "a component that is misspelt": (
        "components: {etdc: {settle: 3s}}\n",
        [
            f"{FIRST}: components.etdc.activation: is required",
            f"{FIRST}: components.etdc.certificates: is required",
        ],
    ),
    "a list of ones own in which something is missing": (
        "components:\n  etcd:\n    proofs:\n      - tls: {certificate: etcd-server}\n",
        [f"{FIRST + 3}: components.etcd.proofs[0].tls.address: is required"],
    ),
    "a required key that is removed": (
        "components:\n  etcd:\n    activation: null\n",
        [f"{FIRST + 2}: components.etcd.activation: is required"],
    ),
    "a wait for a component that is not here": (
        "components:\n  etcd:\n    after: [super-admin]\n",
        [
            (
                f"{FIRST + 2}: components.etcd.after[0]: 'super-admin' names no component; did "
                "you mean 'admin'?"
            )
        ],
    ),
    "components that are no mapping": (
        "components: [etcd]\n",
        [f"{FIRST}: components: must be a mapping of keys to values"],
    ),
    "a component that is text": (
        "components: {etcd: etcd}\n",
        [f"{FIRST}: components.etcd: must be a mapping of keys to values"],
    ),
}


@pytest.mark.parametrize("case", OVER_FAULTS)
def test_what_is_laid_over_has_its_own_lines(case: str, tmp_path: Path) -> None:
    over, expected = OVER_FAULTS[case]
    path = write(tmp_path, KUBEADM + over)
    assert faults(path) == [f"certrotd.yaml:{line}" for line in expected]


def test_a_fault_of_what_a_preset_says_names_the_preset_and_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, KUBEADM.replace("  front-proxy:", "  frontproxy:"))
    (fault,) = faults(path)
    place, _, message = fault.partition(": ")
    layout, _, line = place.rpartition(":")
    assert layout == "preset kubeadm"
    document = Path("certrotd/presets/layouts/kubeadm.yaml").read_text().splitlines()
    assert document[int(line) - 1].strip() == "issuer: ${issuers.front_proxy}"
    assert message == (
        "components.kube-apiserver.certificates.front-proxy-client.issuer: 'front-proxy' names "
        "no issuer; did you mean 'frontproxy'?"
    )


def test_materials_and_programs_are_words_of_the_matrix(tmp_path: Path) -> None:
    over = """\
components:
  etcd:
    reads: [{path: /a, material: trustedca}]
    certificates: {etcd-peer: {material: serving-peer}}
  kube-scheduler:
    activation: {auto: {program: kube-schedular}}
"""
    path = write(tmp_path, KUBEADM + over)
    at = "components.etcd"
    assert [each.removeprefix("certrotd.yaml:") for each in faults(path)] == [
        (
            f"{FIRST + 2}: {at}.reads[0].material: 'trustedca' names no material of etcd; did you "
            "mean 'trusted-ca'?"
        ),
        (
            f"{FIRST + 3}: {at}.certificates.etcd-peer.material: 'serving-peer' names no material "
            "of etcd; did you mean 'serving'?"
        ),
        (
            f"{FIRST + 5}: components.kube-scheduler.activation.auto.program: 'kube-schedular' "
            "names no program of the reload matrix; did you mean 'kube-scheduler'?"
        ),
    ]


# --- shown
