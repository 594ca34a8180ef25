"""Every key that was ever made is looked for everywhere but where it belongs."""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import certrotd
from tests.cli.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(.+?)-----END", re.DOTALL)
GENERATION = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{6}")
PATIENCE = 60.0
TRIED = str(Path(certrotd.__file__).parents[1])
"""Where the package is that is tried."""


@dataclass(slots=True)
class Canary:
    """A node, the keys seen on it so far, and all that certrotd said."""

    node: Node
    keys: set[bytes] = field(default_factory=set)
    said: bytes = b""

    @property
    def seen(self) -> Path:
        """Where etcd's script writes down what it was given."""
        return self.node.directory / "seen"

    def run(self, *words: str, umask: int = -1, **environment: str) -> int:
        """Run a command as a process, to its end."""
        process = self.start(*words, umask=umask, **environment)
        self.said += process.communicate(timeout=PATIENCE)[0]
        self.collect()
        return process.returncode

    def start(self, *words: str, umask: int = -1, **environment: str) -> subprocess.Popen[bytes]:
        scratch = self.node.directory / "tmp"
        scratch.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "certrotd", *words, "-c", str(self.node.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(scratch), "PYTHONPATH": TRIED}
            | environment,
            cwd=scratch,
            umask=umask,
        )

    def collect(self) -> None:
        """Remember every key there is: a line of its base64 is as good as all of it."""
        for path in self.files():
            for found in KEY.findall(path.read_bytes()):
                self.keys |= {line for line in found.split() if len(line) > 20}

    def files(self) -> Iterator[Path]:
        for path in self.node.directory.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path

    def strays(self) -> list[str]:
        """Name the places where a key is and does not belong."""
        state = self.node.directory / "state" / "history"
        homes = self.node.directory / "pki" / ".certrotd"
        found = []
        for path in self.files():
            own = path.is_relative_to(state) or path.is_relative_to(homes) or path.name == "ca.key"
            if not own and self._betrays(path.read_bytes()):
                found.append(str(path))
        if self._betrays(self.said):
            found.append("what was said")
        return found

    def _betrays(self, content: bytes) -> bool:
        return b"PRIVATE KEY" in content or any(key in content for key in self.keys)


def component(canary: Canary, tail: str = "") -> None:
    """Let etcd be told by a script that writes down all it can see of certrotd."""
    script = canary.node.directory / "tell.sh"
    script.write_text(
        "#!/bin/sh\n"
        f"cat /proc/$PPID/cmdline /proc/$PPID/environ /proc/$$/cmdline /proc/$$/environ "
        f'>> "{canary.seen}"\n'
        f"ls -l /proc/$$/fd >> {canary.seen}\n{tail}\n"
    )
    script.chmod(0o755)
    command = {"command": [str(script)], "timeout": "60s", "only_if": ["/bin/true"]}
    etcd = canary.node.component("etcd", activation={"exec": command})
    canary.node.settings["components"]["etcd"] = etcd
    canary.node.write()


@pytest.fixture
def canary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Canary:
    made = Canary(Node(tmp_path, capsys))
    component(made)
    return made


def test_no_key_is_anywhere_but_in_outputs_and_history(canary: Canary) -> None:
    assert canary.run("rotate", "--yes") == 0
    assert canary.run("rotate", "--yes", "--force") == 0
    refused = canary.node.directory / "refused"  # once; then rolled back and held
    component(canary, tail=f"[ -e {refused} ] || {{ touch {refused}; exit 1; }}")
    assert canary.run("rotate", "--yes", "--force", "etcd") == 4
    assert canary.run("rotate", "--yes", "--force") == 4
    for words in (("status",), ("status", "-o", "json"), ("history",), ("check",), ("resume",)):
        canary.run(*words)
    component(canary)
    assert canary.run("rollback", "etcd", "--yes") == 0
    pki = canary.node.directory / "pki"
    assert canary.run("inspect", str(pki / "etcd.crt"), str(pki / "etcd.key")) in (0, 2)
    assert canary.seen.read_bytes().count(b"certrotd") > 2
    assert len(canary.keys) > 8
    assert canary.strays() == []


