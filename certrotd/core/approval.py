"""May this kubelet have this certificate? A chain of rules over a request of the CSR API.

Default-deny and exact: a request is approved only if every rule is content. The order of `RULES`
is the specification; the first rule that is not content decides. A rule that finds what can never
become right denies; one that finds what is not right yet leaves the request pending, since the
kubelet asks again, and much more often after a denial.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from certrotd.core import x509
from certrotd.core.model.kubelets import (
    NODE_PREFIX,
    NODES,
    NodeFacts,
    Purpose,
    Ruling,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from ipaddress import IPv4Address, IPv6Address

    from certrotd.core.model.kubelets import (
        ApprovalPolicy,
        ParsedRequest,
        SubmittedRequest,
    )

_SIGNATURE = "digital signature"
_USAGES = {Purpose.CLIENT: "client auth", Purpose.SERVING: "server auth"}
_ENCIPHERMENT = "key encipherment"
_DIGESTS = frozenset({"sha256", "sha384", "sha512"})
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253
"""A node's name is a DNS subdomain (RFC 1123) as Kubernetes has it."""
_LONGEST_DETAIL = 500
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything a rule may look at: the object, what is inside it, its node, policy, time."""

    submitted: SubmittedRequest
    purpose: Purpose
    parsed: ParsedRequest
    node: NodeFacts
    policy: ApprovalPolicy
    now: datetime

    @property
    def is_bootstrap(self) -> bool:
        """Whether somebody asks who is not a node yet."""
        return not self.submitted.username.startswith(NODE_PREFIX)


def purpose_of(submitted: SubmittedRequest, policy: ApprovalPolicy) -> Purpose | None:
    """Return what a request is for, None if its signer is no concern of this approver."""
    return next((each for each in policy.purposes if each.value == submitted.signer), None)


def node_name(submitted: SubmittedRequest) -> str | None:
    """Return the node a request is about, None if it names none.

    What the request says of itself counts for the first certificate only: a node that asks is who
    the API server says it is.
    """
    if submitted.username.startswith(NODE_PREFIX):
        return submitted.username.removeprefix(NODE_PREFIX)
    try:
        names = x509.parse_request(submitted.request).common_names
    except ValueError:
        return None
    if len(names) != 1 or not names[0].startswith(NODE_PREFIX):
        return None
    return names[0].removeprefix(NODE_PREFIX)


def is_node_name(name: str) -> bool:
    """Tell whether a node could have this name."""
    return len(name) <= _LONGEST_NAME and _NODE_NAME.fullmatch(name) is not None


def judge(
    submitted: SubmittedRequest, node: NodeFacts, policy: ApprovalPolicy, now: datetime
) -> Verdict:
    """Rule on a request.

    Args:
        submitted: The object of the API.
        node: What is known of the node that `node_name` returned.
        policy: What may be approved.
        now: The time.
    """
    if verdict := _objection(submitted, node, policy, now, (Ruling.DENIED, Ruling.PENDING)):
        return verdict
    detail = f"node {node.name}, {_asked_for(Purpose(submitted.signer))}"
    return Verdict(ruling=Ruling.APPROVED, rule="all", detail=detail)


def objection(submitted: SubmittedRequest, policy: ApprovalPolicy) -> Verdict | None:
    """Return why a request must not be signed, whoever approved it; None if nothing is against it.

    Only what can never become right counts: who approved it may know more of its node than we do.
    """
    # Rules that deny look at no node and no time.
    nobody = NodeFacts(name="", exists=False)
    return _objection(submitted, nobody, policy, submitted.created_at, (Ruling.DENIED,))


def _objection(
    submitted: SubmittedRequest,
    node: NodeFacts,
    policy: ApprovalPolicy,
    now: datetime,
    rulings: tuple[Ruling, ...],
) -> Verdict | None:
    """Return the verdict of the first rule of these rulings that is not content."""
    purpose = purpose_of(submitted, policy)
    if purpose is None:
        detail = _shown(f"signer {submitted.signer} is not looked after here")
        return Verdict(ruling=Ruling.PASSED_OVER, rule="signer", detail=detail)
    try:
        parsed = x509.parse_request(submitted.request)
    except ValueError as e:
        return Verdict(ruling=Ruling.DENIED, rule="request", detail=_shown(str(e)))
    case = Case(
        submitted=submitted, purpose=purpose, parsed=parsed, node=node, policy=policy, now=now
    )
    for rule, ruling, check in RULES:
        if ruling in rulings and (problem := check(case)) is not None:
            return Verdict(ruling=ruling, rule=rule, detail=_shown(problem))
    return None


def foreign(case: Case) -> str | None:
    """Make sure that the request has nothing that a kubelet's never has."""
    return f"it carries {', '.join(case.parsed.foreign)}" if case.parsed.foreign else None


