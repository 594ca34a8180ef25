"""The rows that only kube-controller-manager has: what it signs and what it hands out."""

from __future__ import annotations

import base64
import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography import x509 as cx
from cryptography.exceptions import InvalidSignature

from certrotd.adapters.ca import create_authority
from certrotd.core import x509
from certrotd.core.model import OutputKind, Verified
from tests.matrix import tokens
from tests.matrix.case import FileCase
from tests.matrix.publishing import CLOCK, LIFE, Edition, Material, bundle, client_spec, leaf
from tests.testbed.inventory import CONTROLLER_MANAGER, Domain
from tests.testbed.throwaway import signing_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.matrix.bed import Bed
    from tests.matrix.case import Case

_CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_SECRETS = "/api/v1/namespaces/default/secrets"
_ROOT_CA = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"
_TIME_LIMIT = 30.0
_number = itertools.count()


def cases(bed: Bed) -> Iterator[Case]:
    """All three."""
    yield _cluster_signing(bed)
    yield _root_ca(bed)
    yield _service_account_key(bed)


def _cluster_signing(bed: Bed) -> Case:
    spec = client_spec(bed.rows(CONTROLLER_MANAGER), "signing", common_name="cluster signing")
    spec = replace(spec, outputs=spec.outputs[:2])

    def make(_: Edition | None) -> Edition:
        now = CLOCK.now()
        pem, key = create_authority("cluster signing", now, LIFE)
        verified = Verified(
            spec=spec,
            leaf=x509.parse_certificate(pem),
            chain=(pem,),
            anchors=(pem,),
            private_key=key,
            issued_at=now,
        )
        return Edition(verified, bed.labs[Domain.KUBERNETES])

    files = Material(spec, make)
    bed.flag(CONTROLLER_MANAGER, f"--cluster-signing-cert-file={files.path()}")
    bed.flag(CONTROLLER_MANAGER, f"--cluster-signing-key-file={files.path(OutputKind.KEY)}")
    return FileCase(
        program=CONTROLLER_MANAGER,
        material="cluster-signing",
        evidence="who signed the answer to a CSR",
        files=files,
        used=lambda edition: _signs(bed, edition),
        interval=0.1,
    )


def _signs(bed: Bed, edition: Edition) -> bool:
    """Have a CSR signed; whether the CA of this edition did it."""
    client = bed.plane.client()
    path = f"{_CSRS}/matrix-{next(_number)}"
    csr = {
        "metadata": {"name": path.rpartition("/")[2]},
        "spec": {
            "request": base64.b64encode(signing_request("somebody")[0]).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["digital signature", "client auth"],
        },
    }
    made = client.request("POST", _CSRS, csr)
    approval = {"type": "Approved", "status": "True", "reason": "Matrix", "message": ""}
    client.request("PUT", f"{path}/approval", made | {"status": {"conditions": [approval]}})
    answer = _awaited(lambda: client.request("GET", path)["status"].get("certificate"))
    signed = cx.load_pem_x509_certificate(base64.b64decode(answer))
    try:
        signed.verify_directly_issued_by(cx.load_pem_x509_certificate(edition.verified.leaf.pem))
    except InvalidSignature:
        return False
    return True


def _root_ca(bed: Bed) -> Case:
    files = bundle(bed.rows(CONTROLLER_MANAGER), "root-ca", bed.labs[Domain.KUBERNETES])
    bed.flag(CONTROLLER_MANAGER, f"--root-ca-file={files.path(OutputKind.CA)}")

    def used(edition: Edition) -> bool:
        published = bed.plane.client().request("GET", _ROOT_CA)["data"]["ca.crt"]
        return edition.authority.certificate.decode() in published

    return FileCase(
        program=CONTROLLER_MANAGER,
        material="root-ca",
        evidence="ConfigMap kube-root-ca.crt",
        files=files,
        used=used,
        interval=0.2,
    )


def _service_account_key(bed: Bed) -> Case:
    spec = client_spec(bed.rows(CONTROLLER_MANAGER), "service-account-keys")
    files = leaf(spec, bed.labs[Domain.KUBERNETES])
    key = files.path(OutputKind.KEY)
    bed.flag(CONTROLLER_MANAGER, f"--service-account-private-key-file={key}")
    return FileCase(
        program=CONTROLLER_MANAGER,
        material="service-account-keys",
        evidence="the signature of a token in a new Secret",
        files=files,
        used=lambda edition: tokens.signed_by(_token(bed), edition),
        interval=0.5,
    )


def _token(bed: Bed) -> str:
    """A token that kube-controller-manager puts into a Secret."""
    client = bed.plane.client()
    name = f"token-{next(_number)}"
    metadata = {"name": name, "annotations": {"kubernetes.io/service-account.name": "default"}}
    secret = {"metadata": metadata, "type": "kubernetes.io/service-account-token"}
    client.request("POST", _SECRETS, secret)
    path = f"{_SECRETS}/{name}"
    return base64.b64decode(
        _awaited(lambda: client.request("GET", path).get("data", {}).get("token"))
    ).decode()


def _awaited(look: Callable[[], Any]) -> str:
    """What a controller adds; OSError if it does not."""
    end = time.monotonic() + _TIME_LIMIT
    while time.monotonic() < end:
        if found := look():
            return str(found)
        time.sleep(0.05)
    raise TimeoutError("no controller did its work")
