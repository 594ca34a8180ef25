"""`certrotd config init --from-systemd`, with the pinned etcd and real units of a real systemd."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.discovery.kubeadm import KubeadmNode
from tests.testbed.build import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.systemd.container import Container

pytestmark = [pytest.mark.systemd, pytest.mark.servers]
PKI = "/etc/kubernetes/pki"
ETCD = f"""[Unit]
Description=etcd
[Service]
Type=notify
EnvironmentFile=/etc/etcd.env
Environment=ETCD_TRUSTED_CA_FILE={PKI}/etcd/ca.crt "ETCD_NAME=one"
ExecStart=/opt/bin/etcd --data-dir=/var/lib/etcd-test \\
    --cert-file={PKI}/etcd/server.crt \\
    # the key
    --key-file ${{KEYS}}/server.key $LISTEN \\
    --client-cert-auth '--advertise-client-urls=https://127.0.0.1:12379'
"""
ENVIRONMENT = f"""KEYS={PKI}/etcd
LISTEN=--listen-client-urls=https://127.0.0.1:12379
ETCD_LISTEN_PEER_URLS=https://127.0.0.1:12380
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://127.0.0.1:12380
ETCD_INITIAL_CLUSTER='one=https://127.0.0.1:12380'
ETCD_PEER_CERT_FILE={PKI}/etcd/peer.crt
ETCD_PEER_KEY_FILE={PKI}/etcd/peer.key
ETCD_PEER_TRUSTED_CA_FILE={PKI}/etcd/ca.crt
"""
APISERVER = f"""[Service]
ExecStart=/opt/bin/kube-apiserver --etcd-servers=https://127.0.0.1:12379 \\
  --etcd-cafile={PKI}/etcd/ca.crt --etcd-certfile={PKI}/apiserver-etcd-client.crt \\
  --etcd-keyfile={PKI}/apiserver-etcd-client.key --client-ca-file={PKI}/ca.crt \\
  --tls-cert-file={PKI}/apiserver.crt --tls-private-key-file={PKI}/apiserver.key \\
  --advertise-address=10.0.0.11 --service-cluster-ip-range=10.96.0.0/16
"""
SCHEDULER = """[Service]
ExecStart=@/opt/bin/kube-scheduler kube-scheduler --config=/etc/kubernetes/scheduler.yaml
"""
UNITS = {
    "etcd.service": ETCD,
    "kube-apiserver.service": APISERVER,
    "kube-scheduler.service": SCHEDULER,
    "etcd-events.service": ETCD.replace("/server.", "/healthcheck-client."),
    "web.service": "[Service]\nExecStart=/usr/bin/sleep infinity\n",
    "old-etcd.service": "[Service]\nExecStart=/usr/bin/true\n",
    "broken.service": "[Service]\nExecStart=/opt/bin/etcd --name='a\n",
}


@pytest.fixture(scope="module")
def master(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """kubeadm's certificates in the container, and units that use them; nothing runs yet."""
    made = KubeadmNode(tmp_path_factory.mktemp("units") / "kubernetes").make()
    inside = container.path("/etc/kubernetes")
    shutil.copytree(made.folder, inside)
    shutil.rmtree(inside / "manifests")
    container.write(
        "/etc/kubernetes/scheduler.yaml",
        "clientConnection: {kubeconfig: /etc/kubernetes/scheduler.conf}\n",
    )
    container.path("/opt/bin").mkdir(parents=True, exist_ok=True)
    _install(ensure("etcd"), container.path("/opt/bin/etcd"))
    container.write("/etc/etcd.env", ENVIRONMENT)
    for name, text in UNITS.items():
        container.add_unit(name, text)
    yield container
    for name in UNITS:
        container.systemctl("stop", name, check=False)
        container.remove_unit(name)
    container.run("systemctl", "reset-failed")
    container.run("rm", "-rf", "/etc/kubernetes", "/etc/etcd.env", "/opt/bin/etcd")
    container.run("rm", "-rf", "/var/lib/etcd-test", "/etc/certrotd")


def _install(binary: Path, target: Path) -> None:
    shutil.copyfile(binary, target)
    target.chmod(0o755)


def init(container: Container, *arguments: str) -> tuple[int, str, str]:
    done = container.run("certrotd", "config", "init", "--from-systemd", *arguments, check=False)
    return done.returncode, done.stdout, done.stderr


def data_of(container: Container, *arguments: str) -> Any:
    code, out, err = init(container, *arguments)
    assert code == 0, err
    return yaml.safe_load(out)


