"""The rows of kube-apiserver."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from certrotd.core.model import OutputKind
from tests.matrix import tokens
from tests.matrix.case import FileCase, MemoryCase
from tests.matrix.components import serving
from tests.matrix.looking import PASSED_ON, known, served
from tests.matrix.publishing import bundle, client_spec, leaf
from tests.testbed.inventory import APISERVER, HOST, Domain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.matrix.bed import Bed
    from tests.matrix.case import Case
    from tests.matrix.publishing import Edition, Material
    from tests.matrix.witness import Witness

_LOOPBACK = "apiserver-loopback-client"
_CONFIG_MAP = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
_EVENTS = "/api/v1/namespaces/default/events?limit=1&timeout=3s"
_GROUP = "witness.example"


def cases(bed: Bed) -> Iterator[Case]:
    """All that one API server can show."""
    yield from serving(bed, APISERVER)
    yield from _authorities(bed)
    yield _kubelet_client(bed)
    yield from _etcd(bed)
    yield _front_proxy(bed)
    yield _service_account_keys(bed)
    yield MemoryCase(
        program=APISERVER,
        material="loopback",
        evidence=f"the leaf served for the name {_LOOPBACK}",
        shown=lambda: served(bed.plane.ports.apiserver, _LOOPBACK),
    )


def _authorities(bed: Bed) -> Iterator[Case]:
    port = bed.plane.ports.apiserver

    def published(edition: Edition, key: str) -> bool:
        data = bed.plane.client().request("GET", _CONFIG_MAP)["data"]
        return edition.authority.certificate.decode() in data[key]

    def knows(edition: Edition) -> bool:
        context = bed.caller.context(edition.authority, "somebody")
        return known(port, "/api", context) and published(edition, "client-ca-file")

    def believes(edition: Edition) -> bool:
        context = bed.caller.context(edition.authority, "front-proxy-client", ())
        believed = known(port, "/api", context, PASSED_ON)
        return believed and published(edition, "requestheader-client-ca-file")

    told = "and ConfigMap extension-apiserver-authentication"
    for material, domain, flag, what, used in (
        ("client-ca", Domain.KUBERNETES, "", "with a certificate of the new CA", knows),
        ("request-header-ca", Domain.FRONT_PROXY, "requestheader-",
         "passed on by a proxy of the new CA", believes),
    ):  # fmt: skip
        files = bundle(bed.rows(APISERVER), material, bed.labs[domain])
        bed.flag(APISERVER, f"--{flag}client-ca-file={files.path(OutputKind.CA)}")
        yield FileCase(
            program=APISERVER,
            material=material,
            evidence=f"a request {what}, {told}",
            files=files,
            used=used,
        )


def make_node(bed: Bed, name: str, kubelet: Witness) -> None:
    """Have a witness taken for the kubelet of a node, and give the node a pod of the same name."""
    client = bed.plane.client()
    status = {
        "addresses": [{"type": "InternalIP", "address": HOST}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}},
    }
    body: dict[str, Any] = {"metadata": {"name": name}, "status": status}
    client.request("POST", "/api/v1/nodes", body)
    spec = {
        "nodeName": name,
        "containers": [{"name": "none", "image": "none"}],
        "tolerations": [{"operator": "Exists"}],
    }
    body = {"metadata": {"name": name}, "spec": spec}
    client.request("POST", "/api/v1/namespaces/default/pods", body)


def kubelet_path(name: str) -> str:
    """What the API server asks the kubelet of a node for: the log of its pod."""
    return f"/api/v1/namespaces/default/pods/{name}/log"


def _kubelet_client(bed: Bed) -> Case:
    lab = bed.labs[Domain.KUBERNETES]
    files = leaf(client_spec(bed.rows(APISERVER), "kubelet-client"), lab)
    bed.flag(APISERVER, f"--kubelet-client-certificate={files.path()}")
    bed.flag(APISERVER, f"--kubelet-client-key={files.path(OutputKind.KEY)}")
    kubelet = bed.witness(lab, lab)
    bed.afterwards(lambda: make_node(bed, "node-kept", kubelet))

    def used(edition: Edition) -> bool:
        return bed.get(kubelet_path("node-kept")) and kubelet.latest == edition.fingerprint

    return FileCase(
        program=APISERVER,
        material="kubelet-client",
        evidence="the client's leaf in requests to a kubelet on a kept connection",
        files=files,
        used=used,
        interval=0.5,
    )


def _etcd(bed: Bed) -> Iterator[Case]:
    """Events go to etcd through a witness, so that everything else is left alone."""
    context = bed.caller.context(bed.labs[Domain.ETCD_CLIENT], "relay")
    context.set_alpn_protocols(["h2"])
    relay = ((HOST, bed.plane.ports.etcd), context)
    front = bed.witness(bed.labs[Domain.ETCD], bed.labs[Domain.ETCD_CLIENT], relay=relay)
    bed.flag(APISERVER, f"--etcd-servers-overrides=/events#{front.url}")
    pair = leaf(client_spec(bed.rows(APISERVER), "etcd-client"), bed.labs[Domain.ETCD_CLIENT])
    bed.flag(APISERVER, f"--etcd-certfile={pair.path()}")
    bed.flag(APISERVER, f"--etcd-keyfile={pair.path(OutputKind.KEY)}")
    yield FileCase(
        program=APISERVER,
        material="etcd-client",
        evidence="the client's leaf in a new connection to etcd, the old ones cut",
        files=pair,
        used=partial(_connects, bed, front),
        interval=0.2,
    )
    authorities = bundle(bed.rows(APISERVER), "etcd-ca", bed.labs[Domain.ETCD])
    bed.flag(APISERVER, f"--etcd-cafile={authorities.path(OutputKind.CA)}")
    yield FileCase(
        program=APISERVER,
        material="etcd-ca",
        evidence="events can be read from an etcd whose certificate the new CA signed",
        files=authorities,
        used=partial(_trusts, bed, front),
        interval=1,
    )


def _connects(bed: Bed, front: Witness, edition: Edition) -> bool:
    front.drop()
    return bed.get(_EVENTS) and front.latest == edition.fingerprint


def _trusts(bed: Bed, front: Witness, edition: Edition) -> bool:
    """Whether an etcd of this CA is trusted; afterwards it is again the one it was."""
    front.present(bed.pair(edition.authority))
    front.drop()
    try:
        return bed.get(_EVENTS)
    finally:
        front.present(bed.pair(bed.labs[Domain.ETCD]))


def _front_proxy(bed: Bed) -> Case:
    lab = bed.labs[Domain.FRONT_PROXY]
    spec = client_spec(
        bed.rows(APISERVER), "front-proxy-client", common_name="front-proxy-client",
        organizations=(),
    )  # fmt: skip
    files = leaf(spec, lab)
    bed.flag(APISERVER, f"--proxy-client-cert-file={files.path()}")
    bed.flag(APISERVER, f"--proxy-client-key-file={files.path(OutputKind.KEY)}")
    extension = bed.witness(lab, lab)
    bed.afterwards(lambda: _aggregate(bed, extension))

    def used(edition: Edition) -> bool:
        return bed.get(f"/apis/{_GROUP}/v1/things") and extension.latest == edition.fingerprint

    return FileCase(
        program=APISERVER,
        material="front-proxy-client",
        evidence="the client's leaf in requests to an extension API server",
        files=files,
        used=used,
    )


def _aggregate(bed: Bed, extension: Witness) -> None:
    """Have a witness taken for the server of an API group, and wait until it is asked."""
    client = bed.plane.client()
    service = {"type": "ExternalName", "externalName": "localhost"}
    body: dict[str, Any] = {"metadata": {"name": "witness"}, "spec": service}
    client.request("POST", "/api/v1/namespaces/default/services", body)
    spec = {
        "group": _GROUP,
        "version": "v1",
        "service": {"namespace": "default", "name": "witness", "port": extension.port},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    body = {"metadata": {"name": f"v1.{_GROUP}"}, "spec": spec}
    client.request("POST", "/apis/apiregistration.k8s.io/v1/apiservices", body)
    bed.await_(f"/apis/{_GROUP}/v1/things")


def _service_account_keys(bed: Bed) -> Case:
    spec = client_spec(bed.rows(APISERVER), "service-account-keys")
    files: Material = leaf(spec, bed.labs[Domain.KUBERNETES])
    bed.flag(APISERVER, f"--service-account-key-file={files.path()}")
    bed.flag(APISERVER, f"--service-account-signing-key-file={files.path(OutputKind.KEY)}")

    def used(edition: Edition) -> bool:
        return tokens.signed_by(bed.plane.client().service_account_token("default"), edition)

    return FileCase(
        program=APISERVER,
        material="service-account-keys",
        evidence="the signature of a new token",
        files=files,
        used=used,
        interval=0.5,
    )
