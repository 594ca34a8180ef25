"""Rotations: 14 certificates warm and cold against the peers, 1,000 against Vault's own ceiling."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lab import CERTROTD, ENVIRONMENT, PYTHON, ROLE, Lab
from bench.measures import Measure, command, median_of
from certrotd.core import x509
from certrotd.core.model import KeyAlgorithm
from tests.factories import make_spec
from tests.testbed.build import ensure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNT = 14
MANY = 1000
REPEAT = 9


def measure(lab: Lab) -> Iterator[Measure]:
    """Measure them one after another."""
    config = lab.certrotd("certrotd", COUNT)
    rotate = [*CERTROTD, "rotate", "-c", str(config), "--force", "--yes", "-o", "json"]
    cold = median_of(REPEAT, command(rotate, ENVIRONMENT))
    warm = _warm(config)
    template = [
        str(ensure("consul-template")), "-once", "-config", str(lab.consul_template(COUNT)),
        "-log-level", "err",
    ]  # fmt: skip
    with_token = ENVIRONMENT | {"VAULT_TOKEN": lab.token.read_text()}
    consul = median_of(REPEAT, _fresh(lab.directory / "consul-template", template, with_token))
    once = [str(ensure("vault")), "agent", "-config", str(lab.agent(COUNT, once=True))]
    agent = median_of(REPEAT, _fresh(lab.directory / "agent-once", once, ENVIRONMENT))
    work = f"{COUNT} certificates signed, verified, published durably"
    yield Measure(
        work=f"{work}, warm daemon", ours=warm, peer=consul, peer_name="consul-template -once",
        unit="ms", aim=0.6,
    )  # fmt: skip
    yield Measure(
        work=f"{work}, cold `certrotd rotate`", ours=cold, peer=agent,
        peer_name="vault agent, exit_after_auth", unit="ms", aim=1.5,
    )  # fmt: skip
    yield Measure(
        work=f"{work}, cold `certrotd rotate`", ours=cold, peer=consul,
        peer_name="consul-template -once", unit="ms", aim=3.0,
    )  # fmt: skip
    yield _many(lab)


def _fresh(target: Path, argv: list[str], environment: dict[str, str]) -> Callable[[], object]:
    """Run a peer on a target without certificates, as it leaves alone what is still valid."""
    run = command(argv, environment)

    def work() -> object:
        for pattern in ("*.crt", "*.key"):
            for path in target.glob(pattern):
                path.unlink()
        result = run()
        if len(list(target.glob("*.crt"))) != COUNT:
            raise RuntimeError(f"{argv[0]} did not write {COUNT} certificates")
        return result

    return work


def _warm(config: Path) -> float:
    """Return the median of forced runs in one process, as the daemon does them."""
    return float(_child(config, REPEAT)["median"])


def _child(config: Path, repeat: int) -> dict[str, float]:
    done = subprocess.run(
        [PYTHON, "-m", "bench.warm", str(config), str(repeat)],
        env=ENVIRONMENT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _many(lab: Lab) -> Measure:
    ceiling = _ceiling(lab)
    result = _child(lab.certrotd("many", MANY), 1)
    return Measure(
        work=f"{MANY:,} certificates in one run, each",
        ours=result["median"] / MANY,
        peer=1000 / ceiling,
        peer_name=f"Vault's ceiling, {ceiling:.0f}/s under wrk",
        unit="ms",
        aim=1.5,
        note=f"largest resident set {result['resident']:.0f} MiB",
    )


def _ceiling(lab: Lab) -> float:
    """Return how many signatures a second Vault gives when wrk asks on 8 connections."""
    spec = make_spec(Path("/nowhere"), "node-0")
    csr = x509.build_csr(x509.new_key(KeyAlgorithm.ECDSA_P256), spec).decode()
    body = json.dumps({"csr": csr, "common_name": "node-0.example", "ttl": "168h"})
    script = lab.directory / "sign.lua"
    script.touch(0o600)
    script.write_text(
        'wrk.method = "POST"\n'
        f'wrk.headers["X-Vault-Token"] = {json.dumps(lab.token.read_text())}\n'
        f"wrk.body = {json.dumps(body)}\n"
        "done = function(summary, _, _)\n"
        '  io.write(string.format("%d %d %d\\n", summary.requests, summary.duration,'
        " summary.errors.status))\nend\n"
    )
    url = f"{lab.vault.address}/v1/{lab.mount}/sign/{ROLE}"
    done = subprocess.run(
        ["wrk", "-t1", "-c8", "-d5s", "-s", str(script), url],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    requests, microseconds, errors = map(int, done.stdout.split()[-3:])
    if errors:
        raise RuntimeError(f"Vault refused {errors} of wrk's {requests} requests")
    return requests / microseconds * 1e6
