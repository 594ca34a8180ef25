"""The rows of the kubelet that it reads itself, on a node with containerd."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Self

from certrotd.core.model import OutputKind, Secret
from tests.matrix.case import FileCase
from tests.matrix.components import kubeconfig_spec
from tests.matrix.looking import Caller, known, served
from tests.matrix.publishing import authority, bundle, leaf, server_spec, write_pair
from tests.matrix.witness import Witness
from tests.testbed.inventory import NODE
from tests.testbed.staticpods import ADDRESS, PORTS, StaticPodNode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.factories import Lab
    from tests.matrix.case import Case
    from tests.matrix.publishing import Edition, Material

PORT = 10250
_USER = f"system:node:{NODE}"
_INSIDE = "/etc/kubernetes/matrix"
_RECONNECTS = 20.0
"""Seconds in which a kubelet that lost its connections comes back, if it trusts the server."""
_DEADLINE = 120.0


class KubeletBed:
    """A node whose kubelet reads certrotd's files; `node` is a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = Node(directory / "node").kubernetes / "matrix"
        self._caller = Caller(directory / "callers")
        self._serving = leaf(server_spec(self._files, "serving"), authority("kubelets"))
        self._clients = bundle(self._files, "client-ca", authority("clients of kubelets"))
        self._arguments = (
            f"--tls-cert-file={self._inside(self._serving)}",
            f"--tls-private-key-file={self._inside(self._serving, OutputKind.KEY)}",
            f"--client-ca-file={self._inside(self._clients, OutputKind.CA)}",
        )
        self.node = Node(directory / "node", self._arguments)

    def cases(self) -> tuple[Case, ...]:
        """What it serves, and to whom."""
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

    def kubeconfig(self) -> KubeconfigBed:
        """The same node, and a witness between its kubelet and its API server."""
        return KubeconfigBed(self._directory / "kubeconfig", self.node, self._arguments)

    def _inside(self, files: Material, kind: OutputKind = OutputKind.CERTIFICATE) -> str:
        return files.path(kind).replace(str(self._files), _INSIDE)

    def _serves(self, edition: Edition) -> bool:
        return self.node.namespaces.call(served, PORT, host=ADDRESS) == edition.fingerprint

    def _knows(self, edition: Edition) -> bool:
        context = self._caller.context(edition.authority, "somebody")
        return self.node.namespaces.call(known, PORT, "/healthz", context, host=ADDRESS)


class KubeconfigBed:
    """A running node whose kubelet calls the API server through a witness; a context manager."""

    def __init__(self, directory: Path, node: Node, arguments: tuple[str, ...]) -> None:
        self._directory = directory
        self._node = node
        self._lab = authority("API server")
        self._pairs = itertools.count()
        self._authorities = bundle(directory, "kubeconfig-ca", self._lab)
        self.front = self._witness(_kubeadm(node))
        spec = kubeconfig_spec(
            directory, "identity", _USER, embed=False, server=self.front.url,
            ca_file=self._authorities.path(OutputKind.CA),
        )  # fmt: skip
        self._identity = leaf(spec, self._lab)
        kubeconfig = self._identity.path(OutputKind.KUBECONFIG)
        self._arguments = (*arguments, f"--kubeconfig={kubeconfig}")

    def authority_cases(self) -> tuple[Case, ...]:
        """Have the kubelet rotate its client certificate itself, as kubeadm does."""
        self.restart()
        return (
            FileCase(
                program="kubelet",
                material="kubeconfig-ca",
                evidence="an API server whose certificate the new CA signed is called "
                "(rotateCertificates: true)",
                files=self._authorities,
                used=self._trusts,
                interval=1,
            ),
        )

    def pair_cases(self) -> tuple[Case, ...]:
        """Have it use the pair that its kubeconfig names."""
        self._arguments = (*self._arguments, "--rotate-certificates=false")
        self.restart()
        return (
            FileCase(
                program="kubelet",
                material="kubeconfig-pair",
                evidence="the client's leaf in connections to the API server "
                "(rotateCertificates: false)",
                files=self._identity,
                used=lambda edition: self.front.latest == edition.fingerprint,
                interval=0.5,
            ),
        )

    def restart(self) -> None:
        """End the kubelet, start it, and wait until it has called."""
        before = len(self.front.seen)
        self._node.restart_kubelet(self._arguments)
        assert self._called(before, _DEADLINE), "the kubelet does not call the API server"

    def _witness(self, kubernetes: Lab) -> Witness:
        """Made inside, where it listens; it passes on as the node itself."""
        caller = Caller(self._directory / "callers")
        context = caller.context(kubernetes, _USER, ("system:nodes",))
        context.set_alpn_protocols(["h2"])
        inside = self._node.namespaces
        return inside.call(
            Witness,
            self._pair(self._lab),
            (*self._lab.anchors, *kubernetes.anchors),
            relay=(PORTS["kube-apiserver"], context),
            enter=inside.enter_network,
        )

    def _trusts(self, edition: Edition) -> bool:
        """Whether an API server of this CA is called; afterwards it is again the one it was."""
        self.front.present(self._pair(edition.authority))
        before = len(self.front.seen)
        self.front.drop()
        called = self._called(before, _RECONNECTS)
        self.front.present(self._pair(self._lab))
        return called

    def _called(self, before: int, limit: float) -> bool:
        end = time.monotonic() + limit
        while len(self.front.seen) <= before:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def _pair(self, lab: Lab) -> tuple[str, str]:
        name = f"pair-{next(self._pairs)}"
        return write_pair(lab, server_spec(self._directory / "witness", name))

    def __enter__(self) -> Self:
        self.front.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.front.__exit__()


class Node(StaticPodNode):
    """A node whose kubelet can be started anew with other arguments."""

    def restart_kubelet(self, arguments: tuple[str, ...]) -> None:
        """End it and start it; the pods go on."""
        self.kubelet.kill()
        self._kubelet_arguments = arguments
        self._start_kubelet()


def _kubeadm(node: StaticPodNode) -> Lab:
    """The CA that kubeadm made."""
    lab = authority("kubeadm")
    lab.certificate = (node.kubernetes / "pki" / "ca.crt").read_bytes()
    lab.key = Secret((node.kubernetes / "pki" / "ca.key").read_bytes())
    lab.anchors, lab.signer = (lab.certificate,), (lab.certificate, lab.key)
    return lab
