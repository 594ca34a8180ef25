"""Programs run for real."""

from __future__ import annotations

import os
import select
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.adapters.processes import CommandGate, CommandService, program
from certrotd.core.errors import ActivationFailed
from certrotd.core.model import ServiceState

LIMIT = timedelta(seconds=20)
SHORT = timedelta(seconds=0.2)


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def wait_until_gone(pid: int) -> None:
    """Wait for the end of somebody else's child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], 10)
    finally:
        os.close(descriptor)
    assert ready


def failure(*command: str, timeout: timedelta = LIMIT) -> str:
    with pytest.raises(ActivationFailed) as failed:
        CommandService(command, timeout).activate()
    return str(failed.value)


def test_a_program_that_exits_0_has_activated(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    CommandService(("/usr/bin/touch", str(mark)), LIMIT).activate()
    assert mark.exists()


def test_arguments_are_not_read_by_a_shell(tmp_path: Path) -> None:
    name = "$(id) `id`; *"
    CommandService(("/usr/bin/touch", str(tmp_path / name)), LIMIT).activate()
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_the_environment_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "canary")
    outcome = program.run(("/usr/bin/env",), 20)
    assert sorted(outcome.output.split("\n")) == [
        "LANG=C.UTF-8",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    ]


def test_it_has_its_own_session_no_input_and_the_root_as_directory() -> None:
    script = 'echo $$; cut -d" " -f6 /proc/$$/stat; readlink /proc/$$/fd/0; pwd'
    pid, session, stdin, directory = program.run(shell(script), 20).output.split("\n")
    assert pid == session
    assert (stdin, directory) == ("/dev/null", "/")


def test_open_files_are_not_inherited(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003  # the standard library's signature
        outcome = program.run(shell("readlink /proc/$$/fd/*"), 20)
    assert "secret" not in outcome.output


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "/bin/sh: exit status 3"),
        ("echo broken >&2; exit 1", "/bin/sh: exit status 1: broken"),
        ("echo only said; exit 1", "/bin/sh: exit status 1: only said"),
        ("exit 126", "/bin/sh: exit status 126: something it calls is not executable"),
        ("no-such-program 2>/dev/null", "exit status 127: something it calls was not found"),
        ("kill -SEGV $$", "/bin/sh: was ended by SIGSEGV"),
        ("exit 137", "exit status 137 (what it called was ended by SIGKILL)"),
    ],
)
def test_how_it_ended_is_said_in_words(script: str, told: str) -> None:
    assert told in failure(*shell(script))


def test_only_the_end_of_what_it_says_is_kept() -> None:
    text = failure(*shell("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo END >&2; exit 1"))
    assert text.endswith("xxxEND")
    assert len(text) < 2200


def test_control_characters_never_reach_the_message() -> None:
    text = failure(*shell(r"printf '\033[31mred\007\tand\r\nblue\000' >&2; exit 1"))
    assert "[31mred and" in text
    assert not any(character < " " and character != "\n" for character in text)


def test_a_private_key_in_the_output_is_not_shown() -> None:
    text = failure(*shell("echo -----BEGIN EC PRIVATE KEY----- >&2; echo c2VjcmV0 >&2; exit 1"))
    assert "c2VjcmV0" not in text
    assert "not shown" in text


def test_out_of_time_the_whole_group_is_ended(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 1000 & echo $! > {child}.new; mv {child}.new {child}; echo waiting >&2; wait"
    told = failure(*shell(script), timeout=timedelta(seconds=0.5))
    assert told.endswith("did not end within 0.5 s: waiting")
    wait_until_gone(int(child.read_text()))


def test_who_ignores_sigterm_gets_sigkill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "MERCY", 0.1)
    told = failure(*shell("trap '' TERM; while :; do sleep 1; done"), timeout=SHORT)
    assert "did not end within 0.2 s" in told


def test_a_child_left_behind_neither_delays_nor_is_ended(tmp_path: Path) -> None:
    child = tmp_path / "child"
    outcome = program.run(shell(f"setsid sleep 1000 & echo $! > {child}; echo started"), 20)
    pid = int(child.read_text())
    try:
        assert outcome.succeeded
        assert outcome.output == "started"
        os.kill(pid, 0)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_an_interrupt_ends_the_program_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    found: list[int] = []

    def interrupted(*_: object) -> bool:
        found.append(int(pipe.read_text()))  # returns when the program has started
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        program.run(shell(f"echo $$ > {pipe}; sleep 1000"), 60)
    wait_until_gone(found[0])


def test_nothing_is_left_open() -> None:
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    program.run(("/bin/true",), 20)
    before = descriptors()
    program.run(shell("exit 1"), 20)
    program.run(shell("sleep 1000"), 0.05)
    assert descriptors() == before


def make(path: Path, content: str, mode: int) -> str:
    path.write_text(content)
    path.chmod(mode)
    return str(path)


def test_a_program_anybody_can_write_is_not_run(tmp_path: Path) -> None:
    path = make(tmp_path / "open", "#!/bin/sh\n", 0o777)
    assert failure(path) == f"{path} can be written by everybody and is not run; chmod o-w {path}"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing", "is not there"),
        ("plain", "it is not executable"),
        ("interpreter", "the interpreter its first line names, is not there"),
        ("rubbish", "Exec format error"),
    ],
)
def test_a_program_that_cannot_be_run_is_told_why(tmp_path: Path, name: str, told: str) -> None:
    make(tmp_path / "plain", "#!/bin/sh\n", 0o644)
    make(tmp_path / "interpreter", "#!/no/such/shell\n", 0o755)
    make(tmp_path / "rubbish", "\x01\x02", 0o755)
    text = failure(str(tmp_path / name))
    assert text.startswith(f"{tmp_path / name} cannot be run: ")
    assert told in text


def test_a_relative_path_is_refused() -> None:
    assert failure("true") == "true is not an absolute path"


@pytest.mark.parametrize(
    ("only_if", "state"),
    [
        ((), ServiceState.UNKNOWN),
        (("/bin/true",), ServiceState.RUNNING),
        (("/bin/false",), ServiceState.STOPPED),
        (("/no/such/program",), ServiceState.UNKNOWN),
        (shell("exit 127"), ServiceState.UNKNOWN),
        (shell("kill -KILL $$"), ServiceState.UNKNOWN),
    ],
)
def test_only_if_tells_the_state(only_if: tuple[str, ...], state: ServiceState) -> None:
    assert CommandService(("/bin/true",), LIMIT, only_if).state() is state


def test_an_only_if_without_an_answer_in_time_is_unknown() -> None:
    service = CommandService(("/bin/true",), SHORT, shell("sleep 1000"))
    assert service.state() is ServiceState.UNKNOWN


def test_a_gate_is_open_when_its_program_exits_0() -> None:
    evidence = CommandGate(shell("echo chatter; exit 0"), LIMIT).check()
    assert evidence.holds
    assert evidence.detail == "/bin/sh: exit status 0"


def test_a_gate_tells_what_its_program_said() -> None:
    evidence = CommandGate(shell("echo no leader >&2; exit 2"), LIMIT).check()
    assert not evidence.holds
    assert evidence.detail == "/bin/sh: exit status 2: no leader"


def test_a_gate_without_its_program_is_closed() -> None:
    evidence = CommandGate(("/no/such/program",), LIMIT).check()
    assert (evidence.holds, evidence.reachable) == (False, False)
    assert "/no/such/program cannot be run" in evidence.detail
