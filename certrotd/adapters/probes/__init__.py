"""Looking at listeners from outside: TCP, TLS and HTTPS."""

from certrotd.adapters.probes.http import ClientProof, HttpGate
from certrotd.adapters.probes.tls import TcpGate, TlsProof

__all__ = ["ClientProof", "HttpGate", "TcpGate", "TlsProof"]
