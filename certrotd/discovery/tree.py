"""YAML that remembers its lines: manifests, kubeconfigs, configuration files of programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class NoYaml(ValueError):
    """The text is no YAML document; `line` counts from 1, 0 if it is not known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Tree:
    """A node of a document; what is not there is an empty one."""

    node: Any = None

    @property
    def line(self) -> int:
        """The line it stands in."""
        return self.node.start_mark.line + 1 if self.node is not None else 0

    @property
    def text(self) -> str:
        """The scalar as it is written; empty if it is none."""
        is_scalar = self.node is not None and self.node.id == "scalar"
        return str(self.node.value) if is_scalar and not self.node.tag.endswith(":null") else ""

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return self.node is not None and self.node.id == "mapping"

    def __getitem__(self, key: str) -> Tree:
        return dict(self.items()).get(key, Tree())

    def items(self) -> Iterator[tuple[str, Tree]]:
        """Yield the entries of a mapping."""
        for key, value in self.node.value if self.is_mapping else ():
            yield str(key.value), Tree(value)

    def each(self) -> tuple[Tree, ...]:
        """Return the items of a list."""
        is_list = self.node is not None and self.node.id == "sequence"
        return tuple(map(Tree, self.node.value)) if is_list else ()


def parse(content: bytes) -> Tree:
    """Read one YAML (or JSON) document; an empty one is an empty tree.

    Raises:
        NoYaml: it is none; the message shows nothing of the content.
    """
    import yaml  # noqa: PLC0415  # start-up time

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return Tree(yaml.compose(content.decode("utf-8-sig"), Loader=loader))
    except UnicodeDecodeError as e:
        raise NoYaml("is not UTF-8 text", content.count(b"\n", 0, e.start) + 1) from None
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        problem = e.problem or e.context
        raise NoYaml(f"is no YAML: {problem}", mark.line + 1 if mark else 0) from None
    except (yaml.YAMLError, RecursionError):
        raise NoYaml("is no YAML") from None


def flattened(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Tree]]:
    """Yield every scalar with its dotted key, `clientConnection.kubeconfig`."""
    for key, value in tree.items():
        if value.is_mapping:
            yield from flattened(value, f"{prefix}{key}.")
        elif value.text:
            yield prefix + key, value