def subject(case: Case) -> str | None:
    """Make sure that CN is a node's name and O is just the nodes' group."""
    names, organizations = case.parsed.common_names, case.parsed.organizations
    if len(names) != 1 or not names[0].startswith(NODE_PREFIX):
        return f"CN is {_told(names)}, not {NODE_PREFIX}NAME"
    name = names[0].removeprefix(NODE_PREFIX)
    if not is_node_name(name):
        return f"{name!r} is no name of a node"
    if organizations != (NODES,):
        return f"O is {_told(organizations)}, not exactly [{NODES}]"
    return None


def requester(case: Case) -> str | None:
    """Make sure that a node asks for itself, a bootstrapper for its first client certificate."""
    submitted, (name,) = case.submitted, case.parsed.common_names
    if not case.is_bootstrap:
        if submitted.username != name:
            return f"{submitted.username} asks for {name}"
        if NODES not in submitted.groups:
            return f"{submitted.username} is not in the group {NODES}"
        return None
    if case.purpose is not Purpose.CLIENT:
        return f"{submitted.username} is no node and asks for {_asked_for(case.purpose)}"
    if not case.policy.bootstrap_groups & set(submitted.groups):
        return f"{submitted.username} is no node, and in no group that may bootstrap one"
    return None


def about(case: Case) -> str | None:
    """Make sure that what is known is known of the node that is asked for."""
    (name,) = case.parsed.common_names
    if name != f"{NODE_PREFIX}{case.node.name}":
        return f"the facts are about node {case.node.name}, the request about {name}"
    return None


def usages(case: Case) -> str | None:
    """Make sure that the usages are exact; key encipherment is for RSA keys."""
    asked = case.submitted.usages
    needed = {_SIGNATURE, _USAGES[case.purpose]}
    allowed = (needed, needed | {_ENCIPHERMENT}) if _is_rsa(case.parsed) else (needed,)
    if len(set(asked)) != len(asked) or set(asked) not in allowed:
        return f"usages are {_told(asked)}, not exactly {_told(sorted(needed))}"
    return None


def key(case: Case) -> str | None:
    """Make sure that the key and the signature are strong enough."""
    allowed = {str(each) for each in case.policy.keys}
    if case.parsed.key not in allowed:
        return f"its key is {case.parsed.key}, not one of {', '.join(sorted(allowed))}"
    if case.parsed.digest not in _DIGESTS and case.parsed.key != "ed25519":
        return f"it is signed with {case.parsed.digest or 'an unknown digest'}"
    return None


def lifetime(case: Case) -> str | None:
    """Make sure that the life asked for is within bounds."""
    asked, policy = case.submitted.lifetime, case.policy
    if asked is None or policy.shortest <= asked <= policy.longest:
        return None
    return (
        f"it asks for {asked.total_seconds():g} s, allowed are {policy.shortest.total_seconds():g} "
        f"to {policy.longest.total_seconds():g} s"
    )


def no_names(case: Case) -> str | None:
    """Make sure that a client certificate has no SAN, and a serving certificate has one."""
    names = (*case.parsed.dns_names, *map(str, case.parsed.ip_addresses))
    if case.purpose is Purpose.CLIENT:
        return f"a client certificate has no SAN, this asks for {_told(names)}" if names else None
    if len(case.parsed.dns_names) > case.policy.most_dns_names:
        return f"it asks for {len(case.parsed.dns_names)} DNS names"
    return None if names else "a serving certificate needs a DNS name or an IP address"


