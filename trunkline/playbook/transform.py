"""What a transform is: a name, an argument that is checked once, and a function that is total."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

Function = Callable[[Any], Any]


class TransformExample(Struct, frozen=True):
    """What a transform with this argument makes of a value."""

    argument: Any
    input: Any
    output: Any


class Transform(Struct, frozen=True):
    """A transform: what it does, what its argument is, and how to make its function.

    `prepare` raises ValueError, a sentence, for an argument that does not fit.
    """

    name: str
    description: str
    argument: str
    prepare: Callable[[Any], Function]
    examples: tuple[TransformExample, ...]


def example(argument: Any, value: Any, output: Any) -> TransformExample:
    """Return an example: this argument makes this output of this value."""
    return TransformExample(argument, value, output)


def plain(function: Function) -> Callable[[Any], Function]:
    """Return the `prepare` of a transform without an argument, which is written `true`."""

    def prepare(argument: Any) -> Function:
        if argument is not True:
            raise ValueError(f"is {repr(argument)[:60]}; expected `true`, for it takes no argument")
        return function

    return prepare
