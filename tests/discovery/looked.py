"""A kubeadm node looked at, as `certrotd config init` does."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import yaml

from certrotd.adapters.node import LocalNode
from certrotd.config import load
from certrotd.discovery import pods
from certrotd.discovery.document import Wishes, document
from certrotd.discovery.survey import survey

if TYPE_CHECKING:
    from pathlib import Path

    from certrotd.config import Config
    from certrotd.discovery.inventory import Inventory
    from tests.discovery.kubeadm import KubeadmNode


class Elsewhere(LocalNode):
    """This machine with another kubelet: `files` are all there is in /var/lib/kubelet."""

    def __init__(self, **files: str) -> None:
        self._files = {f"/var/lib/kubelet/{name}": text for name, text in files.items()}

    def read(self, path: str) -> bytes:
        if path in self._files:
            return self._files[path].encode()
        if path.startswith("/var/lib/kubelet/"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return super().read(path)


def look(node: KubeadmNode, local: LocalNode | None = None) -> Inventory:
    """Return what is found."""
    local = local or Elsewhere()
    processes, notes = pods.processes(local, str(node.manifests))
    return survey(local, processes, (str(node.folder),), notes)


def text_of(node: KubeadmNode, **wishes: Any) -> str:
    """Return the configuration file."""
    return document(look(node), Wishes(**wishes))


def data_of(node: KubeadmNode, **wishes: Any) -> Any:
    """Return the configuration as plain data."""
    return yaml.safe_load(text_of(node, **wishes))


def words_of(node: KubeadmNode, **wishes: Any) -> str:
    """Return the configuration file in one line, to look for what its comments say."""
    return " ".join(text_of(node, **wishes).replace("#", " ").split())


def loaded(node: KubeadmNode, folder: Path, **wishes: Any) -> Config:
    """Write the configuration and load it; its state lies in `folder`."""
    path = folder / "certrotd.yaml"
    path.write_text(f"state_directory: {folder}/state\n{text_of(node, **wishes)}")
    return load(path)
