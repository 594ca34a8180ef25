"""Resident memory of idle daemons that keep the same 14 certificates."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lab import CERTROTD, ENVIRONMENT, Lab
from bench.measures import Measure
from tests.testbed.build import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 14
PATIENCE = 60.0
IDLE = 5.0


def measure(lab: Lab) -> Iterator[Measure]:
    """Measure both daemons once they have written everything and come to rest."""
    config = lab.certrotd("idle", COUNT)
    ours = _resident([*CERTROTD, "run", "-c", str(config)], config.parent / "pki")
    agent = lab.agent(COUNT, once=False)
    theirs = _resident([str(ensure("vault")), "agent", "-config", str(agent)], agent.parent)
    yield Measure(
        work=f"idle daemon with {COUNT} certificates, resident", ours=ours, peer=theirs,
        peer_name="vault agent", unit="MiB", aim=0.35,
    )  # fmt: skip


def _resident(argv: list[str], target: Path) -> float:
    """Return the resident set in MiB, shared pages counted whole."""
    log = target.parent / f"{target.name}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(argv, env=ENVIRONMENT, stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + PATIENCE
        while len(list(target.glob("*.crt"))) < COUNT:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{argv[0]} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        time.sleep(IDLE)
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
    finally:
        process.terminate()
        process.wait(30)
