"""What a configuration that was made from a node tells its reader.

A line feed begins a new paragraph; long lines are wrapped where they are written down.
"""

from __future__ import annotations

HEAD = """\
certrotd on {node}, written by `certrotd config init` from what this node runs today: Kubernetes \
{version}, service range {ranges}, node addresses {addresses}.

Names, SANs, usages, key types, owners and modes are those of the files in place, so that \
`certrotd plan` finds everything as configured but old. What this node could not tell is marked \
"fill in". Every key there is stands in the annotated example, config/certrotd.yaml.

Next:"""

FILL = """\
1. Fill in what is marked: Vault's address, the login, the mounts. Make the roles in Vault, and \
read below what its CA must be."""

STEPS = """\
{0}. certrotd config validate     names every fault with file, line and key
{1}. certrotd plan                what would be done and why; asks nobody, changes nothing
{2}. certrotd rotate admin        the least risky first; then all: certrotd rotate
{3}. systemctl enable --now certrotd"""

LEFT_OUT = """\
Left out, or to be looked at:
- The kubelet's certificates (kubelet.conf, /var/lib/kubelet/pki): the kubelet replaces them by \
itself through the certificates API, and reads what others write at its start only.
- CA certificates, CA keys and service-account keys: they are read and never written."""

VAULT = """\
Vault or OpenBao. Each certificate is signed by the role of its own name; `role:` names another. \
A role must allow what stands under the certificate: its names, usages, key type, and a TTL of \
{ttl}."""

CA_FILE = (
    "ca_file: /etc/certrotd/vault-ca.pem     the CA of Vault's own TLS, if it is a private one"
)

LOGIN_FILES = """\
Both files are made by you, for root alone (0600). With systemd's LoadCredential= better: \
secret_id_credential."""

ISSUERS = """\
Who signs, and the pinned trust anchors that every answer must build to. They are the CA files \
that the components trust today: peers would refuse a certificate of any other CA, and certrotd \
refuses it before them."""

MOVE = """\

So either Vault signs below these CAs, or the components learn of Vault's CA first:
- Cross-sign, and nothing else changes: make an intermediate in each mount (vault write \
MOUNT/intermediate/generate/internal), sign its CSR with the CA here, and give it back \
(set-signed). Leaves then bring the intermediate along and build to the files below. Afterwards \
the CA's key can leave the node.
- Or both in the bundle: append Vault's CA certificate to each file below, on all nodes; \
kubelets and kubeconfigs have copies of it. Let every component load it (`certrotd presets show` \
tells which must be restarted for that: etcd for its own, the API server for etcd's), and only \
then rotate. Take the old CA out when nothing of it is left."""

ONE_SIGNER = """\

{path} is also kube-controller-manager's --cluster-signing-cert-file, which must hold exactly \
one certificate: give that flag a copy of its own before a second one is appended here."""

OWN_CA = """\

The CA keys on this node sign, as with `kubeadm certs renew`: no Vault is needed. Good to begin \
with; but who reads these keys is the cluster. `--issuer vault` writes the same with Vault, \
after which the keys can leave the node."""

NO_KEY = "The key of {path} is not on this node, so Vault signs here."

UNKNOWN_CA = """\
not found on this node: the CA that signed {names}; fill in its file. Until then `certrotd plan` \
says wrong_issuer."""

UNKNOWN_FILE = "/etc/certrotd/anchors/unknown.pem"

SINGLE_FILE = """\
{path} is mounted into the container as a single file, and read at the start only: a new one \
needs a new container. It is stopped through the container runtime, and the kubelet starts the \
next at once."""

PINNED = """\
{paths}: mounted into the container as single files, so that the process cannot see new ones. It \
is restarted each time; mount the directory instead, and `activation: auto` will do."""

UNPROVED = """\
not found on this node: an address or a client certificate to prove with, so it is restarted \
each time; fill in a proof, and `activation: auto` will do"""

ADMIN = """\
Kubeconfigs of people. No process holds them; the proof is that the API server accepts them. \
Copies (~/.kube/config) are not renewed: use the file here, or copy it each day."""

IMAGE_TAG = "the image's tag, if the process does not answer"
IMAGE_TAG_ONLY = "the image's tag, as nothing can be asked: change it with the image"

SETTLE_APISERVER = "behind a load balancer: twice its check interval"

SERVICE_ADDRESS = """\
{address}, the first address of the service range, is not among its addresses: pods that reach \
the API server through its service cannot verify it."""

NAMED_CA = """\
{path} holds the API server's CA inside; certrotd names its file instead: {file}. The process must \
be able to read that."""

UNKNOWN_SERVER_CA = """\
not found on this node: a file with the API server's CA that {path} holds inside; fill in its path \
as ca_file, or the issuer's trust anchors take its place"""
