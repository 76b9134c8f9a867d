"""Patterns of a kit, asked of any value: what is no text matches none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trunkline.playbook.patterns import full_match as fits_text


def full_match(pattern: str) -> Callable[[Any], bool]:
    """Return what says whether a value is a text that is wholly what the pattern describes.

    Raises `ValueError` with a sentence where it is no pattern that RE2 takes.
    """
    fits = fits_text(pattern)
    return lambda value: isinstance(value, str) and fits(value)
