"""PID 1 of a node in namespaces of its own: `nodeinit.py DIRECTORY NAME ADDRESS`.

`unshare` runs it in new mount, network, PID and UTS namespaces. It makes a machine of them that
has the host's files but keeps every change to itself: what is written below /etc, /opt,
/usr/libexec and /var lands in DIRECTORY, /run is empty, and the kernel settings that a kubelet
changes are files. Then it says its process id, as the host counts, in `DIRECTORY/init.pid`, and
reaps orphans until it is killed; all that runs in the namespaces ends with it.

Standard library only: it is run by path.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

OVERLAID = ("/etc", "/opt", "/usr/libexec", "/var")
OWN = (
    "/etc/certrotd", "/etc/cni", "/etc/kubernetes", "/var/lib/certrotd", "/var/lib/containerd",
    "/var/lib/etcd", "/var/lib/kubelet", "/var/log/pods",
)  # fmt: skip
"""Plain folders of DIRECTORY: the host reads them there; containerd's cannot be an overlay."""
SETTINGS = (
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
)  # fmt: skip
"""What a kubelet sets for the whole machine, below /proc/sys."""


def own(directory: Path, inside: str) -> Path:
    """Where the host finds one of OWN."""
    return directory / inside.lstrip("/").replace("/", "-")


def pidfile(directory: Path) -> Path:
    """Process id of the node's init, as the host counts; there when the node can be used."""
    return directory / "init.pid"


def _mount(*arguments: str | Path, keep: tuple[int, ...] = ()) -> None:
    subprocess.run(["mount", *arguments], check=True, pass_fds=keep)


def _files(directory: Path) -> None:
    _mount("--make-rprivate", "/")
    before = os.open(directory, os.O_PATH)
    for each in (path for path in OVERLAID if Path(path).is_dir()):
        upper, work = (directory / kind / each.lstrip("/") for kind in ("changed", "work"))
        for folder in (upper, work):
            folder.mkdir(parents=True)
        layers = f"lowerdir={each},upperdir={upper},workdir={work}"
        _mount("-t", "overlay", "-o", layers, "overlay", each)
    # An overlay may have covered DIRECTORY.
    _mount("--no-canonicalize", "--bind", f"/proc/self/fd/{before}", directory, keep=(before,))
    os.close(before)
    for each in OWN:
        folder = own(directory, each)
        for made in (folder, Path(each)):
            made.mkdir(parents=True, exist_ok=True)
        _mount("--bind", folder, each)
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")


def _processes(directory: Path) -> None:
    _mount("-t", "proc", "proc", "/proc")
    settings = directory / "settings"
    settings.mkdir()
    for each in SETTINGS:
        real, file = Path("/proc/sys") / each, settings / each.replace("/", ".")
        file.write_text(real.read_text())
        _mount("--bind", file, real)


def _network(name: str, address: str) -> None:
    socket.sethostname(name)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # The kubelet and kubeadm refuse a loopback address, but not another one on that interface.
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)


def main(arguments: list[str]) -> None:
    """Command line."""
    directory = Path(arguments[0])
    outside = Path("/proc/self").readlink()  # before this /proc is covered
    _files(directory)
    _processes(directory)
    _network(*arguments[1:])
    staged = pidfile(directory).with_suffix(".new")
    staged.write_text(f"{outside}\n")
    staged.rename(pidfile(directory))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # then the kernel reaps
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
