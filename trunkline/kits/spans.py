"""How long something is, as a kit writes it: `90s`, `15m`, `6h`, `7d`."""

from __future__ import annotations

import re

SPAN = re.compile(r"([1-9][0-9]{0,5})([smhd])")
SPAN_EXPECTED = "a number with s, m, h or d, as 7d"
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def span_ms(text: str) -> int | None:
    """Return a span in milliseconds; None where the text is none."""
    match = SPAN.fullmatch(text)
    return None if match is None else int(match[1]) * _UNIT_MS[match[2]]
