from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed import build
from tests.testbed.catalogue import SERVERS

ROOT = Path(__file__).parents[2]

GO = """#!/bin/sh
# Stands in for Go: every build is noted, and makes a script that tells a version.
case "$1" in
    env)
        if [ "$2" = GOVERSION ]; then echo go9.9.9; exit; fi
        printf '%s\\n%s\\n' "$HOME/build" "$HOME/modules" ;;
    list) echo one; {list} ;;
    build)
        echo built >> "$HOME/builds"
        while [ "$1" != -o ]; do shift; done
        printf '#!/bin/sh\\necho v1.2.3\\n' > "$2" && chmod +x "$2" ;;
esac
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "CERTROTD_CACHE": str(tmp_path / "cache"),
        "CERTROTD_TESTBED_IGNORE_PATH": "1",
    }


def install_go(tmp_path: Path, listing: str = "true") -> None:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(GO.replace("{list}", listing))
    go.chmod(0o755)


def start(environment: dict[str, str], *names: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.testbed.build", *names],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_build_a_server_once(tmp_path: Path, environment: dict[str, str]) -> None:
    install_go(tmp_path, "sleep 0.3")
    running = [start(environment, "etcd") for _ in range(2)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "1.2.3" in out
    assert (tmp_path / "builds").read_text() == "built\n"


def test_a_proxy_that_cannot_be_reached_is_named_with_what_to_do(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    install_go(tmp_path, "echo 'dial tcp: lookup proxy: no such host' >&2; seq 99; exit 1")
    process = start(environment, "etcd")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "no such host" in err
    assert "GOPROXY" in err


def test_an_unknown_server_is_refused(environment: dict[str, str]) -> None:
    process = start(environment, "vualt")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "vualt" in err


def test_a_binary_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = tmp_path / "vault"
    vault.write_text("#!/bin/sh\necho Vault v1.99.0\n")
    vault.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CERTROTD_TESTBED_IGNORE_PATH", raising=False)
    had = build.obtain("vault")
    assert (had.path, had.source, had.version()) == (vault, "PATH", "1.99.0")


def test_binaries_of_one_module_share_a_folder_and_modules_do_not() -> None:
    keys = {name: server.key for name, server in SERVERS.items()}
    assert keys["kube-apiserver"] == keys["kubeadm"]
    assert len(set(keys.values())) == len({server.module for server in SERVERS.values()}) == 5


def test_every_module_is_pinned_with_checksums() -> None:
    foreign = [server for server in SERVERS.values() if server.name != "pod-pause"]
    for server in foreign:
        assert server.version in (server.source / "go.mod").read_text()
        assert (server.source / "go.sum").stat().st_size > 1000
