from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed import restartctl
from tests.testbed.processes import ServerFailed, ServerProcess, free_port, free_ports
from tests.testbed.supervise import argv_file

ROOT = Path(__file__).parents[2]

LISTENS = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        listener.accept()[0].close()
"""

STARTS_A_SERVER = """
import pathlib, signal, sys
from tests.testbed.processes import ServerProcess
server = ServerProcess("sleep", ["sleep", "3600"], directory=pathlib.Path(sys.argv[1]))
print(server.start().pid, flush=True)
signal.pause()
"""


def listener(port: int) -> list[str]:
    return [sys.executable, "-ISc", LISTENS, str(port)]


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True


def wait_for_end(pid: int) -> None:
    """Until a process that is no child of ours is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return

    assert select.select([descriptor], [], [], 30)[0]
    os.close(descriptor)


def test_free_ports_are_all_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20


def test_a_server_is_ready_when_it_answers_and_gone_when_stopped(tmp_path: Path) -> None:
    port = free_port()
    with ServerProcess("listener", listener(port), directory=tmp_path) as server:
        server.wait_ready(lambda: answers(port))
        pid = server.pid
        assert server.restart().wait_ready(lambda: answers(port)).pid != pid
    assert not server.running
    with pytest.raises(ConnectionRefusedError):
        answers(port)


def test_a_server_that_dies_is_reported_at_once_with_the_end_of_its_log(tmp_path: Path) -> None:
    argv = [sys.executable, "-ISc", "import sys; sys.exit('no such flag: --frob')"]
    server = ServerProcess("broken", argv, directory=tmp_path).start()
    with pytest.raises(ServerFailed, match="no such flag: --frob"):
        server.wait_ready(lambda: False, deadline=3600)
    server.stop()


def test_a_server_that_ignores_sigterm_is_killed_with_its_group(tmp_path: Path) -> None:
    stubborn = "import signal, subprocess, sys; signal.signal(15, signal.SIG_IGN);"
    stubborn += "child = subprocess.Popen(['sleep', '3600']); print(child.pid, flush=True);"
    stubborn += "signal.pause()"
    argv = [sys.executable, "-c", stubborn]
    server = ServerProcess("stubborn", argv, directory=tmp_path).start()
    server.wait_ready(lambda: server.log.read_text() != "")
    server.stop(grace=0.05)
    wait_for_end(int(server.log.read_text()))
    assert not server.running


def test_a_server_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            STARTS_A_SERVER,
            str(tmp_path),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_for_end(pid)


@pytest.fixture
def supervised(tmp_path: Path) -> ServerProcess:
    port = free_port()
    argv_file(tmp_path, "listener").write_text(json.dumps(listener(port)))
    return ServerProcess(
        "supervisor",
        [sys.executable, "-m", "tests.testbed.supervise", "listener", str(tmp_path)],
        directory=tmp_path,
        environment={"PYTHONPATH": str(ROOT)},
    )


def test_a_supervised_server_is_restarted_by_a_command_and_when_it_dies(
    supervised: ServerProcess, tmp_path: Path
) -> None:
    command = [sys.executable, restartctl.__file__, "listener", str(tmp_path)]
    count = restartctl.start_count(tmp_path, "listener")
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1
    with supervised:
        supervised.wait_ready(restartctl.supervisor_pidfile(tmp_path, "listener").exists)
        first = int(restartctl.pidfile(tmp_path, "listener").read_text())
        assert subprocess.run(command, check=True, env={}).returncode == 0
        second = int(restartctl.pidfile(tmp_path, "listener").read_text())
        wait_for_end(first)
        assert first != second
        os.kill(second, signal.SIGKILL)
        supervised.wait_ready(lambda: count.read_text() == "3\n")
        third = int(restartctl.pidfile(tmp_path, "listener").read_text())
    wait_for_end(third)
    assert not restartctl.pidfile(tmp_path, "listener").exists()
