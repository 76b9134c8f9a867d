"""Structured logs with named events: `delivery_dead_lettered destination=crm attempts=8`."""

from __future__ import annotations

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
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)


def get_logger() -> Any:
    """Return the logger. Its calls name an event and give values, never a sentence."""
    return structlog.get_logger()
