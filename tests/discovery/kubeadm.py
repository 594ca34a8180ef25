"""A node as the pinned kubeadm makes it: certificates, kubeconfigs and manifests in a folder."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from tests.testbed.build import ensure

if TYPE_CHECKING:
    from pathlib import Path

INIT: dict[str, Any] = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "InitConfiguration",
    "localAPIEndpoint": {"advertiseAddress": "10.0.0.11", "bindPort": 6443},
    "nodeRegistration": {"name": "master-1"},
}
CLUSTER: dict[str, Any] = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "ClusterConfiguration",
    "kubernetesVersion": "v1.37.2",
    "encryptionAlgorithm": "ECDSA-P256",  # much quicker to make than RSA
    "networking": {"serviceSubnet": "10.96.0.0/16", "podSubnet": "10.244.0.0/16"},
}


class KubeadmNode:
    """`/etc/kubernetes` of a master, elsewhere: `folder` stands for it in every manifest.

    kubeadm has no switch for where kubeconfigs and manifests lie, so manifests are asked for as a
    dry run and their paths are moved; everything else in them is its own.
    """

    def __init__(
        self,
        folder: Path,
        cluster: dict[str, Any] | None = None,
        init: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.manifests = folder / "manifests"
        self.manifests.mkdir(parents=True)
        self.pki = folder / "pki"
        self._settings = folder.parent / f"{folder.name}.kubeadm.yaml"
        self._settings.write_text(
            yaml.safe_dump_all(
                [
                    {**INIT, **(init or {})},
                    {**CLUSTER, "certificatesDir": str(self.pki), **(cluster or {})},
                ]
            )
        )

    def make(self, *, etcd: bool = True) -> KubeadmNode:
        """Run kubeadm's phases."""
        self._phase("certs", "all")
        self._phase("kubeconfig", "all", "--kubeconfig-dir", str(self.folder))
        self._phase("control-plane", "all", "--dry-run")
        if etcd:
            self._phase("etcd", "local", "--dry-run")
        for file in self.manifests.iterdir():
            text = file.read_text()
            for name in ("controller-manager.conf", "scheduler.conf"):
                text = text.replace(f"/etc/kubernetes/{name}", str(self.folder / name))
            file.write_text(text)
        return self

    def copied(self, folder: Path) -> KubeadmNode:
        """Return the same node in another folder, to be spoilt."""
        shutil.copytree(self.folder, folder)
        other = copy.copy(self)
        other.folder, other.manifests, other.pki = folder, folder / "manifests", folder / "pki"
        for file in other.manifests.iterdir():
            file.write_text(file.read_text().replace(str(self.folder), str(folder)))
        return other

    def edit(self, manifest: str, old: str, new: str) -> None:
        """Replace text in a manifest; it must be there."""
        file = self.manifests / f"{manifest}.yaml"
        text = file.read_text()
        assert old in text, text
        file.write_text(text.replace(old, new))

    def line(self, manifest: str, text: str) -> int:
        """Return the line a text first stands in."""
        lines = (self.manifests / f"{manifest}.yaml").read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)

    def _phase(self, *arguments: str) -> None:
        done = subprocess.run(
            [ensure("kubeadm"), "init", "phase", *arguments, "--config", self._settings],
            env={"PATH": os.environ["PATH"], "KUBEADM_INIT_DRYRUN_DIR": str(self.manifests)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
