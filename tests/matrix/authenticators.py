"""The rows of kube-apiserver about those whom it asks who somebody is."""

from __future__ import annotations

import base64
import itertools
import json
import time
from functools import partial
from typing import TYPE_CHECKING

from certrotd.core.model import OutputKind
from tests.matrix.case import FileCase
from tests.matrix.components import kubeconfig_spec
from tests.matrix.looking import anyone, status
from tests.matrix.publishing import CLOCK, Edition, Material, bundle
from tests.testbed.inventory import APISERVER, Domain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.matrix.bed import Bed
    from tests.matrix.case import Case
    from tests.matrix.witness import Answer, Witness

_CLIENT = "kubernetes"
_number = itertools.count()


def cases(bed: Bed) -> Iterator[Case]:
    """An OpenID Connect provider and a webhook."""
    yield _provider(bed)
    yield _webhook(bed)


def _provider(bed: Bed) -> Case:
    lab = bed.labs[Domain.KUBERNETES]
    files = bundle(bed.rows(APISERVER), "oidc-ca", lab)
    provider = bed.witness(lab, lab)
    provider.answer = partial(_discovery, provider.url)
    bed.flag(APISERVER, f"--oidc-issuer-url={provider.url}", f"--oidc-client-id={_CLIENT}")
    bed.flag(APISERVER, f"--oidc-ca-file={files.path(OutputKind.CA)}")
    return FileCase(
        program=APISERVER,
        material="oidc-ca",
        evidence="a provider whose certificate the new CA signed is asked for its keys",
        files=files,
        used=partial(_trusts, bed, provider),
        interval=1,
    )


def _discovery(url: str, _method: str, path: str, _body: bytes) -> Answer:
    """OpenID Connect Discovery 1.0 section 4.2; there are no keys."""
    if path != "/.well-known/openid-configuration":
        return 200, {"keys": []}
    algorithms = {"id_token_signing_alg_values_supported": ["RS256"]}
    return 200, {"issuer": url, "jwks_uri": f"{url}/keys"} | algorithms


def _trusts(bed: Bed, provider: Witness, edition: Edition) -> bool:
    """Whether a provider of this CA is asked; afterwards it is again the one it was."""
    provider.present(bed.pair(edition.authority))
    provider.drop()
    before = len(provider.seen)
    claims = {"iss": provider.url, "aud": _CLIENT, "sub": "x", "exp": int(time.time()) + 600}
    _ask(bed, f"{_part({'alg': 'RS256', 'kid': str(next(_number))})}.{_part(claims)}.c2lnbmF0dXJl")
    asked = len(provider.seen) > before
    provider.present(bed.pair(bed.labs[Domain.KUBERNETES]))
    return asked


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def _ask(bed: Bed, token: str) -> None:
    """Show the API server a token."""
    headers = {"Authorization": f"Bearer {token}"}
    status(bed.plane.ports.apiserver, "/api", anyone(), headers)


def _webhook(bed: Bed) -> Case:
    files, witnesses = two_servers(bed, APISERVER, APISERVER)
    configuration = files.path(OutputKind.KUBECONFIG)
    bed.flag(APISERVER, f"--authentication-token-webhook-config-file={configuration}")
    bed.flag(APISERVER, "--authentication-token-webhook-version=v1")
    return FileCase(
        program=APISERVER,
        material="webhook-kubeconfig",
        evidence="the server that is asked who a token belongs to",
        files=files,
        used=lambda edition: asks(witnesses, edition, partial(_ask, bed)),
        interval=0.5,
    )


def two_servers(bed: Bed, process: str, user: str) -> tuple[Material, dict[str, Witness]]:
    """A kubeconfig whose next edition names another server; both are witnesses, by URL."""
    lab = bed.labs[Domain.KUBERNETES]
    witnesses = [bed.witness(lab, lab, answer=_says_no) for _ in range(2)]
    specs = [
        kubeconfig_spec(
            bed.rows(process),
            "named",
            f"second:{user}",
            embed=False,
            server=each.url,
            ca_file=bed.plane.layout.authorities[Domain.KUBERNETES],
        )
        for each in witnesses
    ]

    def make(before: Edition | None) -> Edition:
        return Edition(lab.issue(specs[1 if before else 0], CLOCK.now()), lab)

    return Material(specs[0], make), {each.url: each for each in witnesses}


def asks(witnesses: dict[str, Witness], edition: Edition, ask: Callable[[str], None]) -> bool:
    """Show a process a token; whether this edition's server is asked about it."""
    outputs = edition.verified.spec.outputs
    server = next(each.kubeconfig.server for each in outputs if each.kubeconfig)
    before = len(witnesses[server].seen)
    ask(f"unknown-{next(_number)}")
    return len(witnesses[server].seen) > before


def _says_no(*_: object) -> Answer:
    said = {"authenticated": False}
    return 201, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": said}
