"""What a scalar of the configuration can be: a type, and how it is written."""

# No `from __future__ import annotations`: the annotations are read while certrotd runs.

from datetime import time, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated

from certrotd.config import scalars
from certrotd.config.scalars import Written

Duration = Annotated[
    timedelta, Written(scalars.duration, "a duration", "30s", scalars.duration_text)
]
Period = Annotated[
    timedelta,
    Written(scalars.positive_duration, "a duration, not zero", "7d", scalars.duration_text),
]
TimeOfDay = Annotated[
    time, Written(scalars.time_of_day, "a time of day in UTC", "03:17", scalars.time_text)
]
Mode = Annotated[
    int,
    Written(
        scalars.file_mode, "an octal file mode", "0640", scalars.mode_text, ("string", "integer")
    ),
]
Count = Annotated[int, Written(scalars.count, "a whole number, at least 1", "4", int, ("integer",))]
Status = Annotated[int, Written(scalars.status, "an HTTP status", "200", int, ("integer",))]
Port = Annotated[int, Written(scalars.port, "a port number", "6443", int, ("integer",))]
Flag = Annotated[
    bool,
    Written(scalars.boolean, "true or false", "true", bool, ("boolean",)),
]
Text = Annotated[
    str,
    Written(scalars.plain, "one line of text", "kube-apiserver", json=("string", "integer")),
]
Argument = Annotated[str, Written(scalars.argument, "an argument", "--version")]
Path = Annotated[str, Written(scalars.absolute_path, "an absolute path", "/etc/certrotd/ca.pem")]
Name = Annotated[str, Written(scalars.name, "a name", "kube-apiserver")]
Unit = Annotated[str, Written(scalars.unit, "a systemd unit", "etcd.service")]
Mount = Annotated[str, Written(scalars.mount, "a path in Vault", "pki/etcd")]
DnsName = Annotated[str, Written(scalars.dns_name, "a DNS name", "etcd-0.example")]
Address = Annotated[IPv4Address | IPv6Address, Written(scalars.address, "an IP address", "::1")]
Network = Annotated[IPv4Network | IPv6Network, Written(scalars.network, "a network", "10.0.0.0/8")]
Host = Annotated[str, Written(scalars.host, "a DNS name or an IP address", "etcd-0.example")]
HostPort = Annotated[str, Written(scalars.host_port, "host:port", "127.0.0.1:2379")]
HttpsUrl = Annotated[str, Written(scalars.https_url, "an https:// URL", "https://vault:8200")]
Uri = Annotated[str, Written(scalars.uri, "a URI", "spiffe://cluster/etcd")]
