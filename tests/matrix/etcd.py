"""The rows of etcd."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import TYPE_CHECKING

from certrotd.core.model import OutputKind, Usage
from tests.matrix.case import FileCase
from tests.matrix.looking import admitted, served
from tests.matrix.publishing import bundle, client_spec, leaf, server_spec
from tests.testbed.build import ensure
from tests.testbed.inventory import ETCD, HOST, Domain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.matrix.bed import Bed
    from tests.matrix.case import Case
    from tests.matrix.publishing import Edition, Material
    from tests.matrix.witness import Witness

_BOTH = (Usage.DIGITAL_SIGNATURE, Usage.SERVER_AUTH, Usage.CLIENT_AUTH)
_REFUSED = "a client of a CA that is new in the file: refused in the handshake, or served"


def cases(bed: Bed) -> Iterator[Case]:
    """Every row that one member can show."""
    ports = bed.plane.ports
    for material, port, prefix in (("serving", ports.etcd, ""), ("peer", ports.etcd_peer, "peer-")):
        spec = server_spec(bed.rows(ETCD), material, usages=_BOTH)
        files = leaf(spec, bed.labs[Domain.ETCD])
        _flag(bed, files, f"{prefix}cert-file", f"{prefix}key-file")
        yield FileCase(
            program=ETCD,
            material=material,
            evidence=f"the leaf served on the {prefix or 'client '}port".replace("-", " "),
            files=files,
            used=partial(_serves, port),
        )
    for material, first, port in (
        ("trusted-ca", Domain.ETCD_CLIENT, ports.etcd),
        ("peer-trusted-ca", Domain.ETCD, ports.etcd_peer),
    ):
        files = bundle(bed.rows(ETCD), material, bed.labs[first])
        bed.flag(ETCD, f"--{material}-file={files.path(OutputKind.CA)}")
        yield FileCase(
            program=ETCD,
            material=material,
            evidence=_REFUSED,
            files=files,
            used=partial(_admits, bed, port),
        )
    yield _peer_client(bed)
    yield _healthcheck_client(bed)


def _flag(bed: Bed, files: Material, certificate: str, key: str) -> None:
    bed.flag(ETCD, f"--{certificate}={files.path()}", f"--{key}={files.path(OutputKind.KEY)}")


def _serves(port: int, edition: Edition) -> bool:
    return served(port) == edition.fingerprint


def _admits(bed: Bed, port: int, edition: Edition) -> bool:
    # /version is on both ports.
    return admitted(port, "/version", bed.caller.context(edition.authority, "etcd-client"))


def _peer_client(bed: Bed) -> Case:
    """A learner that is a witness: the member keeps calling it, and no quorum depends on it."""
    files = leaf(client_spec(bed.rows(ETCD), "peer-client"), bed.labs[Domain.ETCD])
    _flag(bed, files, "peer-client-cert-file", "peer-client-key-file")
    learner = bed.witness(bed.labs[Domain.ETCD], bed.labs[Domain.ETCD])
    learner.answer = lambda *_: (404, {})
    bed.afterwards(lambda: etcdctl(bed, "member", "add", "learner", "--learner",
                                    f"--peer-urls={learner.url}"))  # fmt: skip
    return FileCase(
        program=ETCD,
        material="peer-client",
        evidence="the client's leaf in a new connection to another member (a learner)",
        files=files,
        used=partial(_comes_with, learner),
        interval=0.2,
    )


def _comes_with(learner: Witness, edition: Edition) -> bool:
    latest = learner.latest
    learner.drop()
    return latest == edition.fingerprint


def _healthcheck_client(bed: Bed) -> Case:
    directory = bed.rows(ETCD)
    files = leaf(client_spec(directory, "healthcheck-client"), bed.labs[Domain.ETCD_CLIENT])
    context = bed.caller.context(bed.labs[Domain.ETCD_CLIENT], "relay")
    context.set_alpn_protocols(["h2"])
    relay = ((HOST, bed.plane.ports.etcd), context)
    front = bed.witness(bed.labs[Domain.ETCD], bed.labs[Domain.ETCD_CLIENT], relay=relay)

    def used(edition: Edition) -> bool:
        pair = (files.path(), files.path(OutputKind.KEY))
        etcdctl(bed, "endpoint", "health", endpoint=front.url, pair=pair)
        return front.latest == edition.fingerprint

    return FileCase(
        program=ETCD,
        material="healthcheck-client",
        evidence="the client's leaf when etcdctl calls",
        files=files,
        used=used,
    )


def etcdctl(
    bed: Bed, *command: str, endpoint: str = "", pair: tuple[str, str] | None = None
) -> None:
    """Run etcdctl with the health check's pair and etcd's address, or with others."""
    known = bed.plane.inventory().certificate("etcd-healthcheck-client")
    certificate, key = pair or (str(known.certificate), str(known.key))
    subprocess.run(
        [
            str(ensure("etcdctl")),
            *command,
            f"--endpoints={endpoint or bed.plane.health_url(ETCD).removesuffix('/readyz')}",
            f"--cacert={bed.plane.layout.authorities[Domain.ETCD]}",
            f"--cert={certificate}",
            f"--key={key}",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