def shapes(case: Case) -> str | None:
    """Make sure that names are host names without wildcards, and addresses lie where they may.

    A kubelet reports its node's names and addresses itself. One that was taken over must not get
    those of the API server, of services, or of every machine.
    """
    for name in case.parsed.dns_names:
        if not is_node_name(name.lower()):
            return f"DNS name {name!r} is no host name"
        if _is_reserved(name.lower(), case.policy.reserved_names):
            return f"DNS name {name!r} is never a kubelet's"
    networks = case.policy.networks
    for address in case.parsed.ip_addresses:
        if networks and not any(address in network for network in networks):
            return f"address {address} lies in none of the allowed networks"
        if not networks and _is_of_no_node(address):
            return f"address {address} is of no node alone"
    return None


def existence(case: Case) -> str | None:
    """Make sure that the node is there, or, for a first certificate, that nobody has its name."""
    node = case.node
    if not case.is_bootstrap:
        return None if node.exists else f"there is no node {node.name} (yet)"
    if not node.exists or node.last_seen is None:
        return None
    away = case.now - node.last_seen
    if away >= case.policy.rejoin_after:
        return None
    return (
        f"{case.submitted.username} asks for node {node.name}, which was seen "
        f"{away.total_seconds():.0f} s ago: it has a certificate and can ask for itself"
    )


def addresses(case: Case) -> str | None:
    """Make sure that every name and address is known to be the node's."""
    known = {each.lower() for each in case.node.dns_names}
    strange: list[str] = [each for each in case.parsed.dns_names if each.lower() not in known]
    strange += [str(e) for e in case.parsed.ip_addresses if e not in case.node.ip_addresses]
    if not strange:
        return None
    has = (*sorted(case.node.dns_names), *sorted(map(str, case.node.ip_addresses)))
    return f"{_told(strange)} is not known to be of node {case.node.name}, which has {_told(has)}"


def rate(case: Case) -> str | None:
    """Make sure that no node gets certificates faster than it can need them."""
    recent = [each for each in case.node.approved if case.now - each < _HOUR]
    if len(recent) >= case.policy.per_hour:
        return f"node {case.node.name} had {len(recent)} approved in the last hour"
    quiet = case.policy.not_within
    if any(case.now - each < quiet for each in case.node.approved):
        return f"node {case.node.name} has one that is younger than {quiet.total_seconds():g} s"
    return None


RULES: tuple[tuple[str, Ruling, Callable[[Case], str | None]], ...] = (
    ("foreign", Ruling.DENIED, foreign),
    ("subject", Ruling.DENIED, subject),
    ("requester", Ruling.DENIED, requester),
    ("about", Ruling.PENDING, about),
    ("usages", Ruling.DENIED, usages),
    ("key", Ruling.DENIED, key),
    ("lifetime", Ruling.DENIED, lifetime),
    ("names", Ruling.DENIED, no_names),
    ("shapes", Ruling.DENIED, shapes),
    ("existence", Ruling.PENDING, existence),
    ("addresses", Ruling.PENDING, addresses),
    ("rate", Ruling.PENDING, rate),
)
"""In order: the rule's name, what becomes of a request that breaks it, the check."""


def _is_reserved(name: str, reserved: tuple[str, ...]) -> bool:
    """Tell whether a name is one of them, or below one that begins with a dot."""
    return any(name.endswith(e) if e.startswith(".") else name == e for e in reserved)


def _is_of_no_node(address: IPv4Address | IPv6Address) -> bool:
    return address.is_loopback or address.is_unspecified or address.is_multicast


def _is_rsa(parsed: ParsedRequest) -> bool:
    return parsed.key.startswith("rsa-")


def _shown(text: str) -> str:
    """Make text of somebody else's fit for logs, Events and terminals."""
    short = text if len(text) <= _LONGEST_DETAIL else f"{text[: _LONGEST_DETAIL - 1]}…"
    return "".join(each if each.isprintable() else "?" for each in short)


def _asked_for(purpose: Purpose) -> str:
    return "a client certificate" if purpose is Purpose.CLIENT else "a serving certificate"


def _told(values: tuple[str, ...] | list[str]) -> str:
    return f"[{', '.join(values)}]"
