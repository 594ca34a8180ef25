"""Units restarted, signalled and proven on a real systemd."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.container import _LAUNCHER, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.systemd.container import Container

pytestmark = pytest.mark.systemd

CODE = """
import sys
from datetime import UTC, datetime, timedelta
from certrotd.adapters.processes import UnitRestart, UnitSignal, UnitStartedProof, UnitVersion
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import Expectation

def restart(unit, seconds=30):
    return UnitRestart(unit, timedelta(seconds=seconds))

def activate(service):
    try:
        service.activate()
    except ActivationFailed as e:
        return f"failed: {e}"
    return "done"

def prove(unit, at):
    published = datetime.fromisoformat(at)
    one = Expectation(certificate="c", fingerprint="", serial="", published_at=published)
    seen = UnitStartedProof(unit).check({"c": one})
    return seen.holds, seen.stale, seen.reachable

print(eval(sys.argv[1]))
"""
UNIT = "certrotd-test.service"
HEALTHY = "/usr/bin/sleep infinity"
ONCE_WELL = (
    "/bin/sh -c 'test -e /run/well && exec sleep infinity; echo refused my certificate; exit 1'"
)
"""Lives while /run/well is there, dies at once when it is not."""


def look(container: Container, expression: str) -> str:
    return container.run_python(CODE, expression).strip()


def unit(container: Container, command: str, *service: str, more: str = "") -> None:
    lines = ("[Unit]", more, "[Service]", f"ExecStart={command}", *service)
    container.add_unit(UNIT, "\n".join(lines))


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again, for half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def no_unit_afterwards(container: Container) -> Iterator[None]:
    container.write("/run/well", "")
    yield
    container.systemctl("stop", UNIT, check=False)
    container.systemctl("reset-failed", UNIT, check=False)
    container.remove_unit(UNIT)


def test_a_restart_gives_a_new_process_and_proof_of_it(container: Container) -> None:
    unit(container, HEALTHY)
    container.systemctl("start", UNIT)
    old = container.property(UNIT, "MainPID")
    now = look(container, "datetime.now(UTC).isoformat()")
    assert look(container, f"restart('{UNIT}').state()") == "running"
    assert look(container, f"prove('{UNIT}', '{now}')") == "(False, True, True)"
    before = look(container, f"restart('{UNIT}').started().isoformat()")
    assert look(container, f"activate(restart('{UNIT}'))") == "done"
    assert container.property(UNIT, "MainPID") != old
    assert look(container, f"prove('{UNIT}', '{now}')") == "(True, False, True)"
    assert before < now < look(container, f"restart('{UNIT}').started().isoformat()")
    container.systemctl("stop", UNIT)
    assert look(container, f"restart('{UNIT}').started()") == "None"


def test_the_program_of_the_main_process_tells_its_version(container: Container) -> None:
    unit(container, HEALTHY)
    down = look(container, f"UnitVersion('{UNIT}').read().detail")
    assert down == f"{UNIT}: no main process runs, it is inactive (dead)"
    container.systemctl("start", UNIT)
    told = look(container, f"UnitVersion('{UNIT}').read().version")
    printed = subprocess.run(["sleep", "--version"], capture_output=True, text=True, check=True)
    assert told in printed.stdout.splitlines()[0].split()


@pytest.mark.parametrize("again", ["no", "always"])
@pytest.mark.parametrize("kind", ["simple", "notify"])
def test_a_process_that_dies_at_once_is_noticed_and_can_be_healed(
    container: Container, kind: str, again: str
) -> None:
    ready = "systemd-notify --ready; " if kind == "notify" else ""
    command = ONCE_WELL.replace("&& exec", f"&& {{ {ready}exec").replace(
        "infinity;", "infinity; };"
    )
    unit(
        container, command, f"Type={kind}", "NotifyAccess=all", f"Restart={again}",
        "RestartSec=100ms", more="StartLimitBurst=3",
    )  # fmt: skip
    container.systemctl("start", UNIT)
    container.path("/run/well").unlink()
    told = look(container, f"activate(restart('{UNIT}'))")
    assert told.startswith(f"failed: {UNIT} could not be restarted")
    assert "refused my certificate" in told
    # Nobody wanted it to be down: it is taken for running, so that a rollback restarts it.
    assert look(container, f"restart('{UNIT}').state()") == "running"
    container.write("/run/well", "")
    assert look(container, f"activate(restart('{UNIT}'))") == "done"
    assert container.property(UNIT, "ActiveState") == "active"


def test_a_process_that_gives_up_without_an_error_can_be_healed(container: Container) -> None:
    unit(container, ONCE_WELL.replace("exit 1", "exit 0"))
    container.systemctl("start", UNIT)
    container.path("/run/well").unlink()
    assert "inactive (dead)" in look(container, f"activate(restart('{UNIT}'))")
    container.write("/run/well", "")
    assert look(container, f"activate(restart('{UNIT}'))") == "done"


def test_a_start_limit_does_not_stand_in_the_way(container: Container) -> None:
    unit(container, HEALTHY, more="StartLimitIntervalSec=1h\nStartLimitBurst=1")
    container.systemctl("start", UNIT)
    for _ in range(2):
        assert look(container, f"activate(restart('{UNIT}'))") == "done"


def test_a_unit_that_never_gets_ready_is_given_up(container: Container) -> None:
    unit(container, HEALTHY, "Type=notify")
    told = look(container, f"activate(restart('{UNIT}', 1))")
    assert "did not end within 1 s" in told


def test_a_stopped_unit_is_down_and_has_no_process_to_tell(container: Container) -> None:
    unit(container, HEALTHY)
    assert look(container, f"restart('{UNIT}').state()") == "stopped"
    assert look(container, f"UnitSignal('{UNIT}', 'HUP').state()") == "stopped"
    told = look(container, f"activate(UnitSignal('{UNIT}', 'HUP'))")
    assert "no process runs, it is inactive (dead)" in told
    epoch = "1970-01-01T00:00:00+00:00"
    assert look(container, f"prove('{UNIT}', '{epoch}')") == "(False, False, False)"


def test_a_failed_unit_is_down_for_a_signal_only(container: Container) -> None:
    unit(container, "/usr/bin/false")
    container.systemctl("start", "--wait", UNIT, check=False)
    assert look(container, f"restart('{UNIT}').state()") == "running"
    assert look(container, f"UnitSignal('{UNIT}', 'HUP').state()") == "stopped"


def test_a_unit_on_its_way_down_is_down_unless_it_comes_back(container: Container) -> None:
    unit(container, HEALTHY, "ExecStop=/bin/sh -c 'while test -e /run/well; do sleep 0.05; done'")
    for verb, state in (("stop", "stopped"), ("restart", "running")):
        container.write("/run/well", "")
        container.systemctl("start", UNIT)
        container.systemctl(verb, "--no-block", UNIT)
        wait_until(lambda: container.property(UNIT, "ActiveState") == "deactivating")
        assert look(container, f"restart('{UNIT}').state()") == state
        container.path("/run/well").unlink()
        # A job for the unit waits for the one at work.
        container.systemctl("start", UNIT)


def test_a_masked_unit_is_down_and_cannot_be_restarted(container: Container) -> None:
    unit(container, HEALTHY)
    container.remove_unit(UNIT)
    container.systemctl("mask", UNIT)
    try:
        assert look(container, f"restart('{UNIT}').state()") == "stopped"
        assert "masked" in look(container, f"activate(restart('{UNIT}'))")
    finally:
        container.systemctl("unmask", UNIT)


@pytest.mark.parametrize("how", ["restart('{}')", "UnitSignal('{}', 'HUP')"])
def test_a_unit_that_does_not_exist_is_told(container: Container, how: str) -> None:
    service = how.format("no-such-unit.service")
    assert look(container, f"{service}.state()") == "unknown"
    assert "no usable unit of this name (not-found)" in look(container, f"activate({service})")


@pytest.mark.parametrize("name", [None, "told"])
def test_a_signal_reaches_the_main_process_or_those_of_a_name(
    container: Container, name: str | None
) -> None:
    # Each writes its own name when told; the children must be told only by theirs.
    script = 'trap "echo $0 >> /run/heard" HUP; echo up >> /run/heard; while :; do sleep 0.05; done'
    container.write("/run/told", f"#!/bin/sh\n{script}\n", 0o755)
    container.write("/run/main", f"#!/bin/sh\n/run/told & {script}\n", 0o755)
    container.path("/run/heard").unlink(missing_ok=True)
    unit(container, "/run/main")
    container.systemctl("start", UNIT)
    heard = container.path("/run/heard")
    wait_until(lambda: heard.exists() and heard.read_text().count("up") == 2)
    assert look(container, f"activate(UnitSignal('{UNIT}', 'HUP', {name!r}))") == "done"
    wait_until(lambda: heard.read_text().count("\n") == 3)
    assert heard.read_text().splitlines()[2:] == ["/run/told" if name else "/run/main"]
    now = "datetime.now(UTC)"
    age = f"{now} - UnitSignal('{UNIT}', 'HUP', {name!r}).started() < timedelta(minutes=5)"
    assert look(container, age) == "True"
    assert look(container, f"UnitSignal('{UNIT}', 'HUP', 'nobody').started()") == "None"
    told = look(container, f"activate(UnitSignal('{UNIT}', 'HUP', 'nobody'))")
    assert "it has no process called nobody" in told


PREAMBLE = "\n".join(_LAUNCHER.splitlines()[:2])  # where certrotd lies inside
IN_SANDBOX = """
import os, subprocess, tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
import grpc
from certrotd.adapters.ca import create_authority
from certrotd.adapters.cri.containers import Unreachable
from certrotd.adapters.cri.runtime import Runtime
from certrotd.adapters.probes.connection import client_context, present
from certrotd.adapters.processes import CommandService, PidfileSignal
from certrotd.core.model import Output, OutputKind

