"""The servers that are measured: the control plane, and beside it what it cannot have itself."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import ExitStack
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from tests.matrix.looking import OK, Caller, status
from tests.matrix.publishing import adopted, server_spec, write_pair
from tests.matrix.witness import Witness
from tests.testbed.arguments import arguments
from tests.testbed.build import ensure
from tests.testbed.controlplane import ControlPlane
from tests.testbed.dayzero import issue_all
from tests.testbed.inventory import APISERVER, COMPONENTS, CONTROLLER_MANAGER, Domain
from tests.testbed.processes import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.factories import Lab

_TIME_LIMIT = 120.0
_AUDITED = "authentication.kubernetes.io/credential-id"
_BY_CERTIFICATE = "X509SHA256="


class Audit:
    """kube-apiserver's audit log: it names the client certificate of every request."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "audit.log"
        self.policy = directory / "audit-policy.json"
        rules = [
            {"level": "Metadata", "resources": [{"group": "coordination.k8s.io"}]},
            {"level": "None"},
        ]
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
        self.policy.write_text(json.dumps(policy | {"omitStages": ["RequestReceived"]}))
        self._lock = Lock()
        self._read = 0
        self._latest: dict[str, str] = {}

    def latest(self, lease: str) -> str:
        """The client certificate (SHA-256, hex) that last renewed a lease; empty if none did."""
        with self._lock, self.log.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                self._note(json.loads(line))
        return self._latest.get(lease, "")

    def _note(self, event: dict[str, Any]) -> None:
        credentials = event["user"].get("extra", {}).get(_AUDITED, [""])
        if credentials[0].startswith(_BY_CERTIFICATE) and event["verb"] == "update":
            name = event["objectRef"]["name"]
            self._latest[name] = credentials[0].removeprefix(_BY_CERTIFICATE).lower()


class Twin:
    """A second process of a program of the control plane, for flags that its first cannot have.

    Args:
        program: Its name.
        port: Where it listens.
        argv: How it is run.
        directory: Takes its log.
        ready: Whether it is well; OSError if it does not answer.
    """

    def __init__(
        self, program: str, port: int, argv: Sequence[str], directory: Path,
        ready: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.name = f"second {program}"
        self.port = port
        self._ready = ready
        self._process = ServerProcess(self.name.replace(" ", "-"), argv, directory=directory)

    def start(self) -> None:
        """Start it, and wait until it is well."""
        self._process.start().wait_ready(self._ready, _TIME_LIMIT)

    def restart(self) -> None:
        """Stop it, start it, and wait until it is well."""
        self._process.restart().wait_ready(self._ready, _TIME_LIMIT)

    def stop(self) -> None:
        """Stop it."""
        self._process.stop()


class Bed:
    """Certificates, control plane, witnesses and twins; as a context manager it runs.

    What measures a row asks for flags and witnesses before the start, and says with `afterwards`
    what it needs of the running API server.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self._flags: dict[str, list[str]] = {each: [] for each in COMPONENTS}
        self.plane = ControlPlane(
            directory / "kubernetes", embed=False, extra_arguments=self._flags
        )
        authorities = issue_all(self.plane.inventory())
        self.labs: dict[Domain, Lab] = {each: adopted(ca) for each, ca in authorities.items()}
        self.caller = Caller(directory / "callers")
        self.audit = Audit(directory)
        audit = [f"--audit-policy-file={self.audit.policy}", f"--audit-log-path={self.audit.log}"]
        self.flag(APISERVER, *audit)
        self.twins: list[Twin] = []
        self._pairs = itertools.count()
        self._stack = ExitStack()
        self._afterwards: list[Callable[[], None]] = []

    @property
    def ports(self) -> dict[str, int]:
        """Where the control plane's programs listen."""
        ports = self.plane.ports
        listening = (ports.etcd, ports.apiserver, ports.controller_manager, ports.scheduler)
        return dict(zip(COMPONENTS, listening, strict=True))

    def rows(self, process: str) -> Path:
        """Where the files of a process's rows lie."""
        return self.directory / "rows" / process.replace(" ", "-")

    def flag(self, program: str, *flags: str) -> None:
        """Add to a program's command line; what comes later wins."""
        self._flags[program] += flags

    def second(self, program: str, *flags: str) -> Twin:
        """Have a second process of a Kubernetes program."""
        port = free_port()
        argv = [
            str(ensure(program)),
            *arguments(program, self.plane.layout, self.plane.run),
            f"--secure-port={port}",
            *flags,
        ]
        context = self.caller.context(self.labs[Domain.KUBERNETES], "anybody")
        return self.twin(program, port, argv, lambda: status(port, "/healthz", context) == OK)

    def twin(self, program: str, port: int, argv: Sequence[str], ready: Callable[[], bool]) -> Twin:
        """Have another process beside the control plane."""
        twin = Twin(program, port, argv, self.directory / "twins", ready)
        self.twins.append(twin)
        return twin

    def witness(self, lab: Lab, clients: Lab, **how: Any) -> Witness:
        """Have a witness that presents a pair of `lab` and knows the clients of another CA."""
        witness = Witness(self.pair(lab), clients.anchors, **how)
        return self._stack.enter_context(witness)

    def pair(self, lab: Lab) -> tuple[str, str]:
        """Files of a serving pair for a witness."""
        names = {"dns_names": ("localhost", "kubernetes.default.svc")}
        # Several rows ask at once; no two may get the same files.
        name = f"pair-{next(self._pairs)}"
        return write_pair(lab, server_spec(self.directory / "witnesses", name, **names))

    def afterwards(self, work: Callable[[], None]) -> None:
        """Have something done once the control plane runs."""
        self._afterwards.append(work)

    def get(self, path: str) -> bool:
        """Whether the API server answers a GET of the admin well."""
        return self.plane.client().status(path) == OK

    def await_(self, path: str) -> None:
        """Wait until a controller has made something."""
        end = time.monotonic() + _TIME_LIMIT
        while not self.get(path):
            assert time.monotonic() < end, f"{path} was not made within {_TIME_LIMIT:g} s"
            time.sleep(0.2)

    def _restart(self, process: str) -> None:
        self.plane.restart(process)
        if process == CONTROLLER_MANAGER:
            # It does not give its lease back, and would wait 15 s for its own.
            self.plane.client().request("DELETE", f"{LEASES}/{process}")

    @property
    def processes(self) -> dict[str, Callable[[], None]]:
        """What restarts each and waits until it is ready, in an order that works."""
        own = {each: partial(self._restart, each) for each in COMPONENTS}
        return own | {each.name: each.restart for each in self.twins}

    def __enter__(self) -> Self:
        self.plane.start()
        self.await_("/api/v1/namespaces/default/serviceaccounts/default")
        for work in self._afterwards:
            work()
        for twin in self.twins:
            twin.start()
        return self

    def __exit__(self, *_: object) -> None:
        for twin in self.twins:
            twin.stop()
        self.plane.stop()
        self._stack.close()


LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
