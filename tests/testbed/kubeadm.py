"""What the pinned kubeadm makes of a node: certificates, kubeconfigs, static pod manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tests.testbed.build import ensure
from tests.testbed.catalogue import SERVERS
from tests.testbed.containerd import SOCKET
from tests.testbed.inventory import APISERVER, CONTROLLER_MANAGER, ETCD, NODE, SCHEDULER

if TYPE_CHECKING:
    from tests.testbed.namespaces import Namespaces

MANIFESTS = "/etc/kubernetes/manifests"
REPOSITORY = "registry.k8s.io"
_VERSION = f"v{SERVERS[APISERVER].version}"
_ETCD_TAG = f"{SERVERS[ETCD].version}-0"
_PHASES = (("certs", "all"), ("kubeconfig", "all"), ("control-plane", "all"), ("etcd", "local"))
_CONFIG = "/etc/kubernetes/kubeadm.yaml"
_API = "kubeadm.k8s.io/v1beta4"

IMAGES = {
    ETCD: f"{REPOSITORY}/etcd:{_ETCD_TAG}",
    **{
        name: f"{REPOSITORY}/{name}:{_VERSION}"
        for name in (APISERVER, CONTROLLER_MANAGER, SCHEDULER)
    },
}
"""Names that the manifests give to the images of the components."""


def initialise(namespaces: Namespaces) -> None:
    """Make everything below /etc/kubernetes, as `kubeadm init` does before the kubelet starts."""
    node = {
        "apiVersion": _API,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": namespaces.address, "bindPort": 6443},
        "nodeRegistration": {"name": NODE, "criSocket": f"unix://{SOCKET}", "taints": []},
    }
    cluster = {
        "apiVersion": _API,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": _VERSION,
        "imageRepository": REPOSITORY,
        "etcd": {
            "local": {
                "imageTag": _ETCD_TAG,
                # The data outlives a killed process, which is all tests need.
                "extraArgs": [{"name": "unsafe-no-fsync", "value": "true"}],
            }
        },
    }
    config = namespaces.path(_CONFIG)
    config.write_text(yaml.safe_dump_all((node, cluster)))
    kubeadm = ensure("kubeadm")
    for phase in _PHASES:
        namespaces.run(kubeadm, "init", "phase", *phase, f"--config={_CONFIG}")
