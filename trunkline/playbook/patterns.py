"""Patterns of RE2, matched from end to end, with short cuts for those that most kits use.

A short cut knows ASCII alone and leaves the rest to RE2, so it can only be faster, never different:
a match by RE2 from Python costs about 7 µs, one by a short cut less than one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from trunkline.playbook.conditions import compile_pattern

Fits = Callable[[str], bool]

_CLASS = r"\[[A-Za-z0-9_ .:/-]+\]"
_SIMPLE = re.compile(rf"(?:[A-Za-z0-9_]|{_CLASS})*{_CLASS}(?:\{{[0-9]+(?:,[0-9]*)?\}}|[+*])?")


@lru_cache(maxsize=1024)
def full_match(pattern: str) -> Fits:
    """Return what says whether a text is wholly what a pattern describes.

    Raises `ValueError` with a sentence where it is no pattern that RE2 takes.
    """
    match = compile_pattern(pattern).fullmatch

    def fits(text: str) -> bool:
        try:
            return match(text) is not None
        except UnicodeEncodeError:  # half of a surrogate pair
            return False

    quick = _quick(pattern)
    if quick is None:
        return fits
    return lambda text: quick(text) if text.isascii() else fits(text)


def _quick(pattern: str) -> Fits | None:
    if pattern == ".+":
        return lambda text: bool(text) and "\n" not in text
    if pattern == "(?s).+":
        return bool
    if not _SIMPLE.fullmatch(pattern):
        return None
    # Characters and classes of them, of which only the last may come again: they mean the same to
    # both, and take linear time in both.
    match = re.compile(pattern).fullmatch
    return lambda text: match(text) is not None
