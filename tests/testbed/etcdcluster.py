"""A real etcd cluster on loopback, every member with TLS and client certificates."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Self

from tests.testbed.build import ensure
from tests.testbed.processes import ServerProcess, free_ports
from tests.testbed.throwaway import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class EtcdCluster:
    """Members `m0`, `m1`, … below `directory`; as a context manager it stops them at the end.

    `client.crt`, `client.key` and `ca.crt` in `directory` are what to ask with. The JSON gateway
    is off. `arguments` go to every member.
    """

    def __init__(
        self,
        directory: Path,
        size: int = 1,
        *,
        arguments: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> None:
        self.directory = directory
        self.host = host
        self.ca = ThrowawayCA.new("etcd")
        self.ca_file = directory / "ca.crt"
        self.ca_file.write_bytes(self.ca.pem)
        client = self.ca.issue("certrotd", server=False, client=True)
        client.write(directory / "client.crt", directory / "client.key")
        self._arguments = arguments
        self._ports = free_ports(2 * size)
        self.members = [self._member(index, range(size), "new") for index in range(size)]

    def endpoint(self, index: int) -> str:
        """Where a member answers its clients."""
        return self._at(self._ports[2 * index])

    def wait_ready(self, *indices: int) -> None:
        """Wait until members (all, if none is named) answer a read through the quorum."""
        for index in indices or range(len(self.members)):
            self.members[index].wait_ready(lambda index=index: self._healthy(index))  # type: ignore[misc]

    def leader(self) -> int:
        """Which member leads."""
        for index in range(len(self.members)):
            (status,) = json.loads(self.ctl(index, "endpoint", "status", "-w", "json"))
            if status["Status"]["leader"] == status["Status"]["header"]["member_id"]:
                return index
        raise AssertionError("no member leads")

    def add_learner(self) -> int:
        """Add and start a member without a vote; return which it is."""
        index = len(self.members)
        self._ports += free_ports(2)
        self.ctl(0, "member", "add", f"m{index}", "--learner", f"--peer-urls={self._peer(index)}")
        learner = self._member(index, range(index + 1), "existing")
        self.members.append(learner.start())
        learner.wait_ready(lambda: self._answers(index))
        return index

    def ctl(self, index: int, *arguments: str) -> str:
        """Run etcdctl against a member and return what it prints."""
        done = self._ctl(index, *arguments)
        if done.returncode:
            raise AssertionError(f"etcdctl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def start(self) -> Self:
        """Start all and wait for them."""
        for member in self.members:
            member.start()
        self.wait_ready()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.stop(grace=5)

    def _healthy(self, index: int) -> bool:
        return self._ctl(index, "endpoint", "health").returncode == 0

    def _answers(self, index: int) -> bool:
        return self._ctl(index, "endpoint", "status").returncode == 0

    def _ctl(self, index: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        command: list[Any] = [
            ensure("etcdctl"),
            f"--endpoints=https://{self.endpoint(index)}",
            f"--cacert={self.ca_file}",
            f"--cert={self.directory / 'client.crt'}",
            f"--key={self.directory / 'client.key'}",
            *arguments,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    def _peer(self, index: int) -> str:
        return f"https://{self._at(self._ports[2 * index + 1])}"

    def _at(self, port: int) -> str:
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    def _member(self, index: int, initial: range, state: str) -> ServerProcess:
        name = f"m{index}"
        own = self.directory / name
        pair = self.ca.issue(name, ip_addresses=(self.host,), client=True)
        pair.write(own / "server.crt", own / "server.key")
        client, peer = f"https://{self.endpoint(index)}", self._peer(index)
        flags = {
            "name": name,
            "data-dir": own / "data",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(f"m{each}={self._peer(each)}" for each in initial),
            "initial-cluster-state": state,
            "cert-file": own / "server.crt",
            "key-file": own / "server.key",
            "trusted-ca-file": self.ca_file,
            "client-cert-auth": "true",
            "peer-cert-file": own / "server.crt",
            "peer-key-file": own / "server.key",
            "peer-trusted-ca-file": self.ca_file,
            "peer-client-cert-auth": "true",
            "enable-grpc-gateway": "false",
            "unsafe-no-fsync": "true",
        }
        argv: list[Any] = [ensure("etcd"), *(f"--{key}={value}" for key, value in flags.items())]
        return ServerProcess(name, [*argv, *self._arguments], directory=own)
