"""Components that refuse, are stopped or ill: what is put back, and what is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plane.units import ETCD_EVENTS, PKI, SCHEDULER, units
from tests.plane.vault import PORT
from tests.systemd.node import ONCE
from tests.systemd.prerequisites import install

if TYPE_CHECKING:
    from tests.plane.master import Master

pytestmark = [pytest.mark.systemd, pytest.mark.servers]
NAME = SCHEDULER.removesuffix(".service")
SERVING = f"{PKI}/scheduler-serving.crt"
ACCEPTED = "/run/accepted.crt"
KNOWN = f"cmp -s {SERVING} {ACCEPTED}"
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
COMMAND = units()[SCHEDULER].partition("ExecStart=")[2].partition("\nRestart=")[0]


def only_by_restart(master: Master) -> None:
    """The scheduler is restarted in any case, within short limits."""
    master.component(NAME).update({
        "activation": {"auto": None, "restart": {"unit": SCHEDULER, "timeout": "8s"}},
        "proof_deadline": "8s",
    })  # fmt: skip
    master.write_config()


@pytest.mark.parametrize(
    ("drop_in", "said"),
    [
        (f"ExecStartPre=/bin/sh -c '{KNOWN} || sleep 600'", "did not end within 8 s"),
        (f"ExecStartPre=/bin/sh -c '{KNOWN} || {{ echo not acceptable; exit 1; }}'",
         "not acceptable"),
        (f"ExecStart=\nExecStart=/bin/sh -c '{KNOWN} && exec {COMMAND}; exec sleep 600'",
         "127.0.0.1:10259"),
    ],
    ids=["never starts", "crash-loops", "never serves"],
)  # fmt: skip
def test_who_does_not_run_with_the_new_pair_gets_the_old_one_back(
    master: Master, drop_in: str, said: str
) -> None:
    master.container.run("cp", SERVING, ACCEPTED)
    master.drop_in(SCHEDULER, f"[Service]\n{drop_in}\n")
    only_by_restart(master)
    before = master.served()
    outcome = master.rotate("--force", "kube-scheduler", "admin")
    assert outcome.code == 4
    assert outcome.results == {NAME: "rolled_back", "admin": "done"}
    assert said in outcome.told("step_failed", NAME)
    assert master.served() == master.published() == before
    assert master.container.property(SCHEDULER, "ActiveState") == "active"
    hold = master.certrotd("status", codes=(0, 2))["hold"]
    assert said in hold["reason"]
    # Whoever is next finds the hold, and touches nothing.
    started = master.processes()
    assert master.rotate("--force").code == 4
    assert master.processes() == started


def test_who_was_stopped_stays_so_and_starts_with_what_was_published(master: Master) -> None:
    before = master.served()["scheduler-serving"]
    master.container.systemctl("stop", SCHEDULER)
    outcome = master.rotate("--force", NAME)
    assert (outcome.code, outcome.results) == (0, {NAME: "stopped"})
    assert master.container.property(SCHEDULER, "ActiveState") == "inactive"
    master.container.systemctl("start", SCHEDULER)
    master.await_ready()
    assert master.served()["scheduler-serving"] == master.published()["scheduler-serving"] != before


def test_a_masked_unit_counts_as_stopped(master: Master) -> None:
    before = master.published()["scheduler-serving"]
    master.container.systemctl("mask", "--runtime", "--now", SCHEDULER)
    try:
        outcome = master.rotate("--force", NAME)
        assert (outcome.code, outcome.results) == (0, {NAME: "stopped"})
        assert master.published()["scheduler-serving"] != before
    finally:
        master.container.systemctl("unmask", "--runtime", SCHEDULER)
        master.container.systemctl("start", SCHEDULER)


def test_an_unknown_unit_is_named_and_the_old_pair_is_back(master: Master) -> None:
    restart = {"unit": "kube-schedular.service"}
    master.component(NAME)["activation"] = {"auto": None, "restart": restart}
    master.write_config()
    before, processes = master.published(), master.processes()
    outcome = master.rotate("--force", NAME)
    assert (outcome.code, outcome.results) == (1, {NAME: "failed"})
    assert "kube-schedular.service" in outcome.told("step_failed", NAME)
    assert master.published() == before
    assert master.processes() == processes
    hold = master.certrotd("status", codes=(0, 1, 2))["hold"]
    assert "kube-schedular.service" in hold["reason"]


def untouched(master: Master, said: str, *arguments: str) -> None:
    """A forced rotation fails with these words, and neither files nor processes have changed."""
    published, processes = master.published(), master.processes()
    outcome = master.rotate("--force", *arguments)
    assert outcome.code == 1, outcome.results
    assert "done" not in outcome.results.values()
    texts = [str(value) for each in outcome.events for value in each.values()]
    assert [text for text in texts if said in text], outcome.events
    assert master.published() == published
    assert master.processes() == processes
    assert master.certrotd("status", codes=(0, 1, 2))["hold"] is None


def test_an_api_server_that_is_not_ready_gets_nothing_new(master: Master) -> None:
    master.container.systemctl("stop", ETCD_EVENTS)
    try:
        untouched(master, "kube-apiserver is not healthy", "kube-apiserver", "admin")
    finally:
        master.container.systemctl("start", ETCD_EVENTS)


def test_who_answers_with_somebody_else_s_certificate_is_left_alone(master: Master) -> None:
    proof = {"tls": {"address": f"127.0.0.1:{PORT}", "certificate": "scheduler-serving"}}
    master.component(NAME)["proofs"] = [proof]
    master.write_config()
    untouched(master, f"127.0.0.1:{PORT}", NAME)


@pytest.mark.parametrize(
    ("moved", "said"),
    [("-1d", "not yet valid"), ("+1d", "expired"), ("+6h", "clock")],
)
def test_a_wrong_clock_changes_nothing(master: Master, moved: str, said: str) -> None:
    if reason := install("libfaketime"):
        pytest.skip(reason)
    library = master.container.run("sh", "-c", f"ls {FAKETIME}").stdout.split()[0]
    faked = f"LD_PRELOAD={library} FAKETIME={moved}"
    master.drop_in(ONCE, f"[Service]\nEnvironment={faked}\n")
    untouched(master, said)
