"""certrotd as systemd runs it: sandboxed, watched, reloaded, stopped."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import pytest

from tests.systemd.node import CA_KEY, CONFIG, DAEMON, KEY, ONCE, SERVER, STATE, TIMER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.container import Container
    from tests.systemd.node import Node

pytestmark = pytest.mark.systemd


@pytest.fixture
def attentive(container: Container) -> Iterator[None]:
    """systemd logs each notification it gets; a process's first second may lack its unit then."""
    container.systemctl("log-level", "debug")
    yield
    container.systemctl("log-level", "info")


def test_the_daemon_rotates_what_is_due_and_the_process_serves_it(node: Node) -> None:
    before = node.served()
    node.start_daemon()
    node.await_daemon("run_finished")
    assert node.served() == node.published() != before
    assert node.container.property(DAEMON, "ActiveState") == "active"


def test_the_sandbox_is_in_force(node: Node) -> None:
    node.start_daemon()
    pid = node.container.property(DAEMON, "MainPID")
    status = dict(
        line.split(":\t", 1)
        for line in node.container.run("cat", f"/proc/{pid}/status").stdout.splitlines()
    )
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"], status["Umask"]) == ("1", "2", "0077")
    limits = node.container.run("cat", f"/proc/{pid}/limits").stdout
    assert ["Max", "core", "file", "size", "0", "0", "bytes"] in map(str.split, limits.splitlines())
    assert node.container.run("stat", "--format=%a %U", STATE).stdout.split() == ["700", "root"]


@pytest.mark.usefixtures("attentive")
def test_a_reload_is_told_and_takes_effect(node: Node) -> None:
    node.start_daemon()
    node.await_daemon("run_finished")
    before = node.served()
    server = node.component["certificates"]["server"]
    server["dns_names"] = ["server.example", "also.example"]
    node.write_config()
    node.container.systemctl("reload", DAEMON)
    node.await_daemon("(RELOADING=1,")
    node.await_daemon("config_reloaded")
    node.container.await_journal(DAEMON, "(READY=1, ", times=2)
    node.container.systemctl("kill", "--kill-whom=main", "--signal=USR1", DAEMON)
    node.container.await_journal(DAEMON, "run_finished", times=2)
    assert node.served() == node.published() != before


def test_a_reload_of_a_faulty_configuration_keeps_the_old_one(node: Node) -> None:
    node.start_daemon()
    pid = node.container.property(DAEMON, "MainPID")
    node.container.write(CONFIG, "componets: {}\n", 0o600)
    node.container.systemctl("reload", DAEMON)
    assert "componets" in node.container.await_journal(DAEMON, "config_rejected")
    assert node.container.property(DAEMON, "MainPID") == pid
    assert node.container.property(DAEMON, "ActiveState") == "active"


def test_a_faulty_configuration_at_the_start_is_tried_again(node: Node) -> None:
    good = node.container.path(CONFIG).read_text()
    node.drop_in(DAEMON, "[Service]\nRestartSec=200ms\n")
    node.container.write(CONFIG, "componets: {}\n", 0o600)
    node.container.systemctl("start", DAEMON, check=False)
    assert node.container.property(DAEMON, "ExecMainStatus") == "3"
    node.container.write(CONFIG, good, 0o600)
    node.await_daemon("daemon_started")


def test_usr1_does_not_wait_out_the_pause_after_a_failure(node: Node) -> None:
    before = node.served()
    ca_key = node.container.path(CA_KEY)
    ca_key.rename(ca_key.with_suffix(".away"))
    node.start_daemon()
    node.await_daemon("run_finished")
    assert node.served() == before
    ca_key.with_suffix(".away").rename(ca_key)
    node.container.systemctl("kill", "--kill-whom=main", "--signal=USR1", DAEMON)
    node.await_daemon("component_proven")
    assert node.served() == node.published() != before


@pytest.mark.usefixtures("attentive")
def test_a_stop_is_told_and_clean(node: Node) -> None:
    node.start_daemon()
    node.await_daemon("run_finished")
    node.container.systemctl("stop", DAEMON)
    journal = node.container.journal(DAEMON)
    assert "(STOPPING=1)" in journal
    assert "daemon_stopped" in journal
    assert node.container.property(DAEMON, "Result") == "success"
    assert node.container.property(DAEMON, "ExecMainStatus") == "0"


def test_a_stop_in_the_middle_of_a_step_waits_for_its_end(node: Node) -> None:
    before = node.served()
    gate = "/run/gate"
    node.container.run("rm", "-f", gate)
    node.container.run("mkfifo", gate)
    # The server's next start blocks until somebody writes into the pipe.
    node.drop_in(SERVER, f"[Service]\nExecStartPre=/bin/sh -c 'echo waiting; read line <{gate}'\n")
    node.start_daemon()
    node.container.await_journal(SERVER, "waiting")
    node.container.systemctl("stop", "--no-block", DAEMON)
    node.await_daemon("Stopping certrotd.service")
    assert node.container.property(DAEMON, "ActiveState") == "deactivating"
    node.container.run("sh", "-c", f"echo go >{gate}")
    node.await_daemon("daemon_stopped")
    assert node.served() == node.published() != before
    assert '"result": "done"' in node.container.await_journal(DAEMON, "step_finished")