here = Path(tempfile.mkdtemp())
with subprocess.Popen(("/bin/sleep", "1000")) as process:
    (here / "pid").write_text(str(process.pid))
    PidfileSignal(str(here / "pid"), "TERM").activate()
print(process.returncode)
pem, key = create_authority("test", datetime.now(UTC), timedelta(days=1))
(here / "pem").write_bytes(pem + key.reveal())
only = Output(path=str(here / "pem"), kind=OutputKind.COMBINED, mode=0o600)
print(present(client_context(None), (only,)).common_name)
CommandService(("/bin/true",), timedelta(seconds=20)).activate()
with ThreadPoolExecutor(1) as pool:
    server = grpc.server(pool)
    server.add_insecure_port(f"unix:{here}/socket")
    server.start()
    with Runtime(f"{here}/socket") as runtime:
        try:
            runtime.version()
        except Unreachable as e:
            print("answered" if "version 1 of the CRI" in str(e) else e)
    server.stop(None).wait()
print("all of it")
"""


def test_all_of_it_works_in_the_sandbox_of_the_service(container: Container) -> None:
    lines = (REPOSITORY / "systemd" / "certrotd.service").read_text().splitlines()
    begin, end = lines.index("CapabilityBoundingSet="), lines.index("[Install]")
    container.write("/run/in_sandbox.py", f"{PREAMBLE}\n{IN_SANDBOX}")
    unit(
        container,
        f"{container.python} -I /run/in_sandbox.py",
        "Type=oneshot", f"Environment=LD_LIBRARY_PATH={Path(container.python).parents[1]}/lib",
        *lines[begin:end],
    )  # fmt: skip
    container.systemctl("start", UNIT, check=False)
    journal = container.journal(UNIT)
    assert container.property(UNIT, "Result") == "success", journal
    assert "-15\ntest\nanswered\nall of it" in journal


VERSION = """
from certrotd.adapters.processes import UnitVersion
said = UnitVersion(sys.argv[1]).read()
print(said.version or said.detail)
"""


def version_without_capabilities(container: Container) -> str:
    """What is said of UNIT's version by a process like certrotd in its own unit."""
    container.write("/run/version.py", "\n".join((*_LAUNCHER.splitlines()[:2], VERSION)))
    library = container.python.rpartition("/bin/")[0] + "/lib"
    return container.run(
        "systemd-run", "--quiet", "--wait", "--pipe", "--property=CapabilityBoundingSet=",
        f"--setenv=LD_LIBRARY_PATH={library}", container.python, "-I", "/run/version.py", UNIT,
    ).stdout.strip()  # fmt: skip


def test_a_unit_s_version_is_read_without_a_look_into_its_process(container: Container) -> None:
    container.run("mkdir", "-p", "/opt/version")
    container.run("cp", "/usr/bin/sleep", "/opt/version/sleep")
    unit(container, "/opt/version/sleep infinity")
    container.systemctl("start", UNIT)
    expected = container.run("sleep", "--version").stdout.split()[3]
    assert version_without_capabilities(container) == expected
    container.run("cp", "--remove-destination", "/usr/bin/sleep", "/opt/version/sleep")
    assert "was changed after it was started" in version_without_capabilities(container)


def test_what_a_unit_starts_is_not_taken_for_what_it_runs(container: Container) -> None:
    unit(container, "/bin/sh -c 'exec sleep infinity'")
    container.systemctl("start", UNIT)
    assert "not the one that the unit names" in version_without_capabilities(container)
