"""Health before anything is touched: who is ill, who leads, what is allowed all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from certrotd.core import planning
from certrotd.core.model import ActivationKind, ComponentName, Result, ServiceState, Step
from certrotd.core.planning import Wish
from certrotd.rotator import gating
from tests.factories import make_component, make_spec
from tests.unit.stage import HOME, Stage

if TYPE_CHECKING:
    from certrotd.core.model import Component, Evidence

NAMES = ("etcd", "apiserver", "scheduler")


def say(stage: Stage, name: str, **facts: bool) -> None:
    """Let a component's gate say more than whether it holds."""
    gate = stage[name].gate
    check = gate.check

    def told() -> Evidence:
        return replace(check(), **facts)  # type: ignore[arg-type]  # replace checks the names

    gate.check = told  # type: ignore[method-assign]


def test_nothing_is_asked_for_or_published_while_one_of_them_is_ill() -> None:
    stage = Stage(*NAMES).started().next_day()
    before = {name: stage.serial(name) for name in NAMES}
    asked = len(stage.issuer.asked)
    stage["apiserver"].gate.is_open = False
    report = stage.run()
    assert stage.results(report) == {
        "etcd": "skipped", "apiserver": "failed", "scheduler": "skipped",
    }  # fmt: skip
    assert len(stage.issuer.asked) == asked
    assert {name: stage.serial(name) for name in NAMES} == before
    assert [stage[name].activations for name in NAMES] == [0, 0, 0]
    assert stage.hold.present is None
    assert "apiserver is not healthy" in report.steps[0].error


def test_who_is_deliberately_down_is_not_ill() -> None:
    stage = Stage(*NAMES).started().next_day()
    stage["scheduler"].is_now = ServiceState.STOPPED
    stage["scheduler"].gate.is_open = False
    assert stage.results(stage.run()) == {
        "etcd": "done", "apiserver": "done", "scheduler": "stopped",
    }  # fmt: skip


def test_what_is_at_its_end_does_not_wait_for_others_to_be_well() -> None:
    stage = Stage("etcd", "apiserver").started()
    stage.clock.advance(timedelta(days=5))
    stage["apiserver"].gate.is_open = False
    report = stage.run()
    assert stage.results(report) == {"etcd": "done", "apiserver": "failed"}


def test_what_is_ill_for_want_of_another_does_not_keep_that_one_from_being_mended() -> None:
    stage = Stage("etcd", "apiserver").started().next_day()
    stage["apiserver"].gate.is_open = False
    key = stage["etcd"].component.certificates[0].outputs[1]
    del stage.store.files[key.path]
    assert stage.results(stage.run()) == {"etcd": "done", "apiserver": "failed"}


@pytest.mark.parametrize(("allowed", "result"), [("no", Result.FAILED), ("yes", Result.DONE)])
def test_a_degraded_cluster_is_touched_only_if_allowed(allowed: str, result: Result) -> None:
    stage = Stage("etcd").started().next_day()
    stage["etcd"].gate.is_open = False
    say(stage, "etcd", degraded=True)
    report = stage.run(allow_degraded=allowed == "yes")
    assert report.result is result


def test_what_is_worse_than_degraded_is_never_allowed() -> None:
    stage = Stage("etcd").started().next_day()
    stage["etcd"].gate.is_open = False
    assert stage.run(allow_degraded=True).result is Result.FAILED


def test_where_somebody_else_answers_nothing_is_touched() -> None:
    stage = Stage("etcd", "apiserver").started().next_day()
    check = stage["apiserver"].check
    stage["apiserver"].check = (  # type: ignore[method-assign]
        lambda expected: replace(check(expected), holds=False, foreign=True, stale=False)
    )
    report = stage.run()
    assert stage.results(report) == {"etcd": "skipped", "apiserver": "failed"}
    assert stage["apiserver"].activations == 0


def test_a_leader_comes_after_who_stands_by() -> None:
    stage = Stage("controller-manager", "scheduler", after=()).started().next_day()
    say(stage, "controller-manager", leads=True)
    report = stage.run()
    assert [each.component for each in report.steps] == ["scheduler", "controller-manager"]
    assert report.result is Result.DONE


def component(name: str, *after: str) -> Component:
    made = make_component(make_spec(HOME, name), activation=ActivationKind.EXEC)
    return replace(made, after=tuple(map(ComponentName, after)))


def order(components: list[Component], leaders: set[str], left_out: str = "") -> list[str]:
    steps = tuple(
        Step(component=each, replacements=()) for each in components if each.name != left_out
    )
    found = planning.leaders_last(steps, {ComponentName(each) for each in leaders}, components)
    return [each.component.name for each in found]


def test_after_comes_before_standing() -> None:
    chain = [component("etcd"), component("api", "etcd"), component("kcm", "api")]
    assert order(chain, {"etcd", "api"}) == ["etcd", "api", "kcm"]


def test_after_holds_across_a_component_that_has_nothing_to_do() -> None:
    chain = [component("etcd"), component("api", "etcd"), component("kcm", "api")]
    assert order(chain, {"etcd"}, left_out="api") == ["etcd", "kcm"]


def test_without_leaders_the_order_stays() -> None:
    free = [component("b"), component("a"), component("c")]
    assert order(free, set()) == ["b", "a", "c"]


def test_leaders_keep_their_own_order() -> None:
    free = [component("b"), component("a"), component("c")]
    assert order(free, {"b", "a"}) == ["c", "b", "a"]


def test_the_wish_of_a_daemon_allows_nothing_degraded() -> None:
    assert not Wish().allow_degraded


@pytest.mark.parametrize(
    ("kind", "result"), [(ActivationKind.EXEC, "done"), (ActivationKind.RELOAD, "failed")]
)
def test_what_a_restart_took_along_may_come_back_before_it_is_its_turn(
    kind: ActivationKind, result: str
) -> None:
    deadline = timedelta(seconds=30)
    stage = Stage("etcd", "apiserver", activation=kind, proof_deadline=deadline)
    stage.started().next_day()
    gate = stage["apiserver"].gate
    stage["etcd"].on_activate = lambda: gate.script.extend([False] * 20)
    started = stage.clock.monotonic()
    assert stage.results(stage.run()) == {"etcd": "done", "apiserver": result}
    assert gating.PRE_GATE < stage.clock.monotonic() - started < deadline.total_seconds()


def test_what_a_restart_took_along_is_left_alone_if_it_does_not_come_back() -> None:
    stage = Stage("etcd", "apiserver").started().next_day()
    gate = stage["apiserver"].gate

    def taken_along() -> None:
        gate.is_open = False

    stage["etcd"].on_activate = taken_along
    report = stage.run()
    assert stage.results(report) == {"etcd": "done", "apiserver": "failed"}
    assert stage["apiserver"].activations == 0