@pytest.mark.usefixtures("attentive")
def test_the_watchdog_is_fed_and_bites_a_daemon_that_hangs(node: Node) -> None:
    node.drop_in(DAEMON, "[Service]\nWatchdogSec=1s\nWatchdogSignal=KILL\nRestartSec=200ms\n")
    node.start_daemon()
    node.container.await_journal(DAEMON, "(WATCHDOG=1)", times=3)
    pid = node.container.property(DAEMON, "MainPID")
    node.container.systemctl("kill", "--kill-whom=main", "--signal=STOP", DAEMON)
    node.await_daemon("Watchdog timeout")
    node.container.await_journal(DAEMON, "Started certrotd.service", times=2)
    assert node.container.property(DAEMON, "MainPID") != pid


def test_a_single_run_ends_with_success(node: Node) -> None:
    before = node.served()
    node.container.systemctl("start", ONCE)
    assert node.container.property(ONCE, "Result") == "success"
    assert node.served() == node.published() != before


def test_the_timer_runs_once_a_day_and_instead_of_the_daemon(node: Node) -> None:
    node.start_daemon()
    node.container.systemctl("start", TIMER)
    node.await_daemon("Deactivated successfully")
    # The container has no zone of its own, and so UTC.
    assert " 04:00:00 UTC" in node.container.property(TIMER, "NextElapseUSecRealtime")
    node.start_daemon()
    assert node.container.property(TIMER, "ActiveState") == "inactive"


def test_a_timer_that_elapses_rotates(node: Node) -> None:
    before = node.served()
    node.drop_in(TIMER, "[Timer]\nOnActiveSec=0\n")
    node.container.systemctl("start", TIMER)
    node.container.await_journal(ONCE, "run_finished")
    assert node.served() == node.published() != before


def test_a_run_beside_another_certrotd_is_tried_again(node: Node) -> None:
    before = node.served()
    node.drop_in(ONCE, "[Service]\nRestartSec=200ms\n")
    lock = node.container.path(f"{STATE}/lock")
    lock.parent.mkdir(mode=0o700)
    lock.touch(0o600)
    with lock.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        node.container.systemctl("start", "--no-block", ONCE)
        node.container.await_journal(ONCE, "status=5")
    node.container.await_journal(ONCE, "run_finished")
    assert node.served() == node.published() != before


def test_a_component_that_was_stopped_stays_stopped(node: Node) -> None:
    before = node.published()
    node.container.systemctl("stop", SERVER)
    node.container.systemctl("start", ONCE)
    assert "component_left_stopped" in node.container.journal(ONCE)
    assert node.container.property(SERVER, "ActiveState") == "inactive"
    assert node.published() != before


def test_a_component_that_refuses_gets_the_old_one_back_and_a_person_must_look(
    node: Node,
) -> None:
    before = node.served()
    node.accept_only(before)
    node.container.systemctl("start", ONCE, check=False)
    for _ in range(2):  # the second run finds the hold
        assert node.container.property(ONCE, "ExecMainStatus") == "4"
        assert node.container.property(ONCE, "ActiveState") == "failed"
        assert node.served() == node.published() == before
        node.container.systemctl("start", ONCE, check=False)
    journal = node.container.journal(ONCE)
    assert "this certificate is not acceptable" in journal  # the component's own last words
    assert journal.count("component_rolled_back") == 1


def test_the_sandbox_lets_a_signal_by_pidfile_through(node: Node) -> None:
    before = node.served()
    node.component["activation"] = {"signal": {"pidfile": "/run/demo-server.pid"}}
    node.write_config()
    pid = node.container.property(SERVER, "MainPID")
    node.container.systemctl("start", ONCE)
    assert node.served() == node.published() != before
    assert node.container.property(SERVER, "MainPID") == pid


def test_a_component_of_another_user_needs_the_drop_in(node: Node) -> None:
    unit = node.container
    server = node.component["certificates"]["server"]
    server["outputs"][1] |= {"owner": "daemon", "group": "daemon"}
    node.component["activation"] = {"signal": {"pidfile": "/run/demo-server.pid"}}
    node.write_config()
    unit.systemctl("stop", SERVER)
    unit.run("chown", "daemon:daemon", KEY)
    node.drop_in(SERVER, "[Service]\nUser=daemon\n")
    unit.systemctl("start", SERVER)
    before = node.served()
    unit.systemctl("start", ONCE, check=False)
    assert node.served() == before
    assert unit.property(ONCE, "Result") == "exit-code"
    node.shipped_drop_in(ONCE, "other-users.conf")
    unit.systemctl("start", ONCE)
    assert node.served() == node.published() != before
    assert unit.run("stat", "--dereference", "--format=%a %U:%G", KEY).stdout == (
        "600 daemon:daemon\n"
    )


def test_the_secret_id_is_handed_over_as_a_credential(node: Node) -> None:
    node.container.write("/etc/certrotd/secret-id", "not-a-real-secret-id", 0o600)
    node.shipped_drop_in(DAEMON, "vault-secret-id.conf")
    node.start_daemon()
    pid = node.container.property(DAEMON, "MainPID")
    environment = node.container.run("cat", f"/proc/{pid}/environ").stdout.split("\0")
    assert "CREDENTIALS_DIRECTORY=/run/credentials/certrotd.service" in environment
    assert not any("not-a-real-secret-id" in each for each in environment)
    seen = f"/proc/{pid}/root/run/credentials/certrotd.service/vault-secret-id"
    assert node.container.run("cat", seen).stdout == "not-a-real-secret-id"
    assert node.container.run("stat", "--format=%a %U", seen).stdout.split() == ["400", "root"]
