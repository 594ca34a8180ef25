"""The rows that need a second process of a program, with other flags than its first."""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import TYPE_CHECKING

from certrotd.core.model import OutputKind
from tests.matrix.apiserver import kubelet_path, make_node
from tests.matrix.authenticators import asks, two_servers
from tests.matrix.case import FileCase, MemoryCase
from tests.matrix.components import PROGRAMS, kubeconfig_flags, kubeconfig_spec
from tests.matrix.looking import OK, anyone, served, status
from tests.matrix.publishing import bundle, client_spec, leaf
from tests.testbed.inventory import APISERVER, CONTROLLER_MANAGER, Domain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.matrix.bed import Bed, Twin
    from tests.matrix.case import Case
    from tests.matrix.publishing import Edition, Material
    from tests.matrix.witness import Answer, Witness

_NO_CACHE = "--authorization-webhook-cache-authorized-ttl=1ms"
_CLOSED = "/metrics"
_number = itertools.count()


def cases(bed: Bed) -> Iterator[Case]:
    """Those of kube-controller-manager, kube-scheduler and kube-apiserver."""
    for program in PROGRAMS:
        yield from _component(bed, program)
    yield from _apiserver(bed)


def _component(bed: Bed, program: str) -> Iterator[Case]:
    """Serves what it made itself; its three kubeconfigs are three rows."""
    lease = f"second-{program}"
    flags = ["--tls-cert-file=", "--tls-private-key-file=", "--authentication-skip-lookup=true"]
    flags += [f"--leader-elect-resource-name={lease}", _NO_CACHE]
    if program == CONTROLLER_MANAGER:
        flags.append("--controllers=ttl-controller")
    embedded = _embedded(bed, program)
    named, witnesses = two_servers(bed, f"second {program}", program)
    authorities, asked, answers = _with_ca(bed, program)
    flags += kubeconfig_flags(embedded, "")
    flags += kubeconfig_flags(named, "authentication-")
    flags += kubeconfig_flags(asked, "authorization-")
    twin = bed.second(program, *flags)
    yield MemoryCase(
        program=program,
        material="self-signed-serving",
        process=twin.name,
        evidence="the leaf served",
        shown=lambda: served(twin.port),
    )
    yield FileCase(
        program=program,
        material="kubeconfig-embedded",
        process=twin.name,
        evidence="the API server's audit log: the certificate that renews its lease",
        files=embedded,
        used=lambda edition: bed.audit.latest(lease) == edition.fingerprint,
        interval=0.5,
    )
    yield FileCase(
        program=program,
        material="kubeconfig",
        process=twin.name,
        evidence="the server that is asked who a token belongs to",
        files=named,
        used=lambda edition: asks(witnesses, edition, partial(_ask, twin)),
        interval=0.5,
    )
    yield FileCase(
        program=program,
        material="kubeconfig-ca",
        process=twin.name,
        evidence="a server whose certificate the new CA signed is asked what a user may do",
        files=authorities,
        used=partial(_trusts, bed, twin, answers),
        interval=1,
    )


def _embedded(bed: Bed, program: str) -> Material:
    spec = kubeconfig_spec(
        bed.rows(f"second {program}"), "embedded", f"second:{program}", embed=True,
        server=bed.plane.ports.api, ca_file="",
    )  # fmt: skip
    return leaf(spec, bed.labs[Domain.KUBERNETES])


def _ask(twin: Twin, token: str) -> None:
    """Show the process a token."""
    status(twin.port, _CLOSED, anyone(), {"Authorization": f"Bearer {token}"})


def _with_ca(bed: Bed, program: str) -> tuple[Material, Material, Witness]:
    """A CA file, a kubeconfig that names it, and the witness it leads to."""
    lab = bed.labs[Domain.KUBERNETES]
    directory = bed.rows(f"second {program}")
    authorities = bundle(directory, "kubeconfig-ca", lab)
    answers = bed.witness(lab, lab, answer=_says_yes)
    spec = kubeconfig_spec(
        directory, "asked", f"second:{program}", embed=False, server=answers.url,
        ca_file=authorities.path(OutputKind.CA),
    )  # fmt: skip
    return authorities, leaf(spec, lab), answers


def _says_yes(_method: str, _path: str, body: bytes) -> Answer:
    return 201, json.loads(body) | {"status": {"allowed": True}}


def _trusts(bed: Bed, twin: Twin, answers: Witness, edition: Edition) -> bool:
    """Have the process ask what a user may do, of a server of this edition's CA."""
    answers.present(bed.pair(edition.authority))
    answers.drop()
    before = len(answers.seen)
    user = bed.caller.context(bed.labs[Domain.KUBERNETES], f"user-{next(_number)}", ())
    return status(twin.port, _CLOSED, user) == OK and len(answers.seen) > before


def _apiserver(bed: Bed) -> Iterator[Case]:
    """Reaches kubelets through a proxy, and knows their CA."""
    lab = bed.labs[Domain.KUBERNETES]
    directory = bed.rows(f"second {APISERVER}")
    kubelet = bed.witness(lab, lab)
    bed.afterwards(lambda: make_node(bed, "node-behind", kubelet))
    authorities = bundle(directory, "kubelet-ca", lab)
    proxy = bed.witness(lab, lab)
    pair = leaf(client_spec(directory, "egress"), lab)
    flags = [
        f"--kubelet-certificate-authority={authorities.path(OutputKind.CA)}",
        f"--egress-selector-config-file={_egress(bed, proxy, pair)}",
    ]
    twin = bed.second(APISERVER, *flags)

    def passes_on() -> bool:
        kubelet.drop()
        context = bed.caller.context(lab, "somebody")
        return status(twin.port, kubelet_path("node-behind"), context) == OK

    def trusts(edition: Edition) -> bool:
        kubelet.present(bed.pair(edition.authority))
        return passes_on()

    yield FileCase(
        program=APISERVER,
        material="kubelet-ca",
        process=twin.name,
        evidence="a request to a kubelet whose certificate the new CA signed",
        files=authorities,
        used=trusts,
        interval=0.5,
    )
    yield FileCase(
        program=APISERVER,
        material="egress",
        process=twin.name,
        evidence="the client's leaf in a new connection to the HTTP CONNECT proxy",
        files=pair,
        used=lambda edition: passes_on() and proxy.latest == edition.fingerprint,
        interval=0.5,
    )


def _egress(bed: Bed, proxy: Witness, pair: Material) -> str:
    """Write the configuration: kubelets behind the proxy, everything else directly."""
    tls = {
        "caBundle": str(bed.plane.layout.authorities[Domain.KUBERNETES]),
        "clientCert": pair.path(),
        "clientKey": pair.path(OutputKind.KEY),
    }
    transport = {"tcp": {"url": proxy.url, "tlsConfig": tls}}
    connection = {"proxyProtocol": "HTTPConnect", "transport": transport}
    configuration = {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": connection}],
    }
    path = bed.directory / "egress.json"
    path.write_text(json.dumps(configuration))
    return str(path)
