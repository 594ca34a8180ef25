"""What static pods need to know of the kubelet that runs them; its certificates are its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.discovery import commandline, tree, unitfile
from certrotd.discovery.commandline import Word

if TYPE_CHECKING:
    from certrotd.ports import Node

_CONFIGURATIONS = ("/var/lib/kubelet/instance-config.yaml", "/var/lib/kubelet/config.yaml")
"""kubeadm writes both from 1.32 on, what is special to this node into the first."""
_FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
_DEFAULTS = {"staticPodPath": "/etc/kubernetes/manifests", "healthzPort": "10248"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubelet:
    """Where it reads manifests, the runtime's CRI socket, and where it answers `/healthz`.

    `runtime_endpoint` is empty where it does not say, `health` where it does not answer.
    """

    manifests: str
    runtime_endpoint: str
    health: str


def kubelet(node: Node) -> Kubelet:
    """Read the kubelet's configuration; what it does not say is as kubeadm has it."""
    said = dict(_DEFAULTS)
    for path in reversed(_CONFIGURATIONS):
        said.update(_configuration(node, path))
    endpoint = _flags(node).get("--container-runtime-endpoint")
    endpoint = endpoint or said.get("containerRuntimeEndpoint", "")
    port = said["healthzPort"]
    return Kubelet(
        manifests=said["staticPodPath"],
        runtime_endpoint=endpoint.removeprefix("unix://"),
        health=f"127.0.0.1:{port}" if port not in ("", "0") else "",
    )


def _configuration(node: Node, path: str) -> dict[str, str]:
    """Return the plain settings of a file; none where it is not, or not for us to read."""
    try:
        return {key: value.text for key, value in tree.flattened(tree.parse(node.read(path)))}
    except (OSError, tree.NoYaml):
        return {}  # the kubelet's files are not ours to judge; kubeadm's defaults hold


def _flags(node: Node) -> dict[str, str]:
    try:
        text = node.read(_FLAGS).decode(errors="replace")
    except OSError:
        return {}  # as above
    arguments = unitfile.environment_file(text).get("KUBELET_KUBEADM_ARGS", "")
    found = commandline.flags(map(Word, arguments.split()))
    return {name: words[-1].text for name, words in found.words.items()}
