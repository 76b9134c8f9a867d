"""Patterns of RE2, matched from end to end, with short cuts for those that most kits use."""

from __future__ import annotations

from functools import lru_cache

from trunkline.playbook.conditions import compile_pattern
from trunkline.playbook.quick_patterns import Fits, quick_full_match


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

    quick = quick_full_match(pattern)
    if quick is None:
        return fits
    return lambda text: quick(text) if text.isascii() else fits(text)
