"""Looking at listeners from outside: TCP, TLS and HTTPS, and what etcd and Kubernetes say there."""

from certrotd.adapters.probes.etcd import EtcdGate, LeaderMovedFirst
from certrotd.adapters.probes.http import ClientProof, HttpGate
from certrotd.adapters.probes.tls import TcpGate, TlsProof

__all__ = [
    "ClientProof",
    "EtcdGate",
    "HttpGate",
    "LeaderMovedFirst",
    "TcpGate",
    "TlsProof",
]
