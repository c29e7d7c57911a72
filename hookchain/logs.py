"""Logging: one line per decision with its ids, as text for a console or as JSON."""

from __future__ import annotations

import io
import logging
import sys
from typing import TextIO

import structlog

from hookchain.printable import printable, printable_in


def set_up_logs(level: str, style: str) -> None:
    """Send our log lines and those of libraries to standard error, in the style "console" or "json"."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: structlog.typing.Processor
    if style == "json":
        shared.append(structlog.processors.format_exc_info)
        render = structlog.processors.JSONRenderer()
    else:
        shared.append(_printable)
        render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=_traceback,
        )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    # Libraries log requests with their URLs, and a hook's URL is a credential, so only their warnings are logged.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # It warns of each form that it cannot read, which is the sender's mistake: the answer says so.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


def _printable(
    _logger: structlog.typing.WrappedLogger, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape control characters, so that text from strangers cannot move the cursor or fake a line. JSON needs no escaping here."""
    return {name: value if name == "exc_info" else printable_in(value) for name, value in line.items()}


def _traceback(to: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """Print a plain traceback, since rich's prints local variables, which include secrets.

    The error's message may come from a stranger, so a prefix marks each line as part of the traceback.
    """
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    lines = text.getvalue().rstrip("\n").split("\n")
    to.write("\n".join(f"  | {printable(line)}" for line in lines))
