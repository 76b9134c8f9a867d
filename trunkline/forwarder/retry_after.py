"""`Retry-After` in its two forms: how long a destination asks to be left alone, in seconds."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

AFTER_SECONDS_MAX = 86_400.0  # nobody can silence a destination for longer than a day

# A fraction is no valid form, but several services send one.
_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")


def after_seconds(header: str | None, now_ms: int) -> float:
    """Return the wait that a `Retry-After` asks for (RFC 9110 10.2.3), 0 where it asks for none.

    Delay-seconds or an HTTP date; between 0 and 24 h. What is neither asks for nothing.
    """
    if not header:
        return 0.0
    text = header.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), AFTER_SECONDS_MAX)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError, TypeError):
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    try:
        wait = at.timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return 0.0
    return min(max(wait, 0.0), AFTER_SECONDS_MAX)
