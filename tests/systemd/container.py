"""A real systemd, booted in a container whose root is volatile; the machine's own is never touched.

systemd-nspawn with `--volatile=yes` takes only the machine's /usr, read-only, and an empty
temporary file system for the rest. certrotd lies in it as a package would put it: a command
/usr/bin/certrotd, which no sandbox of a unit hides, and the units of systemd/.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.systemd.controlgroup import ControlGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REPOSITORY = Path(__file__).parents[2]
BOOT = 120.0
"""Time limits in seconds: to boot, to run one command, to see an event, to power off."""
COMMAND = 120.0
EVENT = 45.0
STOP = 60.0
_NEWNET = 0x40000000
_PYTHON = "/opt/python"
_CODE = "/opt/certrotd"
_UNITS = "/etc/systemd/system"
_LAUNCHER = f"""import sys
sys.path[:0] = ["{_CODE}/source", "{_CODE}/site-packages"]
from certrotd.__main__ import main
main()
"""


class Container:
    """One container; a context manager that boots it and powers it off."""

    def __init__(
        self,
        directory: Path,
        name: str = "certrotd-tests",
        *,
        binds: Mapping[str, Path] | None = None,
        kept: Sequence[str] = (),
    ) -> None:
        """Make one that can be booted, and booted again.

        Args:
            directory: Takes what the container is made of; the console's output is in it, too.
            name: The host name inside.
            binds: The machine's files and directories that are to be seen inside, read-only.
            kept: Directories whose content outlives the container, as a disk outlives a power cut.
        """
        self._directory = directory
        self._name = name
        self._binds = dict(binds or {})
        self._kept = tuple(kept)
        self._console = directory / "console.log"
        self._group = ControlGroup(f"{name}-{os.getpid()}")
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def boot(self) -> None:
        """Start it, and return when its systemd has started everything."""
        try:
            self._boot()
        except BaseException:
            self.terminate()
            raise

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Connect from inside: sockets that this thread opens belong to the container's network."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as home,
            Path(f"/proc/{self._leader}/ns/net").open("rb") as inside,
        ):
            _enter_network(inside.fileno())
            try:
                yield
            finally:
                _enter_network(home.fileno())

    def in_network(self, *command: str) -> list[str]:
        """A command of the machine's as it is run in the container's network."""
        return ["nsenter", f"--target={self._leader}", "--net", "--", *command]

    @property
    def python(self) -> str:
        """The interpreter, as it is called inside."""
        return f"{_home()}/bin/python{sysconfig.get_python_version()}"

    def path(self, inside: str) -> Path:
        """The container's file as this process reaches it; gone when the container is."""
        return Path(f"/proc/{self._leader}/root{inside}")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root, with a clean environment, to its end."""
        limited = ("timeout", "--signal=KILL", f"{COMMAND:g}", *command)
        done = subprocess.run(
            self._inside(*limited),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(
                f"{shlex.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def run_python(self, code: str, *arguments: str) -> str:
        """Run Python code inside, with certrotd to import; return what it prints."""
        preamble = "\n".join(_LAUNCHER.splitlines()[:2])
        library = f"LD_LIBRARY_PATH={_home()}/lib"
        return self.run(
            "env", library, self.python, "-I", "-c", f"{preamble}\n{code}", *arguments
        ).stdout

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl inside; return what it prints."""
        return self.run("systemctl", "--no-pager", *arguments, check=check).stdout.strip()

    def property(self, unit: str, name: str) -> str:
        """One property of a unit, in systemd's words."""
        return self.systemctl("show", f"--property={name}", "--value", "--", unit)

    def journal(self, unit: str) -> str:
        """What the unit, and systemd about it, has logged since the boot."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def await_journal(self, unit: str, text: str, times: int = 1, limit: float = EVENT) -> str:
        """Wait until so many lines of a unit's journal hold the text; return the last of them.

        Raises:
            AssertionError: they did not come in time.
        """
        follow = self._inside(
            "journalctl", "--no-pager", "--output=cat", "--lines=all", "--follow", f"--unit={unit}"
        )
        lines = []
        with subprocess.Popen(
            follow,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as following:

            def end() -> None:
                # The group, as nsenter's own child reads the journal.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(following.pid, signal.SIGKILL)

            late = threading.Timer(limit, end)
            late.start()
            try:
                for line in following.stdout or ():
                    lines.append(line)
                    times -= text in line
                    if times == 0:
                        return line
            finally:
                late.cancel()
                end()
        raise AssertionError(f"{unit} did not log {text!r} in {limit:g} s:\n{''.join(lines)}")

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the container."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def add_unit(self, name: str, text: str) -> None:
        """Write a unit, or a drop-in `UNIT.d/NAME.conf`, and make systemd read it."""
        self.write(f"{_UNITS}/{name}", text)
        self.systemctl("daemon-reload")

    def remove_unit(self, name: str) -> None:
        """Remove what `add_unit` wrote."""
        self.path(f"{_UNITS}/{name}").unlink(missing_ok=True)
        self.systemctl("daemon-reload")

    def terminate(self) -> None:
        """Power off; whatever does not end in time is killed."""
        if self._nspawn is None:
            return
        self._nspawn.send_signal(signal.SIGTERM)  # nspawn: an orderly shutdown
        self._await_end()

    def cut_power(self) -> None:
        """End everything inside at once; what is `kept` stays."""
        # Nobody shall see another go first: systemd's sockets close before the rest is killed.
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        os.kill(self._leader, signal.SIGKILL)  # all processes of its PID namespace go with it
        self._await_end()

    def _processes(self) -> Iterator[int]:
        """Yield the processes of the leader's PID namespace, but not the leader itself."""
        namespace = Path(f"/proc/{self._leader}/ns/pid").readlink()
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != self._leader:
                # It has ended meanwhile, or is the machine's own and not to be looked at.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                    if (entry / "ns" / "pid").readlink() == namespace:
                        yield int(entry.name)

    def _await_end(self) -> None:
        if self._nspawn is None:
            return
        try:
            self._nspawn.wait(STOP)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._nspawn = None
        self._group.remove()

    def _inside(self, *command: str) -> list[str]:
        return [
            "nsenter", f"--target={self._leader}", "--all", "--",
            "env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin", "LANG=C.UTF-8", *command,
        ]  # fmt: skip

    def _boot(self) -> None:
        """Start nspawn and wait until its systemd says that all of the boot is done."""
        address = self._directory / "notify"
        address.unlink(missing_ok=True)
        self._group.make()
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
            self._console.open("wb") as console,
        ):
            channel.bind(str(address))
            channel.settimeout(BOOT)
            self._nspawn = subprocess.Popen(
                self._group.entering(self._command()),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NOTIFY_SOCKET": str(address)},
            )
            self._await_ready(channel)
        # Not earlier: the temporary file systems of the boot are mounted now.
        self.run("systemctl", "is-system-running", "--wait")

    def _await_ready(self, channel: socket.socket) -> None:
        while True:
            try:
                told = channel.recv(4096).decode().splitlines()
            except TimeoutError:
                raise AssertionError(f"no boot in {BOOT:g} s:\n{self._last_words()}") from None
            for line in told:
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    self._leader = int(line.partition("=")[2])
            if "READY=1" in told:
                return

    def _last_words(self) -> str:
        return self._console.read_text(errors="replace")[-3000:]

    def _command(self) -> list[str]:
        usr = self._package()
        binds = {
            "/dev/null": f"{_UNITS}/systemd-firstboot.service",
            str(self._directory / "launch.py"): f"{_CODE}/launch.py",
            str(REPOSITORY / "certrotd"): f"{_CODE}/source/certrotd",
            sysconfig.get_path("platlib"): f"{_CODE}/site-packages",
        }
        if _home() == _PYTHON:
            binds[sys.base_prefix] = _PYTHON
        if Path("/etc/ld.so.cache").exists():
            binds["/etc/ld.so.cache"] = "/etc/ld.so.cache"
        binds |= {str(outside): inside for inside, outside in self._binds.items()}
        kept = {self._directory / "kept" / each.strip("/"): each for each in self._kept}
        for outside in kept:
            outside.mkdir(parents=True, exist_ok=True)
        return [
            # Whatever becomes of this process, the container ends with it.
            "setpriv", "--pdeathsig=TERM",
            "systemd-nspawn", "--quiet", "--directory=/", "--volatile=yes", "--register=no",
            "--keep-unit", f"--machine={self._name}", "--resolv-conf=off", "--private-network",
            "--notify-ready=yes", f"--overlay-ro=/usr:{usr}:/usr",
            *(f"--bind-ro={outside}:{inside}" for outside, inside in binds.items()),
            *(f"--bind={outside}:{inside}" for outside, inside in kept.items()),
            "--boot", "--",
            # Only what every systemd starts, not the machine's own services.
            "systemd.condition-first-boot=no", "systemd.unit=multi-user.target",
        ]  # fmt: skip

    def _package(self) -> Path:
        """Lay out what a package would put into /usr."""
        usr = self._directory / "usr"
        units = usr / "lib" / "systemd" / "system"
        units.mkdir(parents=True, exist_ok=True)
        (usr / "bin").mkdir(exist_ok=True)
        for unit in (REPOSITORY / "systemd").glob("certrotd*.*"):
            shutil.copy(unit, units)
        (self._directory / "launch.py").write_text(_LAUNCHER)
        command = usr / "bin" / "certrotd"
        command.write_text(
            f"#!/bin/sh\nLD_LIBRARY_PATH={_home()}/lib "
            f'exec {self.python} -I {_CODE}/launch.py "$@"\n'
        )
        for each in (usr, *usr.rglob("*")):
            each.chmod(0o755 if each.is_dir() or each == command else 0o644)
        return usr


def _enter_network(descriptor: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, _NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _home() -> str:
    """Where the interpreter lies inside: in /usr it is there already, all else is brought."""
    return sys.base_prefix if sys.base_prefix.startswith("/usr") else _PYTHON
