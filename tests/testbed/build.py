"""Getting the real servers: from PATH, from a cache folder, or built from pinned Go modules.

`python -m tests.testbed.build [NAME…]` gets all (or the named) ones and prints where they are.

A binary on PATH comes first, whatever its version (CERTROTD_TESTBED_IGNORE_PATH=1 skips it).
The cache is `${CERTROTD_CACHE:-~/.cache}/certrotd/testbed`; deleting it is always safe.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.testbed.catalogue import BUILD_FLAGS, SERVERS, Server
from tests.testbed.golang import Go, GoMissing, find_go
from tests.testbed.terminal import Progress, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNREACHABLE = re.compile(
    r"dial tcp|no such host|connection refused|i/o timeout|proxyconnect|TLS handshake"
    r"|network is unreachable|module lookup disabled|certificate signed by unknown authority"
)
_SHOWN_LINES = 25


class BuildFailed(Exception):
    """A server could not be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """One binary; `source` is PATH, cache or built."""

    server: Server
    path: Path
    source: str
    seconds: float

    def version(self) -> str:
        """What the binary says about itself, or the pinned version if it says nothing."""
        said = subprocess.run(
            [self.path, self.server.version_argument],
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"v?(\d+\.\d+\.\d+[\w.+-]*)", said.stdout + said.stderr)
        return found[1] if found else f"{self.server.version}?"


def cache_folder() -> Path:
    """Where built binaries and, if need be, Go are kept."""
    base = os.environ.get("CERTROTD_CACHE") or Path.home() / ".cache"
    return Path(base).expanduser().absolute() / "certrotd" / "testbed"


def ensure(name: str) -> Path:
    """Return the path of a server's binary, building it first if there is none.

    Raises:
        BuildFailed: with the reason.
    """
    return obtain(name).path


def obtain(name: str, place: str = "") -> Obtained:
    """Like `ensure`, telling also where it came from; `place` (e.g. "2 of 7") is shown."""
    began = time.monotonic()
    server = SERVERS[name]
    found = shutil.which(name)
    if found and not os.environ.get("CERTROTD_TESTBED_IGNORE_PATH"):
        return Obtained(server=server, path=Path(found), source="PATH", seconds=0.0)
    folder = cache_folder() / server.key
    binary = folder / name
    source = "cache"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / "lock", f"{name} is being built by another process; waiting"):
            if not binary.exists():  # nobody built it while we waited
                _build(server, binary, place)
                source = "built"
    return Obtained(
        server=server, path=binary, source=source, seconds=round(time.monotonic() - began, 1)
    )


@contextmanager
def _lock(path: Path, waiting: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(server: Server, binary: Path, place: str) -> None:
    cache = cache_folder()
    try:
        with _lock(cache / "go.lock", "Go is being installed by another process; waiting"):
            go = find_go(server.go_version, cache)
    except GoMissing as missing:
        raise BuildFailed(f"{server.name} cannot be built: {missing}") from missing
    title = f"{server.name} {server.version}" + (f" ({place})" if place else "")
    log = binary.with_name(f"{server.name}.log")
    say(f"building {title} with {go.binary}; log in {log}")
    with Progress(title) as progress:
        total = _download(go, server, log, progress)
        _compile(go, server, binary, log, total, progress)
        say(f"built {title} in {progress.elapsed:.0f} s")


def _download(go: Go, server: Server, log: Path, progress: Progress) -> int:
    """Fetch the modules that are needed; return how many packages there are to compile."""
    modules = packages = 0
    with log.open("w") as written, _go(go, server, "list", "-deps", server.package) as listing:
        for line in _output(listing):
            if " " not in line:  # an import path; everything else is a message
                packages += 1
                continue
            written.write(line)
            if line.startswith("go: downloading"):
                modules += 1
                progress.show(f"{modules} modules downloaded")
    _check(listing, server, log)
    return packages


def _compile(
    go: Go, server: Server, binary: Path, log: Path, total: int, progress: Progress
) -> None:
    """Compile and link, then let the binary appear whole."""
    staged = binary.with_name(f".{server.name}.{os.getpid()}")
    arguments = ("build", "-v", *BUILD_FLAGS, "-ldflags", server.linker_flags)
    compiled = 0
    with (
        log.open("a") as written,
        _go(go, server, *arguments, "-o", str(staged), server.package) as build,
    ):
        for line in _output(build):
            written.write(line)
            compiled += 1
            progress.show(f"package {compiled} of {total} at most")
    try:
        _check(build, server, log)
        staged.rename(binary)
    finally:
        staged.unlink(missing_ok=True)


def _go(go: Go, server: Server, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [go.binary, *arguments],
        cwd=server.source,
        env=go.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _output(process: subprocess.Popen[str]) -> Iterator[str]:
    if process.stdout is not None:
        yield from process.stdout


def _check(process: subprocess.Popen[str], server: Server, log: Path) -> None:
    if process.returncode == 0:
        return
    tail = "".join(log.read_text().splitlines(keepends=True)[-_SHOWN_LINES:]).strip()
    message = f"{server.name} {server.version} could not be built; {log} ends with:\n{tail}\n"
    if _UNREACHABLE.search(tail):
        message += (
            "The Go module proxy cannot be reached. Set GOPROXY (and HTTPS_PROXY, SSL_CERT_FILE) "
            f"so that `go mod download` works, or put {server.name} on PATH, or copy "
            f"{log.parent} from a machine that has it."
        )
    raise BuildFailed(message)


def main(names: Sequence[str]) -> int:
    """Get all named servers and print what was had, and from where."""
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        say(f"unknown: {', '.join(unknown)}; there are {', '.join(SERVERS)}")
        return 2
    wanted = list(names or SERVERS)
    rows = [("NAME", "VERSION", "SOURCE", "SECONDS", "PATH")]
    built = False
    for index, name in enumerate(wanted, start=1):
        try:
            had = obtain(name, f"{index} of {len(wanted)}")
        except BuildFailed as failed:
            say(str(failed))
            return 1
        built = built or had.source == "built"
        rows.append((name, had.version(), had.source, f"{had.seconds:.1f}", str(had.path)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    if built:
        go = find_go(SERVERS[wanted[0]].go_version, cache_folder())
        build_cache, modules = go.cache_folders()
        say(
            f"Go's own caches ({build_cache}, {modules}) have grown by some GB; they are no longer "
            f"needed, and `{go.binary} clean -cache -modcache` empties them."
        )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        say("interrupted; what was compiled stays in Go's cache")
        sys.exit(130)
