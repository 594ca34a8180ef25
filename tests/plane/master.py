"""A master whose whole control plane runs as units of a real systemd, kept by certrotd's own unit.

Disks are what outlives the container: /etc/kubernetes, etcd's data, certrotd's state and so on.
"""

from __future__ import annotations

import copy
import hashlib
import http.client
import json
import shlex
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from certrotd.adapters.clock import SystemClock
from tests.plane.units import (
    ADDRESS,
    API_PORT,
    APISERVER,
    BINARIES,
    CA_FILES,
    ETCD_EVENTS,
    KUBERNETES,
    NETWORK,
    NODE,
    PKI,
    PLANE,
    PROGRAMS,
    SERVICE_IP,
    units,
)
from tests.plane.vault import HOST, PORT, VaultUnit
from tests.systemd.container import Container
from tests.systemd.node import CONFIG, DAEMON, ONCE, STATE
from tests.testbed.build import ensure
from tests.testbed.kubeapi import ApiAnswered, KubeClient
from tests.testbed.serviceaccounts import key_pair

if TYPE_CHECKING:
    from pathlib import Path

Settings = dict[str, Any]
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
_RENEWED = timedelta(seconds=4)
"""A leader renews its Lease every 2 s."""
DISKS = (
    "/etc/systemd/system", KUBERNETES, "/etc/etcd", "/etc/etcd-events", "/etc/certrotd",
    "/etc/vault.d", STATE, "/var/lib/etcd", "/var/lib/etcd-events", "/var/lib/vault",
)  # fmt: skip
SERVED = {
    "etcd-events-server": (ADDRESS, 2381, "/etc/etcd-events/pki/server.crt"),
    "etcd-events-peer": (ADDRESS, 2382, "/etc/etcd-events/pki/peer.crt"),
    "etcd-server": (ADDRESS, 2379, "/etc/etcd/pki/server.crt"),
    "etcd-peer": (ADDRESS, 2380, "/etc/etcd/pki/peer.crt"),
    "apiserver": (ADDRESS, API_PORT, f"{PKI}/apiserver.crt"),
    "controller-manager-serving": ("127.0.0.1", 10257, f"{PKI}/controller-manager-serving.crt"),
    "scheduler-serving": ("127.0.0.1", 10259, f"{PKI}/scheduler-serving.crt"),
}
"""Every port that presents a certificate, that certificate's name, and where it lies."""
READY = 60.0
"""Time limit in seconds for the plane to be ready."""
ADMIN = f"{KUBERNETES}/admin.conf"
_ANCHORS = "/etc/certrotd/anchors"
_SECRET_ID = "/etc/certrotd/secret-id"
_HEALTH = {
    "kube-apiserver": f"https://{ADDRESS}:{API_PORT}/readyz",
    "kube-controller-manager": "https://127.0.0.1:10257/healthz",
    "kube-scheduler": "https://127.0.0.1:10259/readyz",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run of certrotd's unit ended and what it logged."""

    code: int
    events: tuple[Settings, ...]

    @property
    def results(self) -> dict[str, str]:
        """How each component's step ended."""
        ended = ("step_finished", "step_failed")
        return {each["component"]: each["result"] for each in self.events if each["event"] in ended}

    def told(self, event: str, component: str) -> str:
        """The details of a component's events of one kind, in one text."""
        fields = ("detail", "error", "reason", "reasons")
        return "\n".join(
            str(each[field])
            for each in self.events
            if (each["event"], each.get("component")) == (event, component)
            for field in fields
            if field in each
        )


class Master:
    """The node. `settings` is certrotd's configuration, to be changed and written again."""

    def __init__(self, directory: Path) -> None:
        programs = {f"{BINARIES}/{each}": ensure(each) for each in PROGRAMS}
        self.container = Container(directory, NODE, binds=programs, kept=DISKS)
        self.settings: Settings = {}
        self._drop_ins: list[str] = []

    def prepare(self) -> None:
        """From an empty machine to a control plane that runs with what certrotd bootstrapped."""
        container = self.container
        for name, text in units().items():
            container.write(f"/etc/systemd/system/{name}", text)
        container.systemctl("daemon-reload")
        container.systemctl("enable", "--now", NETWORK)
        self.vault = VaultUnit(container)
        self.vault.start()
        container.write("/etc/certrotd/vault-ca.pem", self.vault.ca_pem)
        for domain, pem in self.vault.make_authorities().items():
            for path in (f"{_ANCHORS}/{domain}.pem", *CA_FILES[domain]):
                container.write(path, pem.decode())
        private, public = key_pair()
        container.write(f"{PKI}/sa.key", private.decode(), 0o600)
        container.write(f"{PKI}/sa.pub", public.decode())
        self._configure()
        container.systemctl("start", ONCE)
        container.systemctl("enable", "--now", *PLANE)
        self.await_ready()

    def boot(self) -> None:
        """Switch it on after its power was cut; all enabled units start."""
        self.container.boot()
        self.vault.start()

    def write_config(self) -> None:
        """Write the configuration."""
        self.container.write(CONFIG, yaml.safe_dump(self.settings, sort_keys=False), 0o600)

    def component(self, name: str) -> Settings:
        """The settings of a component that are laid over the layout's, to be changed."""
        return self.settings["components"].setdefault(name, {})  # type: ignore[no-any-return]

    def shown(self) -> Settings:
        """The configuration as certrotd has it in force."""
        said = self.container.run("certrotd", "config", "show", "-c", CONFIG, "-o", "json")
        shown: Settings = json.loads(said.stdout)
        return shown

    def certrotd(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
        """Run a command of certrotd for its report; no other exit codes are allowed."""
        done = self.container.run("certrotd", *arguments, "-o", "json", check=False)
        assert done.returncode in codes, done.stdout + done.stderr
        return json.loads(done.stdout)

    def drop_in(self, unit: str, text: str) -> None:
        """Add a drop-in to a unit until `clear`."""
        name = f"{unit}.d/test-{len(self._drop_ins)}.conf"
        self._drop_ins.append(name)
        self.container.add_unit(name, text)

    def remove_drop_ins(self) -> None:
        """Leave the units as they were."""
        while self._drop_ins:
            self.container.remove_unit(self._drop_ins.pop())

    def history(self) -> list[Settings]:
        """The entries of certrotd's journal, oldest first."""
        entries: list[Settings] = self.certrotd("history", "--lines=9999")["entries"]
        return entries

    def clear(self) -> None:
        """Stop certrotd, remove drop-ins and hold, put the configuration back."""
        run = self.container.run
        run("systemctl", "stop", DAEMON, ONCE, check=False)
        run("systemctl", "reset-failed")
        self.remove_drop_ins()
        run("certrotd", "resume", "--config", CONFIG)
        run("systemctl", "start", *PLANE)
        if self.settings != self._original:
            self.settings = copy.deepcopy(self._original)
            self.write_config()
            self.vault.define_roles(self.shown()["components"])
            self.run_once()
        run("journalctl", "--rotate")
        run("journalctl", "--vacuum-files=1")

    def rotate(self, *arguments: str) -> Outcome:
        """Let the shipped unit rotate once, whatever is due, with these arguments."""
        command = shlex.join(["certrotd", "rotate", "--config", CONFIG, "--yes", *arguments])
        self.drop_in(ONCE, f"[Service]\nRestart=no\nExecStart=\nExecStart=/usr/bin/{command}\n")
        return self.run_once()

    def run_once(self) -> Outcome:
        """Start the unit for one run and wait for its end."""
        self.container.systemctl("start", ONCE, check=False)
        code = int(self.container.property(ONCE, "ExecMainStatus"))
        return Outcome(code=code, events=self.events(ONCE))

    def events(self, unit: str) -> tuple[Settings, ...]:
        """What a unit of certrotd has logged since its last start."""
        run = self.container.run
        run("journalctl", "--sync")
        # Not asked of systemd, which forgets a unit that has ended well.
        last = run("journalctl", "--lines=1", "--output=json", f"_SYSTEMD_UNIT={unit}").stdout
        started = f"_SYSTEMD_INVOCATION_ID={json.loads(last)['_SYSTEMD_INVOCATION_ID']}"
        lines = run("journalctl", "--no-pager", "--output=cat", started).stdout.splitlines()
        return tuple(json.loads(each) for each in lines if each.startswith("{"))

    def client(self) -> KubeClient:
        """The administrator; to be used inside `container.network()`."""
        return KubeClient(self.container.path(ADMIN), root=self.container.path("/"))

    def ready(self) -> dict[str, str]:
        """What is not ready, and why; empty when everything is."""
        problems = {}
        with self.container.network():
            for name, url in _HEALTH.items():
                try:
                    status = self.client().status_of(url)
                except OSError as e:
                    problems[name] = str(e)
                else:
                    if status != http.client.OK:
                        problems[name] = f"HTTP {status}"
            return problems or self._leaderless()

    def _leaderless(self) -> dict[str, str]:
        """Whose Lease nobody renews: one that ended by itself waits 15 s for its own old Lease."""
        late = {}
        for name in ("kube-controller-manager", "kube-scheduler"):
            try:
                spec = self.client().request("GET", f"{_LEASES}/{name}")["spec"]
            except (OSError, ApiAnswered) as e:
                late[name] = str(e)
                continue
            renewed = datetime.fromisoformat(spec["renewTime"])
            if SystemClock().now() - renewed > _RENEWED:
                late[name] = f"its Lease was renewed at {renewed}"
        return late

    def await_ready(self) -> None:
        """Wait until every component says that it is ready."""
        deadline = time.monotonic() + READY
        while problems := self.ready():
            assert time.monotonic() < deadline, f"{problems}\n{self.container.journal(APISERVER)}"
            time.sleep(0.2)

    def served(self) -> dict[str, str]:
        """SHA-256 of the leaf that a handshake made now shows on each port, by certificate."""
        with self.container.network():
            return {name: _leaf(host, port) for name, (host, port, _) in SERVED.items()}

    def published(self) -> dict[str, str]:
        """SHA-256 of the leaf in the file of each port, by certificate."""
        return {name: _fingerprint(self.read(path)) for name, (_, _, path) in SERVED.items()}

    def read(self, inside: str) -> str:
        """The content of a file, all its links followed as they are followed inside."""
        return self.container.run("cat", inside).stdout

    def etcdctl(self, unit: str, *arguments: str, check: bool = True) -> str:
        """Run etcdctl against the etcd of a unit; return what it prints."""
        pki = f"/etc/{unit.removesuffix('.service')}/pki"
        port = 2381 if unit == ETCD_EVENTS else 2379
        return self.container.run(
            f"{BINARIES}/etcdctl", f"--endpoints=https://{ADDRESS}:{port}",
            f"--cacert={pki}/ca.crt", f"--cert={pki}/healthcheck-client.crt",
            f"--key={pki}/healthcheck-client.key", *arguments, check=check,
        ).stdout  # fmt: skip

    def processes(self) -> dict[str, str]:
        """When each component's process was started, in systemd's own microseconds."""
        return {
            unit: self.container.property(unit, "ExecMainStartTimestampMonotonic") for unit in PLANE
        }

    def _configure(self) -> None:
        slot = f"{SystemClock().now() + timedelta(hours=12):%H:%M}"
        self.settings = {
            "cluster": "plane",
            "node": NODE,
            "schedule": {"daily_at": slot, "splay": "0s"},
            "limits": {"issuances_per_day": 100},
            "preset": {
                "layout": "standalone",
                "components": [*(each.removesuffix(".service") for each in PLANE), "admin"],
                "advertise_address": ADDRESS,
                "service_ip": SERVICE_IP,
            },
            "vaults": {
                "main": {
                    "address": f"https://{HOST}:{PORT}",
                    "ca_file": "/etc/certrotd/vault-ca.pem",
                    "auth": {"approle": {"role_id": "not yet", "secret_id_file": _SECRET_ID}},
                    "deadline": "5s",
                }
            },
            "issuers": {
                domain: {
                    "vault": {"connection": "main", "mount": domain},
                    "trust_anchors": f"{_ANCHORS}/{domain}.pem",
                }
                for domain in CA_FILES
            },
            "components": {"kube-apiserver": {"settle": "1s"}},
        }
        self.write_config()
        role = self.vault.allow(self.shown()["components"])
        self.container.write(_SECRET_ID, role.secret_id, 0o600)
        self.settings["vaults"]["main"]["auth"]["approle"]["role_id"] = role.role_id
        self._original = copy.deepcopy(self.settings)
        self.write_config()


def _leaf(host: str, port: int) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, port), 10) as plain,
        context.wrap_socket(plain) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    assert der is not None
    return hashlib.sha256(der).hexdigest()


def _fingerprint(pem: str) -> str:
    leaf = pem[: pem.index(ssl.PEM_FOOTER)] + ssl.PEM_FOOTER
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()
