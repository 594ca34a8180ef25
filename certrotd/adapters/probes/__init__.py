"""Looking at listeners from outside: TCP, TLS and HTTPS, and what etcd and Kubernetes say there."""

from certrotd.adapters.probes.apiserver import ApiserverGate
from certrotd.adapters.probes.etcd import EtcdGate, LeaderMovedFirst
from certrotd.adapters.probes.http import ClientProof, HttpGate
from certrotd.adapters.probes.lease import LeaseGate
from certrotd.adapters.probes.tls import TcpGate, TlsProof

__all__ = [
    "ApiserverGate",
    "ClientProof",
    "EtcdGate",
    "HttpGate",
    "LeaderMovedFirst",
    "LeaseGate",
    "TcpGate",
    "TlsProof",
]
