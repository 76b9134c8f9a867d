"""What a jailed process answered, made into values that the rest of the node can bear.

A playbook keeps its own limits; these are for answers that were forged. Depth is what matters: a
value that was decoded may still be too deep to be encoded further down the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, cast

import msgspec

from trunkline.jail.frames import Answer, Heard, Said, parts_of
from trunkline.playbook.program import Shaped
from trunkline.playbook.run import may_nest

DEPTH_MAX = 100
_OUTPUT: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode


def shaped_of(said: Said, events: int) -> Sequence[Shaped] | None:
    """Return one answer an event. None: there is none that can be used."""
    if not isinstance(said, Heard) or len(said.shaped) != events:
        return None
    try:
        texts = parts_of(said.outputs, [size for answer in said.shaped for size in answer.sizes])
        outputs = map(_output, texts)
        return [
            _shaped(answer, tuple(islice(outputs, len(answer.sizes)))) for answer in said.shaped
        ]
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None


def _shaped(answer: Answer, outputs: tuple[dict[str, Any], ...]) -> Shaped:
    if answer.failure is None and not answer.steps:
        return Shaped(outputs, answer.filtered)
    partial = answer.failure.partial if answer.failure else None
    if is_deep([partial, [step.value for step in answer.steps]]):
        raise ValueError("too deep")
    return Shaped(outputs, answer.filtered, answer.failure, answer.steps)


def _output(text: bytes) -> dict[str, Any]:
    output = _OUTPUT(text)
    if may_nest(text, DEPTH_MAX) and is_deep(output):
        raise ValueError("too deep")
    return output


def is_deep(value: Any) -> bool:
    """Say whether objects and lists stand inside each other deeper than `DEPTH_MAX`."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    if type(value) is dict:
        inner = cast("dict[str, Any]", value).values()
    elif type(value) is list:
        inner = cast("list[Any]", value)
    else:
        return []
    return [each for each in inner if type(each) is dict or type(each) is list]
