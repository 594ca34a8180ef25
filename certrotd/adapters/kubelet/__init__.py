"""This node's kubelet: its own store of certificates, what is remembered of requests, health."""

from certrotd.adapters.kubelet.health import HealthGate
from certrotd.adapters.kubelet.records import FileRecords
from certrotd.adapters.kubelet.store import KubeletStore

__all__ = ["FileRecords", "HealthGate", "KubeletStore"]
