"""The image as a sidecar: built from the Dockerfile, run as a kubelet runs a pod's containers."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from certrotd.adapters.ca import create_authority
from certrotd.adapters.clock import SystemClock
from tests.image.build import REPOSITORY
from tests.image.bundle import Sidecar

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.build import Image

pytestmark = pytest.mark.image

USER = 65532
PORT = 8443
PAUSE = ("sh", "-c", "echo up; exec sleep infinity")
FOLDERS = ("/empty/pki", "/empty/state")
PYTHON = "/opt/certrotd/bin/python"
SERVER = f"{PYTHON} -u /tools/tls_server.py {PORT} /pki/server.crt /pki/server.key"
"""Plays the component whose certificate is rotated; in the same image, for its Python."""


class Pod:
    """Volumes as Kubernetes makes them, a configuration, and a component's certificate in /pki."""

    def __init__(self, image: Image, directory: Path) -> None:
        self.image = image
        self.directory = directory
        self.configuration = directory / "configuration"
        self.empty = directory / "empty"
        # What a kubelet makes of an emptyDir in a pod with `fsGroup`.
        for folder, mode in ((self.configuration, 0o755), (self.empty, 0o2777)):
            folder.mkdir()
            os.chown(folder, 0, USER)
            folder.chmod(mode)
        now = SystemClock().now()
        certificate, key = create_authority("lab", now - timedelta(days=1), timedelta(days=365))
        self.write("ca.crt", certificate)
        self.write("ca.key", key.reveal(), mode=0o440)
        self.configure("server.example")
        with self.container("prepare", "mkdir", "-m", "0755", *FOLDERS) as prepare:
            assert prepare.wait() == 0, prepare.lines

    @property
    def certificate(self) -> bytes:
        """The published certificate."""
        return (self.empty / "pki" / "server.crt").read_bytes()

    def write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file of a ConfigMap or a Secret: root's, readable by the pod's group."""
        path = self.configuration / name
        path.touch(mode)
        path.write_bytes(content)
        os.chown(path, 0, USER)

    def configure(self, dns_name: str) -> None:
        """Write a configuration; another name than before makes the certificate due."""
        server: dict[str, Any] = {
            "activation": {"signal": {"pidfile": "/pki/server.pid"}},
            "proofs": [{"tls": {"address": f"127.0.0.1:{PORT}", "certificate": "server"}}],
            "certificates": {
                "server": {
                    "issuer": "lab",
                    "common_name": "server.example",
                    "dns_names": [dns_name],
                    "usages": ["digital signature", "server auth"],
                    "outputs": [
                        {"certificate": "/pki/server.crt"},
                        {"key": "/pki/server.key"},
                    ],
                }
            },
        }
        ca = {"certificate": "/etc/certrotd/ca.crt", "key": "/etc/certrotd/ca.key"}
        config = {
            "defaults": {"owner": USER, "group": USER},
            "issuers": {"lab": {"ca": ca}},
            "components": {"server": server},
        }
        self.write("certrotd.yaml", yaml.safe_dump(config).encode())

    def container(self, name: str, *arguments: str, beside: Sidecar | None = None) -> Sidecar:
        """A container of the pod; without arguments as the image says."""
        tools = REPOSITORY / "tests" / "systemd"
        volumes = {self.empty: "/empty", self.configuration: "/etc/certrotd", tools: "/tools"}
        # Mounted by subPath, once they are there.
        paths = {self.empty / "pki": "/pki", self.empty / "state": "/var/lib/certrotd"}
        return Sidecar(
            image=self.image,
            name=name,
            directory=self.directory / f"container-{name}",
            volumes=volumes | {path: at for path, at in paths.items() if path.exists()},
            arguments=arguments or None,
            beside=beside,
        )


@pytest.fixture
def pod(image: Image, tmp_path: Path) -> Pod:
    return Pod(image, tmp_path)


def test_the_image_says_how_it_is_run(image: Image) -> None:
    assert image.config["User"] == f"{USER}:{USER}"
    assert (image.config["Entrypoint"], image.config["Cmd"]) == (["certrotd"], ["run"])
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_image_holds_what_runs_and_not_what_built_it(image: Image) -> None:
    environment = image.root / "opt" / "certrotd"
    packages = {
        each.name for each in next(environment.glob("lib/python3*/site-packages")).iterdir()
    }
    assert {"certrotd", "cryptography", "hvac", "kubernetes", "apscheduler"} <= packages
    assert not {"pip", "setuptools", "hatchling", "pytest"} & packages
    assert not (image.root / "build").exists()


def test_everything_is_byte_compiled(image: Image) -> None:
    packages = next((image.root / "opt" / "certrotd").glob("lib/python3*/site-packages"))
    bare = [
        source
        for source in (packages / "certrotd").rglob("*.py")
        if not list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"))
    ]
    assert bare == []


def test_every_package_it_may_need_can_be_imported(pod: Pod) -> None:
    code = "import hvac, apscheduler, kubernetes.client, kubernetes.config; print('all there')"
    with pod.container("imports", PYTHON, "-c", code) as container:
        container.await_line("all there")


def test_an_init_container_bootstraps_and_a_sidecar_rotates_beside_its_component(
    pod: Pod,
) -> None:
    with pod.container("init", "certrotd", "rotate", "--yes") as init:
        assert init.wait() == 0, init.lines
    first = pod.certificate
    command = f"echo $$ >/pki/server.pid; exec {SERVER}"
    with ExitStack() as running:
        pause = running.enter_context(pod.container("pause", *PAUSE))
        pause.await_line("up")
        server = running.enter_context(pod.container("server", "sh", "-c", command, beside=pause))
        server.await_line("listening")
        pod.configure("other.example")
        sidecar = running.enter_context(pod.container("certrotd", beside=pause))
        sidecar.await_line("component_proven")
        sidecar.await_line("run_finished")
        assert pod.certificate != first
        kind, check = pod.image.config["Healthcheck"]["Test"]
        healthy = sidecar.run("sh", "-c", check)
        assert (kind, healthy.returncode) == ("CMD-SHELL", 0), healthy.stdout + healthy.stderr
        assert sidecar.stop() == 0
        assert "daemon_stopped" in sidecar.lines[-1]


def test_a_faulty_configuration_ends_the_container_with_the_documented_code(pod: Pod) -> None:
    pod.write("certrotd.yaml", b"componets: {}\n")
    with pod.container("faulty") as container:
        assert container.wait() == 3
    assert "/etc/certrotd/certrotd.yaml:1" in "".join(container.lines)
