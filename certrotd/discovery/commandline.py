"""Command lines: arguments, shell scripts and environment settings to flags."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

_SHELLS = ("sh", "bash", "dash", "ash")
_OPERATOR = re.compile(r"[();<>|&]+")
_REFERENCE = re.compile(r"(\$?)\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True, slots=True)
class Word:
    """A word and the line it stands in (from 1; 0 if it has none)."""

    text: str
    line: int = 0

    @property
    def unresolved(self) -> bool:
        """Whether a variable in it is not known."""
        return "$" in self.text


@dataclass(frozen=True, slots=True)
class Flags:
    """Flags by name, `--cert-file`, or `clientConnection.kubeconfig` from a configuration file."""

    words: Mapping[str, tuple[Word, ...]]

    def all(self, *names: str) -> tuple[tuple[str, Word], ...]:
        """Return every word of these flags, each with the flag's name."""
        return tuple((name, word) for name in names for word in self.words.get(name, ()))

    def last(self, *names: str) -> tuple[str, Word] | None:
        """Return the word that counts: the last one of the first of these flags that is given."""
        return next(((name, self.words[name][-1]) for name in names if name in self.words), None)

    def text(self, name: str, default: str = "") -> str:
        """Return what a flag, or the key of that name in a configuration file, is set to."""
        found = self.last(name, name.removeprefix("--"))
        return found[1].text if found else default

    def with_defaults(self, others: Mapping[str, tuple[Word, ...]]) -> Flags:
        """Add flags that are not given yet."""
        return replace(self, words={**others, **self.words})


def flags(arguments: Iterable[Word]) -> Flags:
    """Read `--a=b`, `--a b`, `-a=b` and `--a`, which is set to `true`.

    Underscores count as dashes (component-base does so too); what is no flag is passed over.
    """
    found: dict[str, list[Word]] = {}
    waiting: list[Word] | None = None
    for word in arguments:
        if word.text == "--":
            break
        if re.match("--?[A-Za-z]", word.text):
            name, sign, value = word.text.partition("=")
            values = found.setdefault("--" + name.lstrip("-").replace("_", "-"), [])
            values.append(Word(value if sign else "true", word.line))
            waiting = None if sign else values
        elif waiting is not None:
            waiting[-1], waiting = word, None
    return Flags({name: tuple(values) for name, values in found.items()})


def from_environment(settings: Mapping[str, str], prefix: str) -> dict[str, tuple[Word, ...]]:
    """Return the flags that variables stand for: `ETCD_CERT_FILE` for `--cert-file`."""
    return {
        "--" + name.removeprefix(prefix).lower().replace("_", "-"): (Word(value),)
        for name, value in settings.items()
        if prefix and name.startswith(prefix)
    }


def program_in(
    arguments: tuple[Word, ...], known: Collection[str]
) -> tuple[str, tuple[Word, ...]] | None:
    """Find the known program that is run, directly or by a shell script, and its arguments.

    Raises:
        ValueError: a shell script has a quote without its partner.
    """
    if not arguments:
        return None
    if posixpath.basename(arguments[0].text) in _SHELLS:
        script = next((word for word in arguments[1:] if not word.text.startswith("-")), None)
        arguments = _first_command(script, known) if script else ()
    for i, word in enumerate(arguments):
        if (name := posixpath.basename(word.text)) in known:
            return name, arguments[i + 1 :]
        if not re.fullmatch("hyperkube|exec|env|[A-Za-z_]+=.*", name):
            return None
    return None


def _first_command(script: Word, known: Collection[str]) -> tuple[Word, ...]:
    """Return the words of the first command in a script that runs a known program."""
    lexer = shlex.shlex(script.text.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    commands: list[list[Word]] = [[]]
    for text in lexer:
        if _OPERATOR.fullmatch(text):
            commands.append([])
        else:
            commands[-1].append(Word(text, script.line))
    for command in commands:
        for i, word in enumerate(command):
            if posixpath.basename(word.text) in known:
                return tuple(command[i:])
    return ()


def expanded(word: Word, settings: Mapping[str, str]) -> Word:
    """Fill in `$(NAME)` as the kubelet does: `$$(NAME)` stays, and so does what is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return f"$({match[2]})"
        return settings.get(match[2], match[0])

    return Word(_REFERENCE.sub(value, word.text), word.line)