def test_a_kill_in_the_middle_leaves_no_key_elsewhere(canary: Canary) -> None:
    component(canary, tail="while :; do sleep 0.05; done")
    process = canary.start("rotate", "--yes")
    _await_script(canary)
    for name in ("cmdline", "environ"):
        canary.said += Path(f"/proc/{process.pid}/{name}").read_bytes()
    process.send_signal(signal.SIGKILL)
    _end_script(canary)
    canary.said += process.communicate(timeout=PATIENCE)[0]
    canary.collect()
    component(canary)
    assert canary.run("rotate", "--yes") == 0
    assert canary.strays() == []


def test_a_crash_leaves_no_core_dump(canary: Canary) -> None:
    component(canary, tail="while :; do sleep 0.05; done")
    allowed = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (allowed[1], allowed[1]))
    try:
        process = canary.start("rotate", "--yes")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, allowed)
    _await_script(canary)
    process.send_signal(signal.SIGSEGV)
    _end_script(canary)
    canary.said += process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == -signal.SIGSEGV
    canary.collect()
    assert [path for path in canary.files() if path.name.startswith("core")] == []
    assert canary.strays() == []


def test_a_defect_whose_message_quotes_secrets_is_told_without_them(
    canary: Canary,
) -> None:
    (canary.node.directory / "tmp").mkdir()
    (canary.node.directory / "tmp" / "sitecustomize.py").write_text(
        "from certrotd.rotator import Rotator\n"
        "def run(self, wish):\n"
        "    key = '-----BEGIN PRIVATE KEY-----\\nCanaryCanary\\n-----END PRIVATE KEY-----'\n"
        "    raise ValueError(f'{key} hvs.CAESICanaryCanaryCanary0123')\n"
        "Rotator.run = run\n"
    )
    assert canary.run("rotate", "--yes", PYTHONPATH=f"{canary.node.directory / 'tmp'}:{TRIED}") == 1
    assert b"Traceback" in canary.said
    assert b"ValueError" in canary.said
    assert b"PRIVATE KEY" not in canary.said
    assert b"CanaryCanary" not in canary.said


def _await_script(canary: Canary) -> None:
    """Wait until etcd's script runs: then certrotd is in the middle, its keys in memory."""
    deadline = time.monotonic() + PATIENCE
    while not canary.seen.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _end_script(canary: Canary) -> None:
    """End the script that outlived its certrotd, found by its own command line."""
    wanted = str(canary.node.directory / "tell.sh").encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and wanted in _command_line(entry):
            os.kill(int(entry.name), signal.SIGKILL)


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_ca_key_that_is_broken_is_not_quoted(canary: Canary) -> None:
    key = canary.node.directory / "ca.key"
    canary.collect()
    key.write_bytes(key.read_bytes()[:-60])
    assert canary.run("rotate", "--yes") not in (0, 3)
    assert b"PRIVATE KEY" not in canary.said
    assert canary.strays() == []


def test_the_canary_is_seen_where_it_does_not_belong(canary: Canary) -> None:
    assert canary.run("rotate", "--yes") == 0
    (canary.node.directory / "stray").write_bytes(next(iter(canary.keys)))
    assert canary.strays() == [str(canary.node.directory / "stray")]


def test_a_whole_rotation_gives_the_same_modes_whatever_the_umask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for umask in (0, 0o022, 0o077):
        directory = tmp_path / f"{umask:o}"
        directory.mkdir(mode=0o755)
        canary = Canary(Node(directory, capsys))
        for _ in range(2):
            assert canary.run("rotate", "--yes", "--force", umask=umask) == 0
        found.append(dict(sorted(modes(directory))))
    assert found[0] == found[1] == found[2]
    assert found[0]["state"] == "700"


def modes(directory: Path) -> Iterator[tuple[str, str]]:
    """Return the mode of everything that certrotd made, whatever its generation is called."""
    for top in (directory / "pki", directory / "state"):
        for path in (top, *top.rglob("*")):
            name = GENERATION.sub("*", str(path.relative_to(directory)))
            yield name, f"{stat.S_IMODE(path.lstat().st_mode):o}"
