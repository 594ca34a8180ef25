"""etcd as a cluster, by its own gRPC API: the JSON gateway in front of it may be switched off."""

from certrotd.adapters.probes.etcd.gate import EtcdGate
from certrotd.adapters.probes.etcd.moving import LeaderMovedFirst

__all__ = ["EtcdGate", "LeaderMovedFirst"]
