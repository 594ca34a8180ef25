"""The configuration as it is in force, in the shape of the file.

Nothing in a configuration is a secret by design: secrets are named by file. `redacted` also
leaves out what identifies a node to Vault, and the arguments of programs, among which somebody
may have put a secret all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certrotd.config import section
from certrotd.config.outputs import kind_of
from certrotd.config.scalars import duration_text, mode_text
from certrotd.config.section import bare, entry, is_section, item, kinds
from certrotd.config.settings import AppRole, Certificate, Command, Output, Root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certrotd.config import settings
    from certrotd.config.configuration import Config
    from certrotd.config.section import Kind, Section
    from certrotd.core import model

Plain = dict[str, object]

REDACTED = "<redacted>"


def shown(config: Config, *, redacted: bool = False) -> Plain:
    """Return the effective configuration: preset expanded, files merged, defaults filled in.

    The result has the shape of the file and only plain data; without `redacted` it can be
    loaded again and means the same.
    """
    root = config.settings
    data = plain(root, Root, redacted=redacted)
    specs = {str(spec.name): spec for each in config.components for spec in each.certificates}
    data.setdefault("issuers", {})  # what must be there, although it may be empty
    components: Any = data.setdefault("components", {})
    for name, component in root.components.items():
        certificates = components[name]["certificates"]
        for each, given in component.certificates.items():
            spec = specs[each]
            certificates[each] = _certificate(certificates[each], given, spec, root.defaults)
    data.pop("preset", None)  # what it stands for is there; loaded again, it would come twice
    return _ordered({**data, "node": config.node}, Root)


def plain(value: Any, kind: Kind, *, redacted: bool = False) -> Any:
    """Turn a value of a bare kind into what JSON and YAML know; what is empty is left out."""
    if is_section(kind):
        return _section(value, kind, redacted=redacted)
    if (written := section.written(kind)) is not None:
        return written.write(value)
    if (pair := entry(kind)) is not None:
        inner = bare(pair[1])
        return {name: plain(each, inner, redacted=redacted) for name, each in value.items()}
    if (each_kind := item(kind)) is not None:
        return [plain(each, bare(each_kind), redacted=redacted) for each in value]
    return str(value)


def _section(value: Section, kind: type[Section], *, redacted: bool) -> Plain:
    data: Plain = {}
    for key, each in kinds(kind).items():
        given = getattr(value, key)
        if given is not None and given not in ((), {}):
            data[key] = plain(given, bare(each), redacted=redacted)
    return _without_private(data, kind) if redacted else data


def _without_private(data: Plain, kind: type[Section]) -> Plain:
    if kind is AppRole and "role_id" in data:
        return {**data, "role_id": REDACTED}
    if issubclass(kind, Command):
        return {key: _program(value) for key, value in data.items()}
    return data


def _program(value: object) -> object:
    if not isinstance(value, list):
        return value
    return [*value[:1], *(REDACTED for _ in value[1:])]


def _certificate(
    data: Mapping[str, Any],
    given: Certificate,
    spec: model.CertificateSpec,
    defaults: settings.Defaults,
) -> Plain:
    """Fill in what the certificate takes from elsewhere."""
    outputs = [
        _output(shape, output, made, defaults)
        for shape, output, made in zip(data["outputs"], given.outputs, spec.outputs, strict=True)
    ]
    filled = {
        "role": spec.role,
        "key": str(spec.key),
        "ttl": duration_text(spec.ttl),
        "outputs": outputs,
    }
    return _ordered({**data, **filled}, Certificate)


def _output(data: Plain, given: Output, made: model.Output, defaults: settings.Defaults) -> Plain:
    filled: Plain = {"mode": mode_text(made.mode)}
    for key, default in (("owner", defaults.owner), ("group", defaults.group)):
        if default is not None:
            filled[key] = default
    if made.kubeconfig is not None:
        filled |= {
            "cluster": made.kubeconfig.cluster,
            "user": made.kubeconfig.user,
            "embed": made.kubeconfig.embed,
        }
    return {kind_of(given): data[kind_of(given)], **_ordered({**filled, **data}, Output)}


def _ordered(data: Plain, kind: type[Section]) -> Plain:
    return {key: data[key] for key in kinds(kind) if key in data}
