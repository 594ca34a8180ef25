"""The configuration file's shape: frozen dataclasses, one field a key.

The text under a field is its description in the JSON Schema. Where several fields exclude one
another (`one_of`), exactly one must be given, as in a Kubernetes probe.
"""

from dataclasses import dataclass, field
from datetime import time, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, ClassVar, Literal

from certrotd.config import scalars
from certrotd.config.scalars import Written
from certrotd.core.model import KeyAlgorithm, Usage

Duration = Annotated[timedelta, Written(scalars.duration, "a duration", "7d")]
TimeOfDay = Annotated[time, Written(scalars.time_of_day, "a time of day in UTC", "03:17")]
Mode = Annotated[int, Written(scalars.file_mode, "an octal file mode", "0640")]
Path = Annotated[str, Written(scalars.absolute_path, "an absolute path", "/etc/certrotd/ca.pem")]
Name = Annotated[str, Written(scalars.name, "a name", "kube-apiserver")]
DnsName = Annotated[str, Written(scalars.dns_name, "a DNS name", "etcd-0.example")]
Address = Annotated[IPv4Address | IPv6Address, Written(scalars.address, "an IP address", "::1")]
HostPort = Annotated[str, Written(scalars.host_port, "host:port", "127.0.0.1:2379")]
HttpsUrl = Annotated[str, Written(scalars.https_url, "an https:// URL", "https://vault:8200")]


