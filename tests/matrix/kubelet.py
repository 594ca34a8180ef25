"""The rows of the kubelet that it reads itself, on a node with containerd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certrotd.core.model import OutputKind
from tests.matrix.case import FileCase
from tests.matrix.looking import Caller, known, served
from tests.matrix.publishing import authority, bundle, leaf, server_spec
from tests.testbed.staticpods import ADDRESS, StaticPodNode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.matrix.case import Case
    from tests.matrix.publishing import Edition, Material

PORT = 10250
_INSIDE = "/etc/kubernetes/matrix"


class KubeletBed:
    """A node whose kubelet reads certrotd's files; `node` is a context manager."""

    def __init__(self, directory: Path) -> None:
        node = directory / "node"
        self._files = StaticPodNode(node).kubernetes / "matrix"
        self._caller = Caller(directory / "callers")
        self._serving = leaf(server_spec(self._files, "serving"), authority("kubelets"))
        self._clients = bundle(self._files, "client-ca", authority("clients of kubelets"))
        arguments = (
            f"--tls-cert-file={self._inside(self._serving)}",
            f"--tls-private-key-file={self._inside(self._serving, OutputKind.KEY)}",
            f"--client-ca-file={self._inside(self._clients, OutputKind.CA)}",
        )
        self.node = StaticPodNode(node, arguments)

    def cases(self) -> tuple[Case, ...]:
        """Both rows."""
        return (
            FileCase(
                program="kubelet",
                material="serving",
                evidence="the leaf served to a client that calls it by its address",
                files=self._serving,
                used=self._serves,
            ),
            FileCase(
                program="kubelet",
                material="client-ca",
                evidence="a request with a certificate of the new CA",
                files=self._clients,
                used=self._knows,
            ),
        )

    def _inside(self, files: Material, kind: OutputKind = OutputKind.CERTIFICATE) -> str:
        return files.path(kind).replace(str(self._files), _INSIDE)

    def _serves(self, edition: Edition) -> bool:
        return self.node.namespaces.call(served, PORT, host=ADDRESS) == edition.fingerprint

    def _knows(self, edition: Edition) -> bool:
        context = self._caller.context(edition.authority, "somebody")
        return self.node.namespaces.call(known, PORT, "/healthz", context, host=ADDRESS)
