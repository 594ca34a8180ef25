"""Faults between the sections of a configuration, and the lines that tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.config_text import GOOD, faults, write

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "components.etcd.certificates.server"
OUTPUT = f"12: {SERVER}.outputs[0]"
ANOTHER = """\
  other:
    activation: {none: {}}
    certificates:
      two: {issuer: lab, common_name: two, usages: [client auth], outputs: [{combined: /pki/2}]}
"""

# What is replaced, by what, and what is said about it.
CASES: dict[str, tuple[str, str, list[str]]] = {
    # --- outputs
    "two certificates writing one file": (
        GOOD,
        GOOD + ANOTHER.replace("/pki/2", "/pki/etcd.pem"),
        [
            (
                "16: components.other.certificates.two.outputs[0].combined: /pki/etcd.pem is "
                "written by certificate 'server' of component 'etcd' already"
            )
        ],
    ),
    "one path given twice": (
        "[{combined: /pki/etcd.pem}]",
        "[{combined: /pki/etcd.pem}, {ca: /pki/etcd.pem}]",
        [
            f"12: {SERVER}.outputs[1]: has the same file name as another: etcd.pem",
            (
                f"12: {SERVER}.outputs[1].ca: /pki/etcd.pem is written by certificate 'server' of "
                "component 'etcd' already"
            ),
        ],
    ),
    "a path below a file": (
        GOOD,
        GOOD + ANOTHER.replace("/pki/2", "/pki/etcd.pem/x"),
        [
            (
                "16: components.other.certificates.two.outputs[0].combined: /pki/etcd.pem/x lies "
                "below /pki/etcd.pem, which is a file of certificate 'server' of component 'etcd'"
            )
        ],
    ),
    "a path inside a generation tree": (
        "/pki/etcd.pem",
        "/pki/.certrotd/live/etcd.pem",
        [f"{OUTPUT}.combined: lies inside a generation tree (.certrotd/) of certrotd"],
    ),
    "a path inside the state directory": (
        "/pki/etcd.pem",
        "/var/lib/certrotd/journal",
        [f"{OUTPUT}.combined: lies inside state_directory, which is certrotd's own"],
    ),
    "a file name that a generation needs itself": (
        "/pki/etcd.pem",
        "/pki/MANIFEST",
        [f"{OUTPUT}.combined: the file name MANIFEST is certrotd's own"],
    ),
    "an output over the trust anchors": (
        "/pki/etcd.pem",
        "/lab/ca.crt",
        [
            (
                "2: issuers.lab.ca.certificate: is written by certificate 'server' of component "
                "'etcd': what is trusted must not depend on an answer"
            )
        ],
    ),
    "a secret that everybody may read": (
        "{combined: /pki/etcd.pem}",
        "{combined: /pki/etcd.pem, mode: 0644}",
        [f"{OUTPUT}.mode: would let everybody read a private key; use 0600 or 0640"],
    ),
    "a file that its group may write": (
        "{combined: /pki/etcd.pem}",
        "{combined: /pki/etcd.pem, mode: 0660}",
        [f"{OUTPUT}.mode: would let group or others write the file; use 0600, 0640 or 0644"],
    ),
    "no key": (
        "combined: /pki/etcd.pem",
        "certificate: /pki/etcd.pem",
        [f"12: {SERVER}.outputs: no output holds the private key: add key: or combined:"],
    ),
    "no certificate": (
        "combined: /pki/etcd.pem",
        "key: /pki/etcd.pem",
        [f"12: {SERVER}.outputs: no output holds the certificate: add certificate: or combined:"],
    ),
    "no outputs": (
        "[{combined: /pki/etcd.pem}]",
        "[]",
        [f"12: {SERVER}.outputs: must name at least one file"],
    ),
    "an owner who does not exist": (
        "{combined: /pki/etcd.pem}",
        "{combined: /pki/etcd.pem, owner: no-such-user, group: no-such-group}",
        [
            f"{OUTPUT}.group: there is no group 'no-such-group' on this machine",
            f"{OUTPUT}.owner: there is no user 'no-such-user' on this machine",
        ],
    ),
    "a default owner who does not exist": (
        "issuers:\n",
        "defaults: {owner: no-such-user}\nissuers:\n",
        ["1: defaults.owner: there is no user 'no-such-user' on this machine"],
    ),
    "an owner's number that means nobody": (
        "{combined: /pki/etcd.pem}",
        "{combined: /pki/etcd.pem, owner: 4294967295}",
        [f"{OUTPUT}.owner: is no user number: it is too large"],
    ),
    "a kubeconfig's keys beside a plain file": (
        "{combined: /pki/etcd.pem}",
        '{combined: /pki/etcd.pem, server: "https://api", embed: true}',
        [
            f"{OUTPUT}.embed: goes with a kubeconfig only",
            f"{OUTPUT}.server: goes with a kubeconfig only",
        ],
    ),
    "a kubeconfig without a server": (
        "combined: /pki/etcd.pem",
        "kubeconfig: /pki/etcd.conf",
        [f"{OUTPUT}.server: is required for a kubeconfig"],
    ),
    "a kubeconfig that names files which are not there": (
        "{combined: /pki/etcd.pem}",
        '{ca: /pki/ca.crt}, {kubeconfig: /pki/c, server: "https://api", embed: false}',
        [
            f"12: {SERVER}.outputs: no output holds the private key: add key: or combined:",
            f"12: {SERVER}.outputs: no output holds the certificate: add certificate: or combined:",
            (
                f"12: {SERVER}.outputs[1].embed: a kubeconfig that names files needs certificate: "
                "and key: outputs beside it"
            ),
        ],
    ),
    "a kubeconfig for a server": (
        "[server auth, client auth]\n        outputs: [{combined: /pki/etcd.pem}]",
        '[server auth]\n        outputs: [{kubeconfig: /pki/c, server: "https://api"}]',
        [f"{OUTPUT}.kubeconfig: needs a certificate with the usage 'client auth'"],
    ),
    # --- references
    "an unknown issuer": (
        "issuer: lab",
        "issuer: lap",
        [f"8: {SERVER}.issuer: 'lap' names no issuer; did you mean 'lab'?"],
    ),
    "an unknown vault, unpinned": (
        "{ca: {certificate: /lab/ca.crt, key: /lab/ca.key}}",
        "{vault: {connection: main, mount: pki}}",
        [
            (
                "2: issuers.lab.trust_anchors: is required: the CA certificates that answers are "
                "checked against are pinned here, never taken from an answer"
            ),
            "2: issuers.lab.vault.connection: 'main' names no entry of vaults",
        ],
    ),
    "an unknown component": (
        "    activation",
        "    after: [etdc]\n    activation",
        ["5: components.etcd.after[0]: 'etdc' names no component; did you mean 'etcd'?"],
    ),
    "a component after itself": (
        "    activation",
        "    after: [etcd]\n    activation",
        ["5: components.etcd.after: is a cycle: etcd -> etcd (-> reads 'waits for')"],
    ),
    "two components after each other": (
        GOOD,
        GOOD.replace("    activation", "    after: [other]\n    activation")
        + ANOTHER.replace("    activation", "    after: [etcd]\n    activation"),
        ["5: components.etcd.after: is a cycle: etcd -> other -> etcd (-> reads 'waits for')"],
    ),
    "one name for two certificates": (
        GOOD,
        GOOD + ANOTHER.replace("two:", "server:"),
        [
            (
                "16: components.other.certificates.server: the name is taken by a certificate of "
                "component 'etcd'"
            )
        ],
    ),
    "a proof of an unknown certificate": (
        "    activation",
        '    proofs: [{tls: {address: "localhost:1", certificate: sever}}]\n    activation',
        [
            (
                "5: components.etcd.proofs[0].tls.certificate: 'sever' names no certificate of "
                "this component; did you mean 'server'?"
            )
        ],
    ),
    "a proof of another component's certificate": (
        GOOD,
        GOOD.replace(
            "    activation",
            '    proofs: [{tls: {address: "localhost:1", certificate: two}}]\n    activation',
        )
        + ANOTHER,
        [
            (
                "5: components.etcd.proofs[0].tls.certificate: 'two' names no certificate of this "
                "component"
            )
        ],
    ),
    "a TLS proof of a client": (
        GOOD,
        GOOD
        + ANOTHER.replace(
            "    activation",
            '    proofs: [{tls: {address: "localhost:1", certificate: two}}]\n    activation',
        ),
        [
            (
                "14: components.other.proofs[0].tls.certificate: the certificate 'two' has no "
                "usage 'server auth'"
            )
        ],
    ),
    "an unknown client certificate": (
        "    activation",
        (
            "    gates: [{https: {url: 'https://a', ca_file: /c, client_certificate: x}}]\n"
            "    activation"
        ),
        ["5: components.etcd.gates[0].https.client_certificate: 'x' names no certificate"],
    ),
    "a reload that nobody sees": (
        "{none: {}}",
        "{reload: {}}",
        [
            (
                "5: components.etcd.activation.reload: needs a tls or client proof: that a process "
                "re-read its files must be seen"
            )
        ],
    ),
    "a proof that cannot come": (
        "    activation",
        "    proofs: [{started: {unit: etcd.service}}]\n    activation",
        [
            (
                "5: components.etcd.proofs[0].started: can never hold: this activation starts no "
                "process anew"
            )
        ],
    ),
    "a server that the etcd gate cannot verify": (
        "    activation: {none: {}}\n    certificates:\n      server:\n",
        (
            "    activation: {none: {}}\n"
            "    gates: [{etcd: {endpoint: 'a:2379', ca_file: /c, client_certificate: server}}]\n"
            "    certificates:\n      server:\n        key: ed25519\n"
        ),
        [
            (
                "9: components.etcd.certificates.server.key: must not be ed25519: the etcd gate "
                "could not ask a server with such a key"
            )
        ],
    ),
    "a program without a path": (
        "{none: {}}",
        "{exec: {command: [reload]}}",
        [
            (
                "5: components.etcd.activation.exec.command: must start with the absolute path of "
                "a program"
            )
        ],
    ),
    "a unit that is an option": (
        "{none: {}}",
        "{restart: {unit: --all}}",
        [
            (
                "5: components.etcd.activation.restart.unit: is no systemd unit; write for example "
                "etcd.service"
            )
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_told_with_line_and_key(case: str, tmp_path: Path) -> None:
    old, new, expected = CASES[case]
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    assert faults(path) == [f"certrotd.yaml:{line}" for line in expected]


def test_a_client_certificate_may_be_any_of_the_node(tmp_path: Path) -> None:
    gate = "    gates: [{https: {url: 'https://a', ca_file: /c, client_certificate: two}}]\n"
    assert faults(write(tmp_path, GOOD.replace("    act", gate + "    act") + ANOTHER)) == []


def test_two_cycles_are_both_told(tmp_path: Path) -> None:
    text = GOOD.replace("    act", "    after: [etcd]\n    act") + ANOTHER.replace(
        "    act", "    after: [other]\n    act"
    )
    assert [line.split(": ")[1] for line in faults(write(tmp_path, text))] == [
        "components.etcd.after",
        "components.other.after",
    ]
