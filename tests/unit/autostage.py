"""A stage with one component whose restarts the reload matrix decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.core.model import (
    ActivationKind,
    ComponentName,
    ReadFile,
    RuntimeFacts,
)
from certrotd.core.planning import Wish
from certrotd.core.reloading import MatrixRow
from tests.fakes.runtime import FakeRuntime
from tests.unit.stage import Stage

if TYPE_CHECKING:
    from certrotd.core.model import Decision, Output

API = ComponentName("apiserver")
ETCD_CA = ReadFile(path="/pki/etcd/ca.crt", material="etcd-ca")
SIGNING = ReadFile(path="/pki/ca.crt", material="cluster-signing")


def row(material: str, *, reloads: bool, **changes: object) -> MatrixRow:
    given = MatrixRow(
        program="kube-apiserver",
        material=material,
        flags=(),
        since=None,
        before=None,
        reloads=reloads,
        within=timedelta(seconds=1),
        how="watched" if reloads else "read at the start only",
        proof="",
        minimum_life=timedelta(0),
        source="test",
    )
    return replace(given, **changes)  # type: ignore[arg-type]  # replace checks the names


def stage(material: str = "serving", *reads: ReadFile) -> Stage:
    """One AUTO component whose pair is `material`, running and a day old."""
    made = Stage("apiserver")
    made.matrix = (
        row("serving", reloads=True),
        row("kubeconfig-embedded", reloads=False),
        row("client-ca", reloads=True),
        row("etcd-ca", reloads=False),
        row("cluster-signing", reloads=True),
        row("kubeconfig-pair", reloads=True, minimum_life=timedelta(minutes=10)),
    )
    runtime = FakeRuntime(RuntimeFacts(version="v1.37.2"), made.clock.now() - timedelta(days=9))
    made.runtimes[API] = runtime
    (component,) = made.components
    (spec,) = component.certificates

    def known(output: Output) -> Output:
        return replace(output, material="client-ca" if output.kind == "ca" else material)

    specs = (replace(spec, outputs=tuple(map(known, spec.outputs))),)
    made.replace_component(
        "apiserver",
        activation=ActivationKind.AUTO,
        program="kube-apiserver",
        certificates=specs,
        reads=reads,
    )
    process = made["apiserver"]

    def start() -> None:
        process.started_at = made.clock.now()

    process.on_activate = start
    start()
    made.run()
    process.load()
    made.clock.advance(timedelta(minutes=1))
    return made.next_day()


def decision(made: Stage) -> Decision:
    (step,) = made.rotator.plan(Wish()).steps
    assert step.decision is not None
    return step.decision
