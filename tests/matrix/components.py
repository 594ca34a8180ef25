"""The rows of kube-controller-manager and kube-scheduler, which are mostly alike."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from certrotd.core.model import Kubeconfig, Output, OutputKind
from tests.factories import make_outputs
from tests.matrix.case import FileCase
from tests.matrix.looking import PASSED_ON, known, served
from tests.matrix.publishing import bundle, client_spec, leaf, server_spec
from tests.testbed.inventory import CONTROLLER_MANAGER, SCHEDULER, Domain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certrotd.core.model import CertificateSpec
    from tests.matrix.bed import Bed
    from tests.matrix.case import Case
    from tests.matrix.publishing import Edition, Material

PROGRAMS = (CONTROLLER_MANAGER, SCHEDULER)
_SNI = "matrix.example"
_CLOSED = "/metrics"
"""Not for everybody."""


def cases(bed: Bed) -> Iterator[Case]:
    """What both have in common and the control plane's own processes can show."""
    for program in PROGRAMS:
        yield from serving(bed, program)
        yield _kubeconfig_pair(bed, program)
        yield from _authorities(bed, program)


def serving(bed: Bed, program: str) -> Iterator[Case]:
    """What a Kubernetes server presents to everybody, and to those who call it by a name."""
    port, lab = bed.ports[program], bed.labs[Domain.KUBERNETES]
    files = leaf(server_spec(bed.rows(program), "serving"), lab)
    bed.flag(program, f"--tls-cert-file={files.path()}")
    bed.flag(program, f"--tls-private-key-file={files.path(OutputKind.KEY)}")
    yield FileCase(
        program=program,
        material="serving",
        evidence="the leaf served",
        files=files,
        used=lambda edition: served(port) == edition.fingerprint,
    )
    named = leaf(server_spec(bed.rows(program), "sni", dns_names=(_SNI,)), lab)
    pair = f"{named.path()},{named.path(OutputKind.KEY)}"
    bed.flag(program, f"--tls-sni-cert-key={pair}:{_SNI}")
    yield FileCase(
        program=program,
        material="sni",
        evidence="the leaf served for that name",
        files=named,
        used=lambda edition: served(port, _SNI) == edition.fingerprint,
    )


def kubeconfig_spec(
    directory: Path, name: str, user: str, *, embed: bool, server: str, ca_file: Path | str
) -> CertificateSpec:
    """An identity in a kubeconfig: embedded, or beside it in files that it names."""
    settings = Kubeconfig(
        server=server, user=user, embed=embed, ca_file=None if embed else str(ca_file)
    )
    kubeconfig = Output(
        path=str(directory / f"{name}.conf"),
        kind=OutputKind.KUBECONFIG,
        mode=0o600,
        kubeconfig=settings,
    )
    outputs = (kubeconfig,) if embed else (*make_outputs(directory, name)[:2], kubeconfig)
    organizations = () if user.startswith("system:kube-") else ("system:masters",)
    return client_spec(
        directory, name, common_name=user, organizations=organizations, outputs=outputs
    )


def kubeconfig_flags(files: Material, *roles: str) -> list[str]:
    """E.g. `--authentication-kubeconfig` for the role `authentication-`."""
    return [f"--{role}kubeconfig={files.path(OutputKind.KUBECONFIG)}" for role in roles]


def _kubeconfig_pair(bed: Bed, program: str) -> Case:
    spec = kubeconfig_spec(
        bed.rows(program),
        "identity",
        f"system:{program}",
        embed=False,
        server=bed.plane.ports.api,
        ca_file=bed.plane.layout.authorities[Domain.KUBERNETES],
    )
    files = leaf(spec, bed.labs[Domain.KUBERNETES])
    bed.flag(program, *kubeconfig_flags(files, "", "authentication-", "authorization-"))
    return FileCase(
        program=program,
        material="kubeconfig-pair",
        evidence="the API server's audit log: the certificate that renews its lease",
        files=files,
        used=lambda edition: bed.audit.latest(program) == edition.fingerprint,
        interval=0.5,
    )


def _authorities(bed: Bed, program: str) -> Iterator[Case]:
    files = bundle(bed.rows(program), "client-ca", bed.labs[Domain.KUBERNETES])
    bed.flag(program, f"--client-ca-file={files.path(OutputKind.CA)}")
    yield FileCase(
        program=program,
        material="client-ca",
        evidence="a request with a certificate of the new CA",
        files=files,
        used=partial(_knows, bed, program),
    )
    files = bundle(bed.rows(program), "request-header-ca", bed.labs[Domain.FRONT_PROXY])
    bed.flag(program, f"--requestheader-client-ca-file={files.path(OutputKind.CA)}")
    yield FileCase(
        program=program,
        material="request-header-ca",
        evidence="a request passed on by a proxy of the new CA",
        files=files,
        used=partial(_believes, bed, program),
    )


def _knows(bed: Bed, program: str, edition: Edition) -> bool:
    return known(bed.ports[program], _CLOSED, bed.caller.context(edition.authority, "somebody"))


def _believes(bed: Bed, program: str, edition: Edition) -> bool:
    context = bed.caller.context(edition.authority, "front-proxy-client", ())
    return known(bed.ports[program], _CLOSED, context, PASSED_ON)
