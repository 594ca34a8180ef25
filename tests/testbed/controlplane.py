"""A real control plane on loopback: etcd, kube-apiserver, controller-manager and scheduler.

It reads certificates and kubeconfigs in kubeadm's layout and issues none of them; only the
service-account key pair, which nobody else makes, is its own. Each server has a supervisor, so that
it can be restarted by a plain command (restartctl.py), as a service manager would.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.testbed import restartctl
from tests.testbed.arguments import arguments
from tests.testbed.build import ensure
from tests.testbed.inventory import (
    ADMIN,
    APISERVER,
    COMPONENTS,
    CONTROLLER_MANAGER,
    ETCD,
    HOST,
    SCHEDULER,
    Component,
    Domain,
    Inventory,
    Layout,
    Ports,
)
from tests.testbed.kubeapi import KubeClient, call, client_context
from tests.testbed.processes import ServerFailed, ServerProcess, free_ports
from tests.testbed.serviceaccounts import key_pair
from tests.testbed.supervise import argv_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOT = Path(__file__).parents[2]
_DEADLINE = 120.0
_AFTER = {
    ETCD: (),
    APISERVER: (ETCD,),
    CONTROLLER_MANAGER: (APISERVER,),
    SCHEDULER: (APISERVER,),
    ADMIN: (APISERVER,),
}


class ControlPlane:
    """One-node control plane; as a context manager it stops everything at the end.

    Args:
        directory: Takes the place of `/etc/kubernetes`; state, logs and pidfiles go to
            `directory/run`.
        embed: Whether the kubeconfigs of controller-manager and scheduler hold their identities,
            as kubeadm's do (then a new certificate needs a restart).
        extra_arguments: Appended to a component's command line, by component name.
    """

    def __init__(
        self,
        directory: Path,
        *,
        embed: bool = True,
        extra_arguments: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.directory = directory
        self.run = directory / "run"
        names = ("etcd", "etcd_peer", "apiserver", "controller_manager", "scheduler")
        chosen = dict(zip(names, free_ports(len(names), HOST), strict=True))
        self.ports = Ports(**chosen)
        self.layout = Layout(root=directory, ports=self.ports, embed=embed)
        self.extra_arguments = dict(extra_arguments or {})
        self._supervisors = {
            name: ServerProcess(
                f"{name}-supervisor",
                [sys.executable, "-m", "tests.testbed.supervise", name, str(self.run)],
                directory=self.run,
                environment={"PYTHONPATH": str(_ROOT)},
            )
            for name in COMPONENTS
        }

    def inventory(self) -> Inventory:
        """What each component needs, where it answers and how it is restarted."""
        return Inventory(
            authorities=self.layout.authorities,
            components=tuple(self._component(name) for name in (*COMPONENTS, ADMIN)),
        )

    def _component(self, name: str) -> Component:
        process = name in COMPONENTS
        return Component(
            name=name,
            after=_AFTER[name],
            health=self.health_url(name) if process else None,
            pidfile=self.pidfile(name) if process else None,
            restart=self.restart_argv(name) if process else (),
            certificates=self.layout.certificates(name),
        )

    def health_url(self, name: str) -> str:
        """An HTTPS URL of a component that answers 200 when it is well."""
        port, path = {
            ETCD: (self.ports.etcd, "/readyz"),
            APISERVER: (self.ports.apiserver, "/readyz"),
            CONTROLLER_MANAGER: (self.ports.controller_manager, "/healthz"),
            SCHEDULER: (self.ports.scheduler, "/readyz"),
        }[name]
        return f"https://{HOST}:{port}{path}"

    def pidfile(self, name: str) -> Path:
        """The process id of the server itself."""
        return restartctl.pidfile(self.run, name)

    def pid(self, name: str) -> int:
        """The process id of the server itself."""
        return int(self.pidfile(name).read_text())

    def log(self, name: str) -> Path:
        """The server's output."""
        return self.run / f"{name}.log"

    def restart_argv(self, name: str) -> tuple[str, ...]:
        """A command that restarts one server and returns when the new process runs."""
        return (sys.executable, restartctl.__file__, name, str(self.run))

    @property
    def service_account_keys(self) -> tuple[Path, Path]:
        """Private and public key of the service-account token issuer."""
        return self.layout.pki / "sa.key", self.layout.pki / "sa.pub"

    def start(self, *names: str) -> Self:
        """Start the named components (all, if none is named) in order, each until it is ready."""
        self._prepare()
        for name in (each for each in COMPONENTS if not names or each in names):
            argv = [str(ensure(name)), *arguments(name, self.layout, self.run)]
            argv += self.extra_arguments.get(name, ())
            argv_file(self.run, name).write_text(json.dumps(argv))
            self._supervisors[name].start()
            self.wait_ready(name)
        return self

    def stop(self, *names: str) -> None:
        """Stop the named components (all, if none is named), last first."""
        for name in reversed(COMPONENTS):
            if not names or name in names:
                self._supervisors[name].stop()

    def restart(self, name: str) -> None:
        """Restart one server in place and wait until it is ready."""
        restartctl.restart(self.run, name)
        self.wait_ready(name)

    def wait_ready(self, name: str, deadline: float = _DEADLINE) -> None:
        """Wait until a component answers its health URL with 200.

        Raises:
            ServerFailed: it did not; the message ends with the server's log.
        """
        try:
            self._supervisors[name].wait_ready(lambda: self.ready(name), deadline)
        except ServerFailed as failed:
            log = self.log(name)
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            raise ServerFailed("\n".join([str(failed), f"{log}:", *lines[-30:]])) from failed

    def ready(self, name: str) -> bool:
        """Whether a component answers its health URL with 200; OSError if it does not answer."""
        if name == ETCD:
            pair = self.inventory().certificate("etcd-healthcheck-client")
            if pair.certificate is None or pair.key is None:
                return False
            ca = self.layout.authorities[Domain.ETCD]
            context = client_context(ca, pair.certificate, pair.key)
            return call(self.health_url(name), context)[0] == http.client.OK
        return self.client().status_of(self.health_url(name)) == http.client.OK

    def client(self, kubeconfig: str = ADMIN) -> KubeClient:
        """An API client with the identity that a kubeconfig holds now."""
        return KubeClient(self.layout.kubeconfig(kubeconfig))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self) -> None:
        self.run.mkdir(parents=True, exist_ok=True)
        private, public = self.service_account_keys
        if private.exists():
            return
        private.parent.mkdir(parents=True, exist_ok=True)
        key, published = key_pair()
        public.write_bytes(published)
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(key)
