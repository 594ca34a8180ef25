"""Structured logging: one line an event, JSON or for the console, nothing secret in it.

structlog is imported when a log is opened, as commands that only look need none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from certrotd.core.quoting import BOOTSTRAP_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping
    from typing import TextIO

    from structlog.typing import Processor

    from certrotd.ports import Event, Log

REDACTED = "<redacted>"
_SECRET_NAMES = re.compile(r"token|secret|password|private|authorization", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:hvs|hvb|hvr|s|b|r)\.[A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|(?<=[Bb]earer )\S+"
    rf"|{BOOTSTRAP_TOKEN}",
    re.DOTALL,
)
_FOREIGN = ("apscheduler", "hvac", "urllib3", "requests", "kubernetes")


def silent(_event: Event, /, **_facts: object) -> None:
    """Log nothing: for commands that only look."""


def open_log(stream: TextIO, *, form: str = "auto", level: str = "info") -> Log:
    """Set up logging to `stream` and return the log.

    Args:
        stream: Where lines go; standard error under systemd, in a container and on a terminal.
        form: `console`, `json`, or `auto`: console on a terminal, else JSON.
        level: The least severe level that is shown: debug, info, warning or error.
    """
    import logging  # noqa: PLC0415  # see the module's docstring

    import structlog  # noqa: PLC0415  # as above

    threshold = logging.getLevelNamesMapping()[level.upper()]
    terminal = stream.isatty()
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain tracebacks: the structured ones and the console's pretty ones print local
        # variables, and a local may hold a key.
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=terminal, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
        if form == "console" or (form == "auto" and terminal)
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[*shared, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    # Debug output of libraries prints bodies of requests and answers.
    _take_over(_FOREIGN, stream, shared, renderer, max(threshold, logging.WARNING))
    logger = structlog.get_logger()

    def log(event: Event, /, **facts: object) -> None:
        getattr(logger, event.severity)(event.value, **{k: _plain(v) for k, v in facts.items()})

    return log


def _take_over(
    names: Iterable[str],
    stream: TextIO,
    shared: list[Processor],
    renderer: Processor,
    threshold: int,
) -> None:
    """Have libraries log as we do."""
    import logging  # noqa: PLC0415  # see the module's docstring

    from structlog.stdlib import ProcessorFormatter  # noqa: PLC0415  # as above

    handler = logging.StreamHandler(stream)
    processors = [ProcessorFormatter.remove_processors_meta, redact, renderer]
    handler.setFormatter(ProcessorFormatter(foreign_pre_chain=shared, processors=processors))
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(threshold)


def redact(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace whatever is named or looks like a secret; the last processor before rendering."""
    return {
        key: REDACTED if _SECRET_NAMES.search(key) else _redacted(value)
        for key, value in event.items()
    }


def without_secrets(text: str) -> str:
    """Replace whatever looks like a secret in a text."""
    return _SECRET_TEXT.sub(REDACTED, text)


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, bytes):
        return _redacted(value.decode(errors="replace"))
    if isinstance(value, dict):
        return {str(k): _redacted(v) for k, v in redact(None, "", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    # Fail closed: an object nobody thought of is shown by its text, and that is searched too.
    return without_secrets(str(value))


def _plain(value: object) -> object:
    """Write times as RFC 3339 and short durations with milliseconds."""
    if isinstance(value, float):
        return round(value, 3)
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if callable(isoformat) else value
