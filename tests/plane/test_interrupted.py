"""certrotd killed, the machine switched off: the next run finishes what is owed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.plane.units import CONTROLLER_MANAGER, SCHEDULER
from tests.systemd.node import DAEMON, ONCE

if TYPE_CHECKING:
    from tests.plane.master import Master

pytestmark = [pytest.mark.systemd, pytest.mark.servers]
NAME = SCHEDULER.removesuffix(".service")
ENTRIES = ("issued", "begun", "published", "activated", "done")
"""What the journal of a component's step holds, in this order; each is made durable at once."""


def killed_after(master: Master, number: int) -> list[str]:
    """Let the unit's run kill itself when it makes its journal's next-but-so-many record durable.

    Returns the kinds of what stands in the journal then, by the run that was killed.
    """
    known = {(each["run"], each["at"], each["event"]) for each in master.history()}
    strace = "/usr/bin/strace -f -qq -o /dev/null -e trace=fdatasync -e inject=fdatasync"
    command = f"{strace}:signal=KILL:when={number} /usr/bin/certrotd rotate --yes --force {NAME}"
    # strace needs what the sandbox forbids; all else of the unit is as shipped.
    master.drop_in(
        ONCE, f"[Service]\nRestart=no\nExecStart=\nExecStart={command}\nSystemCallFilter=\n"
    )
    outcome = master.run_once()
    assert outcome.code != 0
    return [
        each["event"]
        for each in master.history()
        if (each["run"], each["at"], each["event"]) not in known
    ]


def settled(master: Master) -> None:
    """Everything that is published is served, nothing is owed or held, and all is well."""
    master.await_ready()
    assert master.served() == master.published()
    assert master.certrotd("plan")["steps"] == []
    assert master.certrotd("status")["hold"] is None


@pytest.mark.parametrize("last", ENTRIES)
def test_killed_after_each_entry_of_the_journal_the_next_run_finishes(
    master: Master, last: str
) -> None:
    master.component(NAME)["activation"] = {"auto": None, "restart": {"unit": SCHEDULER}}
    master.write_config()
    number = 1 + ENTRIES.index(last)
    before, started = master.served()["scheduler-serving"], master.processes()
    kinds = killed_after(master, number)
    assert list(dict.fromkeys(kinds)) == list(ENTRIES[:number])
    restarted = last in ("activated", "done")
    assert (master.processes()[SCHEDULER] != started[SCHEDULER]) == restarted

    master.remove_drop_ins()
    outcome = master.run_once()
    owed = last in ("published", "activated")
    assert (outcome.code, outcome.results) == (0, {NAME: "done"} if owed else {})
    published = last in ("published", "activated", "done")
    assert (master.served()["scheduler-serving"] != before) == published
    settled(master)


def only_by_restart(master: Master, name: str, unit: str) -> None:
    master.component(name)["activation"] = {"auto": None, "restart": {"unit": unit}}
    # As long as this file is there, and it goes when the machine does, the unit does not start.
    master.drop_in(
        unit, "[Service]\nExecStartPre=/bin/sh -c 'while test -e /run/wait; do sleep 0.2; done'\n"
    )
    master.container.write("/run/wait", "")


def await_start(master: Master, unit: str) -> None:
    """Wait until the unit is asked to start, and waits."""
    deadline = time.monotonic() + 60
    while master.container.property(unit, "ActiveState") != "activating":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_daemon_killed_in_the_middle_of_a_restart_comes_again_and_finishes(
    master: Master,
) -> None:
    only_by_restart(master, NAME, SCHEDULER)
    names = ["localhost", "more.example"]
    master.component(NAME)["certificates"] = {"scheduler-serving": {"dns_names": names}}
    master.write_config()
    master.vault.define_roles(master.shown()["components"])
    before = master.served()["scheduler-serving"]
    master.drop_in(DAEMON, "[Service]\nRestartSec=200ms\n")
    master.container.systemctl("start", DAEMON)
    await_start(master, SCHEDULER)
    master.container.systemctl("kill", "--signal=KILL", DAEMON)
    master.container.await_journal(DAEMON, "daemon_started", times=2)
    master.container.run("rm", "/run/wait")
    master.container.await_journal(DAEMON, "run_finished")
    assert master.served()["scheduler-serving"] != before
    settled(master)


def test_the_machine_is_switched_off_in_the_middle_and_the_rest_is_done_after_its_start(
    master: Master,
) -> None:
    name = CONTROLLER_MANAGER.removesuffix(".service")
    only_by_restart(master, name, CONTROLLER_MANAGER)
    master.write_config()
    with master.container.network():
        master.client().create_config_map("before-the-power-cut", {"n": "1"})
    before = master.served()
    force = "[Service]\nExecStart=\nExecStart=/usr/bin/certrotd rotate --yes --force\n"
    master.drop_in(ONCE, force)
    master.container.systemctl("start", "--no-block", ONCE)
    await_start(master, CONTROLLER_MANAGER)
    master.container.systemctl("enable", DAEMON)
    killed = master.history()[-1]
    assert (killed["component"], killed["event"]) == (name, "published")

    master.container.cut_power()
    master.boot()
    master.container.await_journal(DAEMON, "run_finished")
    settled(master)
    last = master.history()[-1]
    assert (last["component"], last["event"]) == (name, "done")
    assert last["run"] != killed["run"]
    after = master.served()
    assert {each for each in after if after[each] == before[each]} == {"scheduler-serving"}
    with master.container.network():
        path = "/api/v1/namespaces/default/configmaps/before-the-power-cut"
        assert master.client().request("DELETE", path)["status"] == "Success"
    master.container.systemctl("disable", DAEMON)