class Section:
    """What all sections share: unknown keys are faults, docstrings are descriptions."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
        "hide_input_in_errors": True,
    }
    one_of: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRole(Section):
    """AppRole login; all files are read again at every login."""

    one_of: ClassVar[tuple[str, ...]] = (
        "secret_id_file", "secret_id_credential", "wrapped_secret_id_file",
    )
    mount: str = "approle"
    """Where the auth method is mounted."""
    role_id: str | None = None
    """The role-id itself; it is not a secret."""
    role_id_file: Path | None = None
    """A file with the role-id."""
    secret_id_file: Path | None = None
    """A file with the secret-id."""
    secret_id_credential: str | None = None
    """The name of a systemd credential (LoadCredential=) with the secret-id."""
    wrapped_secret_id_file: Path | None = None
    """A file with a response-wrapping token for the secret-id; it can be used once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRole(Section):
    """Login with a signed token (JWT) from a file, read again at every login."""

    mount: str
    """Where the auth method is mounted."""
    role: str
    """The auth method's role."""
    token_file: Path = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105  # path
    """The file with the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateLogin(Section):
    """Login with a TLS client certificate."""

    mount: str = "cert"
    """Where the auth method is mounted."""
    role: str | None = None
    """The auth method's role; Vault tries all of them when it is left out."""
    certificate: Path
    """The client certificate, PEM."""
    key: Path
    """Its private key, PEM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth(Section):
    """How to log in; exactly one."""

    one_of: ClassVar[tuple[str, ...]] = (
        "approle", "kubernetes", "jwt", "certificate", "token_file",
    )
    approle: AppRole | None = None
    """AppRole."""
    kubernetes: TokenRole | None = None
    """Kubernetes service-account token."""
    jwt: TokenRole | None = None
    """JWT/OIDC with a token from a file."""
    certificate: CertificateLogin | None = None
    """TLS certificate."""
    token_file: Path | None = None
    """A file with a token that somebody else keeps fresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault(Section):
    """One Vault or OpenBao server and an identity there; issuers share it."""

    address: HttpsUrl
    """The server's address."""
    namespace: str | None = None
    """A namespace (OpenBao, Vault Enterprise)."""
    ca_file: Path | None = None
    """The CA that signed the server's certificate; the system's trust store if left out."""
    auth: Auth
    """How to log in."""
    connect_timeout: Duration = timedelta(seconds=3)
    """Time limit for one connection attempt."""
    read_timeout: Duration = timedelta(seconds=20)
    """Time limit for one answer."""
    deadline: Duration = timedelta(seconds=60)
    """Time limit for one request with all its retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultPki(Section):
    """A PKI secrets engine."""

    connection: Name
    """The name of an entry under `vaults`."""
    mount: str
    """Where the PKI secrets engine is mounted."""
    endpoint: Literal["sign", "issue"] = "sign"
    """`sign`: the key is made on this node and never leaves it. `issue`: Vault makes the key."""
    issuer_ref: str | None = None
    """A named issuer of the mount; its default issuer if left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority(Section):
    """A CA whose key lies on this machine; for tests, laboratories and bootstrap."""

    certificate: Path
    """The CA certificate, PEM."""
    key: Path
    """The CA key, PEM; it must not be readable by others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer(Section):
    """Who signs, and which trust anchors its certificates must build to."""

    one_of: ClassVar[tuple[str, ...]] = ("vault", "ca")
    vault: VaultPki | None = None
    """A PKI secrets engine of Vault or OpenBao."""
    ca: Authority | None = None
    """A CA on disk."""
    trust_anchors: Path | None = None
    """The pinned CA certificates, PEM. Must be given for `vault`; `ca` pins its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal(Section):
    """Send a signal to the process."""

    one_of: ClassVar[tuple[str, ...]] = ("pidfile", "unit")
    signal: Literal["HUP", "USR1", "USR2", "TERM", "INT", "QUIT", "WINCH"] = "HUP"
    """The signal's name."""
    pidfile: Path | None = None
    """A file with the process id, read each time."""
    unit: str | None = None
    """A systemd unit; its main process gets the signal."""
    process: str | None = None
    """Only processes of this name (of the unit's, or the pidfile's) get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(Section):
    """Restart a systemd unit and wait until it is active."""

    unit: str
    """The unit's name."""
    timeout: Duration = timedelta(seconds=90)
    """How long the restart may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Section):
    """Run a program: no shell, a clean environment, a time limit."""

    command: tuple[str, ...]
    """The program (absolute path) and its arguments."""
    timeout: Duration = timedelta(seconds=30)
    """After this time the program and its children are ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationCommand(Command):
    """Run a program that makes the component use what is published."""

    only_if: tuple[str, ...] = ()
    """A program that exits 0 when the component is up; otherwise it is left down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing(Section):
    """No settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation(Section):
    """How the process comes to use a published certificate; exactly one."""

    one_of: ClassVar[tuple[str, ...]] = ("reload", "signal", "restart", "exec", "none")
    reload: Nothing | None = None
    """It re-reads its files by itself; the proofs show that it did."""
    signal: Signal | None = None
    """Send a signal."""
    restart: Restart | None = None
    """Restart a systemd unit."""
    exec: ActivationCommand | None = None
    """Run a program."""
    none: Nothing | None = None
    """Nothing is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsProof(Section):
    """The leaf served on a fresh TLS handshake is the published one."""

    address: HostPort
    """Where the component listens."""
    certificate: Name
    """Which of the component's certificates is served there."""
    server_name: str | None = None
    """The name to ask for (SNI)."""
    client_certificate: Name | None = None
    """A certificate of this node to present, where the server insists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProof(Section):
    """An authenticated HTTPS call with the published client certificate."""

    url: HttpsUrl
    """What to get."""
    certificate: Name
    """Which of the component's certificates to present."""
    ca_file: Path
    """The CA of the server asked."""
    status: tuple[int, ...] = (200,)
    """The statuses that hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedProof(Section):
    """The process started after the publication."""

    one_of: ClassVar[tuple[str, ...]] = ("pidfile", "unit")
    pidfile: Path | None = None
    """A file with the process id."""
    unit: str | None = None
    """A systemd unit; its main process counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Section):
    """Evidence from the running process; exactly one kind."""

    one_of: ClassVar[tuple[str, ...]] = ("tls", "client", "started")
    tls: TlsProof | None = None
    """The served leaf."""
    client: ClientProof | None = None
    """An authenticated call."""
    started: StartedProof | None = None
    """The process's start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpGate(Section):
    """An HTTPS path answers with an expected status."""

    url: HttpsUrl
    """What to get."""
    status: tuple[int, ...] = (200,)
    """The statuses that hold."""
    ca_file: Path
    """The CA of the server asked."""
    client_certificate: Name | None = None
    """A certificate of this node to present."""
    contains: str | None = None
    """Text that must stand in the answer's first 64 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpGate(Section):
    """A TCP connection is accepted."""

    address: HostPort
    """Where to connect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Section):
    """Health that must hold; exactly one kind."""

    one_of: ClassVar[tuple[str, ...]] = ("https", "tcp", "exec")
    https: HttpGate | None = None
    """An HTTPS path."""
    tcp: TcpGate | None = None
    """A TCP connection."""
    exec: Command | None = None
    """A program that exits 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Section):
    """One file the component reads; exactly one of the kinds gives its path."""

    one_of: ClassVar[tuple[str, ...]] = ("certificate", "key", "combined", "ca", "kubeconfig")
    certificate: Path | None = None
    """Leaf and its intermediates."""
    key: Path | None = None
    """The private key, PKCS #8."""
    combined: Path | None = None
    """Leaf, intermediates and key in one file."""
    ca: Path | None = None
    """The issuer's pinned trust anchors."""
    kubeconfig: Path | None = None
    """A kubeconfig with this identity."""
    mode: Mode | None = None
    """File mode; 0600 with a key inside, else 0644."""
    owner: str | None = None
    """User name or number."""
    group: str | None = None
    """Group name or number."""
    server: HttpsUrl | None = None
    """kubeconfig: the API server's address."""
    cluster: str = "kubernetes"
    """kubeconfig: the cluster's name."""
    user: str | None = None
    """kubeconfig: the user's name; the common name if left out."""
    embed: bool = True
    """kubeconfig: put certificate, key and CA inside, or name the sibling outputs."""
    ca_file: Path | None = None
    """kubeconfig: the API server's CA; the issuer's trust anchors if left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate(Section):
    """What a certificate must be; the answer is compared exactly."""

    issuer: Name
    """The name of an entry under `issuers`."""
    role: str | None = None
    """The issuer's role (Vault); the certificate's name if left out."""
    common_name: str
    """Subject CN."""
    organizations: tuple[str, ...] = ()
    """Subject O."""
    dns_names: tuple[DnsName, ...] = ()
    """SAN DNS names."""
    ip_addresses: tuple[Address, ...] = ()
    """SAN IP addresses."""
    uris: tuple[str, ...] = ()
    """SAN URIs."""
    usages: tuple[Usage, ...]
    """Key usages in the words of the Kubernetes certificates API."""
    key: KeyAlgorithm | None = None
    """Key type and size."""
    ttl: Duration | None = None
    """How long it shall be valid; at least three days, as it is replaced daily."""
    outputs: tuple[Output, ...]
    """The files to publish; the first one's directory holds the generations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Section):
    """A process whose certificates we keep."""

    after: tuple[Name, ...] = ()
    """Components that must be done before this one."""
    activation: Activation
    """How it comes to use a published certificate."""
    proofs: tuple[Proof, ...] = ()
    """Evidence that the running process uses it."""
    gates: tuple[Gate, ...] = ()
    """Health that must hold before and after."""
    proof_deadline: Duration = timedelta(seconds=60)
    """How long proofs and gates may take to hold after activation."""
    settle: Duration = timedelta(0)
    """How long the gates must hold without a break."""
    certificates: dict[Name, Certificate]
    """Its certificates by name; names are unique on the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Section):
    """When the daily slot is."""

    daily_at: TimeOfDay = time(3, 17)
    """Its time of day in UTC."""
    splay: Duration = timedelta(minutes=30)
    """It is moved later by a share of this, fixed for each node (by a hash)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults(Section):
    """What certificates and outputs use when they say nothing."""

    key: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    """Key type and size."""
    ttl: Duration = timedelta(days=7)
    """How long certificates shall be valid."""
    owner: str | None = None
    """Owner of outputs."""
    group: str | None = None
    """Group of outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings(Section):
    """Logging."""

    format: Literal["auto", "console", "json"] = "auto"
    """`auto`: console on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(Section):
    """Bounds."""

    workers: int = 4
    """How many certificates are signed at a time."""
    issuances_per_day: int = 10
    """How many signatures may be asked for one certificate in 24 hours."""
    clock_skew: Duration = timedelta(seconds=30)
    """How far this node's clock may be from the issuer's."""
    history: int = 3
    """How many earlier generations of a certificate are kept for rollback."""
    grace: Duration = timedelta(seconds=2)
    """How long a replaced generation stays readable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root(Section):
    """The certrotd configuration."""

    cluster: Name = "kubernetes"
    """The cluster's name; with the node's name it fixes the slot's splay."""
    node: Name | None = None
    """This node's name; the host name if left out."""
    state_directory: Path = "/var/lib/certrotd"
    """Journal, history, lock and hold."""
    schedule: Schedule = field(default_factory=Schedule)
    """When the daily slot is."""
    log: LogSettings = field(default_factory=LogSettings)
    """Logging."""
    limits: Limits = field(default_factory=Limits)
    """Bounds."""
    defaults: Defaults = field(default_factory=Defaults)
    """What certificates and outputs use when they say nothing."""
    vaults: dict[Name, Vault] = field(default_factory=dict)
    """Vault or OpenBao servers by name."""
    issuers: dict[Name, Issuer]
    """Issuers by name."""
    components: dict[Name, Component]
    """Components by name."""
