"""How long a person or a monitoring system waits for an answer."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from bench.lab import CERTROTD, ENVIRONMENT, PYTHON, Lab
from bench.measures import Measure, command, median_of
from tests.testbed.build import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator

REPEAT = 15


def measure(lab: Lab) -> Iterator[Measure]:
    """Measure `--help`, then what looks at 14 certificates."""
    nothing = median_of(REPEAT, command([PYTHON, "-c", "pass"], ENVIRONMENT))
    yield Measure(
        work="`certrotd --help`",
        ours=median_of(REPEAT, command([*CERTROTD, "--help"], ENVIRONMENT)),
        peer=nothing, peer_name="python -c pass", unit="ms", aim=1.0, allowance=60.0,
    )  # fmt: skip
    config = lab.certrotd("commands", 14)
    subprocess.run(
        [*CERTROTD, "rotate", "-c", str(config), "--yes"],
        env=ENVIRONMENT, check=True, capture_output=True,
    )  # fmt: skip
    pki = lab.directory / "kubeadm"
    kubeadm = str(ensure("kubeadm"))
    subprocess.run(
        [kubeadm, "init", "phase", "certs", "all", "--cert-dir", str(pki)],
        env=ENVIRONMENT, check=True, capture_output=True,
    )  # fmt: skip
    expiration = [kubeadm, "certs", "check-expiration", "--cert-dir", str(pki)]
    peer = median_of(REPEAT, command(expiration, ENVIRONMENT))
    for name in ("status", "check", "plan"):
        argv = [*CERTROTD, name, "-c", str(config)]
        yield Measure(
            work=f"`certrotd {name}` on 14 certificates",
            ours=median_of(REPEAT, command(argv, ENVIRONMENT)),
            peer=peer, peer_name="kubeadm certs check-expiration", unit="ms", aim=3.0,
        )  # fmt: skip
