"""An inventory of nodes in a YAML file: which names and addresses each has.

node-1: [node-1.example, 10.0.0.11]
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from certrotd.core.errors import PermanentError
from certrotd.core.model.kubelets import KnownNames


class FileInventory:
    """Reads the file again when it is another or has another time."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, ...] = ()
        self._nodes: dict[str, KnownNames] = {}

    def of(self, node: str) -> KnownNames:
        """Return what is known of a node.

        Raises:
            PermanentError: the file cannot be read, or is no such inventory.
        """
        try:
            facts = self._path.stat()
            seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if seen != self._seen:
                self._nodes, self._seen = self._read(), seen
        except OSError as e:
            raise PermanentError(f"cannot read the inventory {self._path}: {e.strerror}") from e
        return self._nodes.get(node, KnownNames())

    def _read(self) -> dict[str, KnownNames]:
        import yaml  # noqa: PLC0415  # start-up time

        content = self._path.read_bytes()
        try:
            nodes = yaml.safe_load(content) or {}
            return {str(node): _known(names) for node, names in nodes.items()}
        except (yaml.YAMLError, ValueError, TypeError, AttributeError) as e:
            told = " ".join(str(e).split())
            raise PermanentError(
                f"inventory {self._path}: {told}",
                hint="write one line a node: `node-1: [node-1.example, 10.0.0.11]`",
            ) from e


def _known(names: object) -> KnownNames:
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise ValueError("a node's names and addresses are a list of texts")
    dns: set[str] = set()
    addresses: set[IPv4Address | IPv6Address] = set()
    for each in names:
        try:
            addresses.add(ip_address(each))
        except ValueError:
            dns.add(each)
    return KnownNames(dns_names=frozenset(dns), ip_addresses=frozenset(addresses))