def test_units_that_do_not_run_are_read_from_their_files(master: Container) -> None:
    data = data_of(master, "etcd", "kube-apiserver", "kube-scheduler.service", "--issuer", "ca")
    components = data["components"]
    assert list(components) == ["etcd", "kube-apiserver", "kube-scheduler", "admin"]
    etcd = components["etcd"]
    assert etcd["activation"]["auto"]["restart"] == {"unit": "etcd.service"}
    assert etcd["activation"]["auto"]["version"][-1] == {"unit": "etcd.service"}
    assert set(etcd["certificates"]) == {"etcd-server", "etcd-peer", "etcd-healthcheck-client"}
    tls = [each["tls"]["address"] for each in etcd["proofs"] if "tls" in each]
    assert tls == ["127.0.0.1:12379", "127.0.0.1:12380"]
    assert {"path": f"{PKI}/etcd/ca.crt", "material": "trusted-ca"} in etcd["reads"]
    assert components["kube-apiserver"]["after"] == ["etcd"]
    assert set(components["kube-scheduler"]["certificates"]) == {"scheduler"}


def test_a_running_unit_is_read_from_its_process_and_the_plan_finds_it_as_configured(
    master: Container,
) -> None:
    before = data_of(master, "etcd", "--issuer", "ca")
    master.systemctl("start", "etcd")
    # What the process was started with counts, not what the file says since.
    master.add_unit("etcd.service", ETCD.replace("/etcd/server", "/etcd/gone"))
    try:
        assert data_of(master, "etcd", "--issuer", "ca") == before
        code, _, err = init(
            *(master, "etcd", "--issuer", "ca"),
            *("--output-file", "/etc/certrotd/certrotd.yaml", "--force"),
        )
        assert code == 0, err
        plan = yaml.safe_load(master.run("certrotd", "plan", "--force", "-o", "yaml").stdout)
    finally:
        master.add_unit("etcd.service", ETCD)
        master.systemctl("stop", "etcd")
    reasons = {
        reason["reason"]
        for step in plan["steps"]
        for each in step["replace"]
        for reason in each["reasons"]
    }
    assert [each["component"] for each in plan["steps"]] == ["etcd", "admin"]
    assert reasons <= {"forced", "due"}


def test_without_names_every_loaded_unit_of_a_known_program_counts(master: Container) -> None:
    # systemd has in memory what runs or is asked for; a target that wants them is that.
    wants = " ".join(each for each in UNITS if not each.startswith("broken"))
    master.add_unit("master.target", f"[Unit]\nWants={wants}\n")
    master.systemctl("start", "--no-block", "master.target")
    try:
        code, out, err = init(master)
    finally:
        master.systemctl("stop", "master.target", *UNITS, check=False)
        master.remove_unit("master.target")
    assert code == 0, err
    components = yaml.safe_load(out)["components"]
    words = " ".join(out.replace("#", " ").split())
    told = "old-etcd.service:2: ExecStart: runs /usr/bin/true, which is no program certrotd knows"
    assert f"{told}; it is passed over" in words
    assert list(components)[:4] == ["etcd-events", "etcd", "kube-apiserver", "kube-scheduler"]
    assert components["etcd"]["after"] == ["etcd-events"]
    assert components["kube-apiserver"]["after"] == ["etcd-events", "etcd"]
    assert "web" not in components


def test_each_fault_of_a_unit_is_told_with_its_file_and_line(master: Container) -> None:
    master.systemctl("mask", "--runtime", "masked.service")
    names = ("nothing", "masked", "web", "broken", "-unit")
    code, out, err = init(master, "--", *names)
    master.systemctl("unmask", "--runtime", "masked.service")
    assert code == 1
    assert not out
    assert "nothing.service: there is no such unit" in err
    assert "masked.service: is masked" in err
    assert "web.service:2: ExecStart: runs /usr/bin/sleep, which is no program certrotd" in err
    assert "broken.service: systemd cannot load it (bad-setting): systemd-analyze verify" in err


def test_a_flag_that_names_a_missing_file_is_told_with_its_line(master: Container) -> None:
    master.add_unit("kube-apiserver.service", APISERVER.replace("apiserver.crt", "gone.crt"))
    try:
        code, _, err = init(master, "kube-apiserver")
    finally:
        master.add_unit("kube-apiserver.service", APISERVER)
    assert code == 1
    file = "/etc/systemd/system/kube-apiserver.service:2"
    assert f"{file}: --tls-cert-file: names {PKI}/gone.crt, which does not exist" in err


def test_an_environment_file_that_is_missing_leaves_places_to_fill_in(master: Container) -> None:
    master.run("mv", "/etc/etcd.env", "/etc/etcd.env.away")
    try:
        code, out, err = init(master, "etcd")
    finally:
        master.run("mv", "/etc/etcd.env.away", "/etc/etcd.env")
    assert code == 0, err
    words = " ".join(out.replace("#", " ").split())
    assert "not found on this node: /etc/etcd.env (EnvironmentFile)" in words
    assert "the value of ${KEYS}/server.key (--key-file); fill in" in words
