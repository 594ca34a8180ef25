"""Looking at listeners from outside: TCP, TLS and HTTPS.

What only some components need has modules of its own, imported where they are configured: `etcd`,
`apiserver`, `lease`, `version`.
"""

from certrotd.adapters.probes.http import ClientProof, HttpGate
from certrotd.adapters.probes.tls import TcpGate, TlsProof

__all__ = ["ClientProof", "HttpGate", "TcpGate", "TlsProof"]
