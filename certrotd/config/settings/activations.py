"""Sections about activation: how a process comes to use what is published."""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from certrotd.config.section import Section
from certrotd.config.settings.words import (
    Argument,
    Flag,
    HostPort,
    HttpsUrl,
    Name,
    Path,
    Period,
    Text,
    Unit,
)


class Signal(Section):
    """Send a signal to the process."""

    one_of = ("pidfile", "unit")
    signal: Literal["HUP", "USR1", "USR2", "TERM", "INT", "QUIT", "WINCH"] = "HUP"
    """The signal's name."""
    pidfile: Path | None = None
    """A file with the process id, read each time."""
    unit: Unit | None = None
    """A systemd unit; its main process gets the signal."""
    process: Text | None = None
    """Only processes of this name (of the unit's, or the pidfile's) get it."""


class StaticPod(Section):
    """A static pod of this node's kubelet."""

    name: Text
    """The pod's name in its manifest, without the node's name."""
    namespace: Text = "kube-system"
    """The pod's namespace."""
    manifest: Path
    """Its manifest, in the kubelet's `staticPodPath`."""
    way: Literal["auto", "cri", "manifest"] = "auto"
    """`cri`: stop the container, the kubelet starts the next at once. `manifest`: change an
    annotation, the kubelet makes a new pod in 12 to 16 s. `auto`: `manifest` only where no
    container runtime answers, and never for what the kubelet itself needs."""
    runtime_endpoint: Path = "/run/containerd/containerd.sock"
    """The container runtime's CRI socket."""
    container: Text | None = None
    """One of its containers, where it has several; all of them if left out."""
    grace: Period | None = None
    """How long a stopped container has for its end, if not its pod's own grace period:
    kube-apiserver uses up all of it while anybody watches, without serving."""
    kubelet_health: HostPort | None = None
    """Where the kubelet answers `/healthz`, as 127.0.0.1:10248: a container is stopped only if
    somebody is there to start the next."""
    kubelet_pods: HostPort | None = None
    """The kubelet's read-only port, as 127.0.0.1:10255, to look at where no runtime answers."""
    serves_kubelet: Flag = False
    """The kubelet cannot finish a manifest change without it: API server, etcd."""


class Container(Section):
    """A container that is started again by whoever keeps it, as the kubelet does."""

    labels: Mapping[Argument, Argument]
    """Labels that only it has."""
    grace: Period | None = None
    """How long it has for its end, if not its pod's own grace period."""
    runtime_endpoint: Path = "/run/containerd/containerd.sock"
    """The container runtime's CRI socket."""


class Process(Section):
    """A process that is started again by whoever keeps it."""

    pidfile: Path
    """A file with the process id, read each time."""
    process: Text | None = None
    """Only a process of this name is ended."""
    signal: Literal["TERM", "INT", "QUIT"] = "TERM"
    """The signal that ends it."""


class Command(Section):
    """Run a program: no shell, a clean environment, a time limit."""

    command: tuple[Argument, ...]
    """The program (absolute path) and its arguments."""
    timeout: Period = timedelta(seconds=30)
    """After this time the program and its children are ended."""


class ActivationCommand(Command):
    """Run a program that makes the component use what is published."""

    only_if: tuple[Argument, ...] = ()
    """A program that exits 0 when the component is up; otherwise it is left down."""


class Restart(Section):
    """Restart the process and wait until it is up; exactly one of the kinds."""

    one_of = ("unit", "static_pod", "container", "process", "exec")
    unit: Unit | None = None
    """A systemd unit."""
    static_pod: StaticPod | None = None
    """A static pod."""
    container: Container | None = None
    """A CRI container."""
    process: Process | None = None
    """A process by its pidfile."""
    exec: ActivationCommand | None = None
    """A program that restarts it."""
    timeout: Period = timedelta(seconds=90)
    """How long the restart may take, a container's grace period included."""


class Nothing(Section):
    """No settings."""


class HttpVersion(Section):
    """An HTTPS path that tells the version: `/version`, or `/metrics` with the build's info."""

    url: HttpsUrl
    """What to get."""
    ca_file: Path
    """The CA of the server asked."""
    client_certificate: Name | None = None
    """A certificate of this node to present."""


class VersionSource(Section):
    """Where the running version is read; exactly one kind."""

    one_of = ("https", "binary", "unit", "given")
    https: HttpVersion | None = None
    """An HTTPS path of the process."""
    binary: Path | None = None
    """A program that prints its version with `--version`."""
    unit: Unit | None = None
    """A systemd unit; the program its main process runs is asked with `--version`."""
    given: Text | None = None
    """The version itself, for what cannot be asked."""


class Auto(Section):
    """What the reload matrix says of what changed: it reloads by itself, or is restarted."""

    program: Text
    """Its name in the reload matrix (`certrotd presets show`)."""
    restart: Restart
    """How it is restarted if need be."""
    version: tuple[VersionSource, ...] = ()
    """Where its running version is read; the first that answers counts. Without one the safest row
    of the matrix applies."""
    loopback: HostPort | None = None
    """kube-apiserver: where to look for its in-memory loopback certificate, which only a restart
    renews."""


class Activation(Section):
    """How the process comes to use a published certificate; exactly one."""

    one_of = ("auto", "reload", "signal", "restart", "exec", "none")
    auto: Auto | None = None
    """What the reload matrix says of what changed."""
    reload: Nothing | None = None
    """It re-reads its files by itself; the proofs show that it did."""
    signal: Signal | None = None
    """Send a signal."""
    restart: Restart | None = None
    """Restart it."""
    exec: ActivationCommand | None = None
    """Run a program."""
    none: Nothing | None = None
    """Nothing is done."""
