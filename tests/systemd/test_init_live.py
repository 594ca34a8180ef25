"""A whole control plane that kubeadm laid out, run by systemd: init, then a rotation of everything.

What `config init` wrote is used as it is: every proof and gate in it is tried on the real process.
"""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.discovery.kubeadm import KubeadmNode
from tests.systemd.container import Container
from tests.systemd.prerequisites import unavailable
from tests.testbed.build import ensure
from tests.testbed.staticpods import CLUSTER_ADMINS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.systemd, pytest.mark.servers]
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
CONFIG = "/etc/certrotd/certrotd.yaml"
READY = 90.0
"""How long, in seconds, the control plane may take to be ready."""
ALLOW = """
import base64, http.client, json, ssl, sys, tempfile, yaml
user = yaml.safe_load(open("/etc/kubernetes/super-admin.conf"))["users"][0]["user"]
context = ssl.create_default_context(cafile="/etc/kubernetes/pki/ca.crt")
with tempfile.NamedTemporaryFile() as file:
    for each in ("client-certificate-data", "client-key-data"):
        file.write(base64.b64decode(user[each]))
    file.flush()
    context.load_cert_chain(file.name)
connection = http.client.HTTPSConnection("10.0.0.11", 6443, context=context)
if len(sys.argv) > 1:
    group = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    connection.request("POST", group, sys.argv[1], {"Content-Type": "application/json"})
else:
    connection.request("GET", "/readyz")
print(connection.getresponse().status)
"""
"""What `kubeadm init` makes once the API server is there."""


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """kubeadm's certificates and command lines, as units; all of them run and are ready."""
    if reason := unavailable():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("live")
    (folder / "container").mkdir()
    made = KubeadmNode(folder / "kubernetes").make()
    binds = {f"/opt/bin/{each}": ensure(each) for each in PROGRAMS}
    with Container(folder / "container", "certrotd-init", binds=binds) as container:
        container.run("ip", "address", "add", "10.0.0.11/32", "dev", "lo")
        shutil.copytree(made.folder, container.path("/etc/kubernetes"))
        for program in PROGRAMS:
            container.add_unit(f"{program}.service", unit_of(made, program))
        container.run("systemctl", "start", *PROGRAMS)
        until_ready(container)
        yield container


def unit_of(made: KubeadmNode, program: str) -> str:
    """Return a unit with the command line of kubeadm's manifest."""
    manifest = yaml.safe_load((made.manifests / f"{program}.yaml").read_text())
    words = manifest["spec"]["containers"][0]["command"][1:]
    arguments = " \\\n  ".join(f"'{each}'" for each in words)
    arguments = arguments.replace(str(made.folder), "/etc/kubernetes")
    kind = "notify" if program in ("etcd", "kube-apiserver") else "exec"
    # What ends needs etcd to end well, so etcd is started first and ends last.
    after = "" if program == "etcd" else "After=etcd.service\n"
    return (
        f"[Unit]\n{after}StartLimitIntervalSec=0\n[Service]\nType={kind}\nTimeoutStopSec=15\n"
        "Restart=always\nRestartSec=1\n"
        f"ExecStart=/opt/bin/{program} {arguments}\n"
    )


def until_ready(container: Container) -> None:
    end = time.monotonic() + READY
    while time.monotonic() < end:
        try:
            if container.run_python(ALLOW).strip() == "200":
                break
        except AssertionError:
            time.sleep(1)
    assert container.run_python(ALLOW, json.dumps(CLUSTER_ADMINS)).strip() in ("201", "409")


def test_what_init_writes_rotates_the_whole_plane_with_every_proof_and_gate(
    master: Container,
) -> None:
    written = master.run(
        *("certrotd", "config", "init", "--from-systemd", "--issuer", "ca"),
        *("--output-file", CONFIG),
    ).stdout
    assert "5 components, 11 certificates" in written
    before = master.path(CONFIG).read_text()
    served = [master.property(each, "NRestarts") for each in PROGRAMS]
    done = master.run("certrotd", "rotate", "--yes", "--force", "-o", "json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    results = {each["component"]: each["result"] for each in report["steps"]}
    assert results == dict.fromkeys((*PROGRAMS, "admin"), "done")
    status = json.loads(master.run("certrotd", "status", "-o", "json").stdout)
    assert all(each["served"] is not False for each in status["certificates"])
    assert [master.property(each, "NRestarts") for each in PROGRAMS] == served
    again = master.run("certrotd", "config", "init", "--from-systemd", "--issuer", "ca").stdout
    assert again == before
    assert not json.loads(master.run("certrotd", "plan", "-o", "json").stdout)["steps"]
