"""Patterns of a kit: RE2, matched against the whole of a text."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from trunkline.playbook.conditions import OPERATORS

_SIMPLE = re.compile(r"\[\^?[A-Za-z0-9_ .:/-]+\](?:\{[0-9]+(?:,[0-9]*)?\}|[+*])?")


@lru_cache(maxsize=1024)
def full_match(pattern: str) -> Callable[[Any], bool]:
    """Return what says whether a text is wholly what the pattern describes.

    Raises `ValueError` with a sentence where it is no pattern that RE2 takes.
    """
    prepare = OPERATORS["stringMatches"].prepare
    prepare({"value": pattern})  # by itself, so that a fault is told of what was written
    if _SIMPLE.fullmatch(pattern):
        # One class of characters means the same to both, takes linear time in both, and costs 10 µs
        # less here.
        match = re.compile(pattern).fullmatch
        return lambda value: isinstance(value, str) and match(value) is not None
    return prepare({"value": rf"\A(?:{pattern})\z"})
