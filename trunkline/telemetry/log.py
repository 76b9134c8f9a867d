"""Structured logs with named events: `delivery_dead_lettered destination=crm attempts=8`."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

import structlog


def configure(process: str, *, is_json: bool = False, level: int = logging.INFO) -> None:
    """Send log lines of this process from `level` up to standard error, as key=value or JSON."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if is_json
        else structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "process", "event"], bool_as_flag=False
        )
    )
    structlog.configure(
        processors=[
            # Not by context variables: a thread starts without those of its maker.
            lambda _logger, _method, event: {**event, "process": process},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,
    )


class _Stderr:
    """Writes lines to standard error, wherever that is now.

    Whoever read it may be gone (`trunkline serve 2>&1 | head`). A line that nobody can read is no
    reason for an event to fail, and there is nobody to tell.
    """

    def __init__(self, *_: object) -> None:
        """Take what structlog gives every logger, which is nothing of use here."""

    def msg(self, line: str) -> None:
        """Write a line, if anyone takes it."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg


def get_logger() -> Any:
    """Return the logger. Its calls name an event and give values, never a sentence."""
    return structlog.get_logger()
