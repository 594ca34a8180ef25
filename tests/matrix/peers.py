"""The row of kube-apiserver that needs a peer of another version: a witness plays it."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from certrotd.core.model import OutputKind
from tests.matrix.bed import LEASES
from tests.matrix.case import FileCase
from tests.matrix.etcd import etcdctl
from tests.matrix.publishing import CLOCK, bundle
from tests.testbed.inventory import APISERVER, HOST, Domain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.matrix.bed import Bed
    from tests.matrix.case import Case
    from tests.matrix.publishing import Edition
    from tests.matrix.witness import Answer, Witness

_PEER = "apiserver-witness"
_GROUP = "peer.example"
_PATH = f"/apis/{_GROUP}/v1/things"
"""A resource that the peer has and the API server has not, so that it passes requests on."""


def cases(bed: Bed) -> Iterator[Case]:
    """The CA of peers."""
    files = bundle(bed.rows(APISERVER), "peer-ca", bed.labs[Domain.KUBERNETES])
    bed.flag(APISERVER, f"--peer-ca-file={files.path(OutputKind.CA)}")
    lab = bed.labs[Domain.KUBERNETES]
    peer = bed.witness(lab, bed.labs[Domain.FRONT_PROXY], answer=_discovery)
    bed.afterwards(lambda: _introduce(bed, peer))
    yield FileCase(
        program=APISERVER,
        material="peer-ca",
        evidence="a request is passed on to a peer whose certificate the new CA signed",
        files=files,
        used=partial(_trusts, bed, peer),
        interval=1,
    )


def _discovery(_method: str, path: str, _body: bytes) -> Answer:
    thing = {
        "resource": "things",
        "responseKind": {"group": _GROUP, "version": "v1", "kind": "Thing"},
        "scope": "Cluster",
        "verbs": ["list"],
    }
    group = {
        "metadata": {"name": _GROUP},
        "versions": [{"version": "v1", "resources": [thing], "freshness": "Current"}],
    }
    items = [group] if path.startswith("/apis") else []
    return 200, {
        "apiVersion": "apidiscovery.k8s.io/v2",
        "kind": "APIGroupDiscoveryList",
        "items": items,
    }


def _introduce(bed: Bed, peer: Witness) -> None:
    """Leave in etcd and the API what an API server leaves for its peers."""
    subset = {"addresses": [{"ip": HOST}], "ports": [{"port": peer.port}]}
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": _PEER, "labels": {"apiserverIdentity": _PEER}},
        "subsets": [subset],
    }
    etcdctl(bed, "put", f"/registry/peerserverleases/{_PEER}", json.dumps(endpoints))
    lease: dict[str, Any] = {
        "metadata": {
            "name": _PEER,
            "labels": {"apiserver.kubernetes.io/identity": APISERVER},
        },
        "spec": {
            "holderIdentity": _PEER,
            "leaseDurationSeconds": 36000,
            "renewTime": f"{CLOCK.now():%Y-%m-%dT%H:%M:%S.%fZ}",
        },
    }
    bed.plane.client().request("POST", LEASES, lease)
    bed.await_(_PATH)


def _trusts(bed: Bed, peer: Witness, edition: Edition) -> bool:
    """Whether a peer of this CA is trusted; afterwards it is again the one it was."""
    peer.present(bed.pair(edition.authority))
    peer.drop()
    try:
        return bed.get(_PATH)
    finally:
        peer.present(bed.pair(bed.labs[Domain.KUBERNETES]))
