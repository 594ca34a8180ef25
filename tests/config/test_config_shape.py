"""Faults of one section alone, and the lines that tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certrotd.config.section import kinds
from certrotd.config.settings import Root
from tests.config_text import GOOD, faults, write

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "components.etcd.certificates.server"
OUTPUT = f"12: {SERVER}.outputs[0]"
VAULT = """\
vaults:
  main: {address: "https://vault", auth: {token_file: /token}}
"""

# What is replaced, by what, and what is said about it.
CASES: dict[str, tuple[str, str, list[str]]] = {
    # --- shape
    "an unknown key near a known one": (
        "common_name",
        "comon_name",
        [
            f"7: {SERVER}.common_name: is required",
            f"9: {SERVER}.comon_name: unknown key; did you mean 'common_name'?",
        ],
    ),
    "an unknown key like no other": (
        "issuers:\n",
        "zzz: 1\nissuers:\n",
        [f"1: zzz: unknown key; known here: {', '.join(sorted(kinds(Root)))}"],
    ),
    "a key given twice": (
        "        common_name: etcd\n",
        "        common_name: etcd\n        common_name: two\n",
        [f"10: {SERVER}.common_name: is given twice; first in line 9"],
    ),
    "a section that is text": (
        "{none: {}}",
        "none",
        ["5: components.etcd.activation: must be a mapping of keys to values"],
    ),
    "a mapping that is a list": (
        "  lab: {ca: {certificate: /lab/ca.crt, key: /lab/ca.key}}",
        "  [a]",
        ["1: issuers: must be a mapping of keys to values"],
    ),
    "a list that is text": (
        "[localhost]",
        "localhost",
        [f"10: {SERVER}.dns_names: must be a list, as in [one, two]"],
    ),
    "a value that is a list": (
        "common_name: etcd",
        "common_name: [etcd]",
        [f"9: {SERVER}.common_name: must be a single value, not a list or a mapping"],
    ),
    "a value left empty": (
        "common_name: etcd",
        "common_name:",
        [f"9: {SERVER}.common_name: has no value"],
    ),
    "a word outside a closed choice": (
        "issuers:\n",
        "log: {level: inof}\nissuers:\n",
        ["1: log.level: must be one of: debug, info, warning, error; did you mean 'info'?"],
    ),
    "a usage that does not exist": (
        "server auth, client auth",
        "server auth, clientauth",
        [
            (
                f"11: {SERVER}.usages[1]: must be one of: digital signature, key encipherment, "
                "key agreement, server auth, client auth; did you mean 'client auth'?"
            )
        ],
    ),
    "a bad name": (
        "  etcd:\n",
        "  et cd:\n",
        [
            (
                "4: components.et cd: is no name; use letters, digits, '.', '_' and '-', at most "
                "100, and begin and end with a letter or digit"
            )
        ],
    ),
    "no components": (
        GOOD[GOOD.index("components") :],
        "components: {}\n",
        ["3: components: must name at least one component"],
    ),
    "no certificates": (
        GOOD[GOOD.index("    certificates") :],
        "    certificates: {}\n",
        ["6: components.etcd.certificates: must name at least one certificate"],
    ),
    # --- one of
    "none of several kinds": (
        "{combined: /pki/etcd.pem}",
        "{mode: 0600}",
        [
            (
                f"{OUTPUT}: exactly one of certificate, key, combined, ca, kubeconfig must be "
                "given; found none"
            )
        ],
    ),
    "one of several kinds, left empty": (
        "{combined: /pki/etcd.pem}",
        "{combined: }",
        [
            (
                f"{OUTPUT}: exactly one of certificate, key, combined, ca, kubeconfig must be "
                "given; found none"
            )
        ],
    ),
    "two of several kinds": (
        "{combined: /pki/etcd.pem}",
        "{combined: /pki/etcd.pem, key: /pki/etcd.key}",
        [
            (
                f"{OUTPUT}: exactly one of certificate, key, combined, ca, kubeconfig must be "
                "given; found key and combined"
            )
        ],
    ),
    "two activations": (
        "{none: {}}",
        "{none: , restart: {unit: etcd.service}}",
        [
            (
                "5: components.etcd.activation: exactly one of auto, reload, signal, restart, "
                "exec, none must be given; found restart and none"
            )
        ],
    ),
    "a signal to nobody": (
        "{none: {}}",
        "{signal: {}}",
        [
            (
                "5: components.etcd.activation.signal: exactly one of pidfile, unit must be given; "
                "found none"
            )
        ],
    ),
    "a restart of nothing": (
        "{none: {}}",
        "{restart: {}}",
        [
            (
                "5: components.etcd.activation.restart: exactly one of unit, static_pod, "
                "container, process, exec must be given; found none"
            )
        ],
    ),
    "a login with two secret-ids": (
        "issuers:\n",
        VAULT.replace(
            "token_file: /token",
            "approle: {role_id: a, secret_id_file: /s, secret_id_credential: c}",
        )
        + "issuers:\n",
        [
            (
                "2: vaults.main.auth.approle: exactly one of secret_id_file, secret_id_credential, "
                "wrapped_secret_id_file must be given; found secret_id_file and "
                "secret_id_credential"
            )
        ],
    ),
    "a login without a role-id": (
        "issuers:\n",
        VAULT.replace("token_file: /token", "approle: {secret_id_file: /s}") + "issuers:\n",
        ["2: vaults.main.auth.approle: exactly one of role_id, role_id_file must be given"],
    ),
    # --- scalars
    "a duration in no unit": (
        "issuers:\n",
        "defaults: {ttl: 7}\nissuers:\n",
        ["1: defaults.ttl: is no duration; write for example 30s, 12h or 7d"],
    ),
    "a negative duration": (
        "issuers:\n",
        "defaults: {ttl: -7d}\nissuers:\n",
        ["1: defaults.ttl: is no duration; write for example 30s, 12h or 7d"],
    ),
    "a duration beyond measure": (
        "issuers:\n",
        "limits: {grace: 99999999999w}\nissuers:\n",
        ["1: limits.grace: is longer than ten years"],
    ),
    "a time limit of nothing": (
        "    activation",
        "    proof_deadline: 0s\n    activation",
        ["5: components.etcd.proof_deadline: must be more than zero"],
    ),
    "a time that YAML would read as a number": (
        "issuers:\n",
        "schedule: {daily_at: 12:30:45}\nissuers:\n",
        ["1: schedule.daily_at: is no time of day; write HH:MM in UTC, for example 03:17"],
    ),
    "a splay of a day": (
        "issuers:\n",
        "schedule: {splay: 24h}\nissuers:\n",
        ["1: schedule.splay: must be less than a day"],
    ),
    "no workers": (
        "issuers:\n",
        "limits: {workers: 0}\nissuers:\n",
        ["1: limits.workers: must be a whole number from 1 to 10000"],
    ),
    "a relative path": (
        "/pki/etcd.pem",
        "pki/etcd.pem",
        [f"{OUTPUT}.combined: is not an absolute path: it must start with '/'"],
    ),
    "a path with dots": (
        "/pki/etcd.pem",
        "/pki/../etcd.pem",
        [
            (
                f"{OUTPUT}.combined: is not a plain path: write it without '//', '.', '..' and a "
                "final '/'"
            )
        ],
    ),
    "an IP address among DNS names": (
        "[localhost]",
        "[127.0.0.1]",
        [f"10: {SERVER}.dns_names[0]: is an IP address, not a DNS name"],
    ),
    "a name given twice": (
        "[localhost]",
        "[localhost, a, localhost]",
        [f"10: {SERVER}.dns_names[2]: names localhost a second time"],
    ),
    "a common name longer than X.509 allows": (
        "common_name: etcd",
        f"common_name: {'e' * 65}",
        [f"9: {SERVER}.common_name: must have at most 64 characters"],
    ),
    "a certificate for nothing": (
        "[server auth, client auth]",
        "[digital signature]",
        [f"11: {SERVER}.usages: must name 'server auth' or 'client auth', or both"],
    ),
    "a server without a name": (
        "        dns_names: [localhost]\n",
        "",
        [
            (
                f"7: {SERVER}.dns_names: a server certificate needs dns_names or ip_addresses: "
                "clients ignore the CN"
            )
        ],
    ),
    # --- lifetime
    "a TTL that a lost day would use up": (
        "        common_name",
        "        ttl: 71h\n        common_name",
        [
            (
                f"9: {SERVER}.ttl: under 3 daily periods: one lost day would be an outage; use 3d "
                "or more"
            )
        ],
    ),
    "a default TTL that a lost day would use up": (
        "issuers:\n",
        "defaults: {ttl: 1h}\nissuers:\n",
        ["1: defaults.ttl: under 3 daily periods: one lost day would be an outage; use 3d or more"],
    ),
    "a TTL of years": (
        "        common_name",
        "        ttl: 400d\n        common_name",
        [f"9: {SERVER}.ttl: over a year: what is replaced daily need not live so long"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_told_with_line_and_key(case: str, tmp_path: Path) -> None:
    old, new, expected = CASES[case]
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    assert faults(path) == [f"certrotd.yaml:{line}" for line in expected]


def test_the_smallest_configuration_has_no_fault(tmp_path: Path) -> None:
    assert faults(write(tmp_path, GOOD)) == []


@pytest.mark.parametrize("nothing", ["none:", "none: {}", "none: ~"])
def test_an_activation_without_settings_may_be_left_empty(nothing: str, tmp_path: Path) -> None:
    assert faults(write(tmp_path, GOOD.replace("none: {}", f"{nothing} "))) == []


def test_faults_of_all_kinds_come_at_once_and_in_order(tmp_path: Path) -> None:
    text = (
        GOOD.replace("issuer: lab", "issuer: lap")
        .replace("issuers:\n", "nodee: x\ndefaults: {ttl: 1d, owner: nobody-here}\nissuers:\n")
        .replace("{none: {}}", "{restart: {}}")
        .replace("[localhost]", "[-]")
        .replace("    activation", "    after: [etcd]\n    activation")
    )
    keys = [line.split(": ")[:2] for line in faults(write(tmp_path, text))]
    assert keys == [
        ["certrotd.yaml:1", "nodee"],
        ["certrotd.yaml:2", "defaults.owner"],
        ["certrotd.yaml:2", "defaults.ttl"],
        ["certrotd.yaml:7", "components.etcd.after"],
        ["certrotd.yaml:8", "components.etcd.activation.restart"],
        ["certrotd.yaml:11", "components.etcd.certificates.server.issuer"],
        ["certrotd.yaml:13", "components.etcd.certificates.server.dns_names[0]"],
    ]


def test_a_fault_is_not_told_again_as_its_own_consequence(tmp_path: Path) -> None:
    text = (
        GOOD.replace("{none: {}}", "{reload: {}}")
        .replace("    act", "    proofs: {tls: x}\n    act")
        .replace("[server auth, client auth]", "[serverauth]")
        .replace("[{combined: /pki/etcd.pem}]", "[{combined: etcd.pem}]")
    )
    assert [line.split(": ")[1] for line in faults(write(tmp_path, text))] == [
        "components.etcd.proofs",
        f"{SERVER}.usages[0]",
        f"{SERVER}.outputs[0].combined",
    ]


def test_what_somebody_pasted_is_never_repeated(tmp_path: Path) -> None:
    canary = "hvs.CAESIcanary=="
    for place in ("localhost", "/lab/ca.crt", "server auth", "{combined: /pki/etcd.pem}"):
        told = "\n".join(faults(write(tmp_path, GOOD.replace(place, f'"{canary}"'))))
        assert told
        assert canary not in told
