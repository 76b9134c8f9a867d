"""The envelope of a request: the body as the kit writes it around what the playbook made.

Places in the kit's tree: `$events` (the list of what was made), `$event` (the first of it),
`$event.a.b` (what stands there in it; a key is left out where nothing does), texts with params, and
`{$number: …}`, `{$flag: …}`, `{$json: …}` for params that are no text. A key whose text is params
alone and comes out empty is left out; so is an object with `$if: $$NAME$$` whose param is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from trunkline.kits.answers import find
from trunkline.kits.params import fill_params
from trunkline.playbook.nodes import Node, kind_of, near_miss
from trunkline.playbook.reading import MARK

EVENTS = "$events"
EVENT = "$event"
_PART = re.compile(r"\$event((?:\.[A-Za-z0-9_-]+)+)")  # `$event.a.b`
TYPED = ("$number", "$flag", "$json")
IF = "$if"
DEPTH_MAX = 16
_PARAMS_ALONE = re.compile(r"(?:\$\$[A-Za-z0-9_]+\$\$)+")
_OMITTED = object()

Batch = Sequence[Mapping[str, Any]]
Render = Callable[[Batch], Any]


def check_envelope(node: Node, batch_max: int) -> None:
    """Tell what is wrong with an envelope as it stands in a kit."""
    if not isinstance(node.value, dict | list | str):
        node.complain(f"is {kind_of(node.value)}; expected an object, with `$events` in it")
    _check(node, batch_max, 1)


def _check(node: Node, batch_max: int, depth: int) -> None:
    value = node.value
    if depth > DEPTH_MAX:
        node.complain(f"nests more than {DEPTH_MAX} levels; make it flatter")
    elif _is_of_event(value) and batch_max > 1:
        node.complain(f"is the first event, but a request carries {batch_max}; write `$events`")
    elif isinstance(value, dict):
        _check_object(node, batch_max, depth)
    elif isinstance(value, list):
        for below in node.entries():
            _check(below, batch_max, depth + 1)
    elif isinstance(value, str):
        _check_text(node, value)


def _is_of_event(value: Any) -> bool:
    return value == EVENT or (isinstance(value, str) and _PART.fullmatch(value) is not None)


def _check_text(node: Node, text: str) -> None:
    """Tell of a `$events` that is misspelt; other texts may begin with a `$`."""
    is_known = text == EVENTS or _is_of_event(text)
    if text.startswith("$") and not MARK.search(text) and not is_known:
        node.complain(f"is {text[:40]!r}{near_miss(text, (EVENTS, EVENT))}")


def _check_object(node: Node, batch_max: int, depth: int) -> None:
    found = node.named()
    if IF in found and not _PARAMS_ALONE.fullmatch(found[IF].text()):
        found[IF].complain("is more than params; write $$NAME$$: empty leaves this object out")
    typed = next((key for key in found if key.startswith("$") and key != IF), "")
    if not typed:
        for below in found.values():
            _check(below, batch_max, depth + 1)
    elif typed not in TYPED:
        found[typed].complain(f"is not known here{near_miss(typed, (*TYPED, IF))}")
    elif len(found) > 1:
        node.complain(f"holds more than `{typed}`; it stands by itself")
    elif not MARK.search(found[typed].text()):
        found[typed].complain("holds no param; write the value itself instead")


def make_envelope(tree: Any, values: Mapping[str, str]) -> Render:
    """Return what makes the body of a batch, the params filled in.

    Raises `ValueError` with a sentence that shows no value, where one is not what its place asks.
    """
    filled = _fill(tree, values)
    return lambda batch: _render(filled, batch)


def _fill(tree: Any, values: Mapping[str, str]) -> Any:
    if isinstance(tree, str):
        text = fill_params(tree, values)
        return _OMITTED if not text and _PARAMS_ALONE.fullmatch(tree) else text
    if isinstance(tree, list):
        filled = [_fill(item, values) for item in cast("list[Any]", tree)]
        return [item for item in filled if item is not _OMITTED]
    if isinstance(tree, dict):
        named = cast("dict[str, Any]", tree)
        typed = next(iter(named), "")
        if typed in TYPED:
            return _typed(typed, named[typed], values)
        if IF in named and not fill_params(named[IF], values):
            return _OMITTED
        pairs = [(key, _fill(value, values)) for key, value in named.items() if key != IF]
        return {key: value for key, value in pairs if value is not _OMITTED}
    return tree


def _typed(kind: str, template: str, values: Mapping[str, str]) -> Any:
    text = fill_params(template, values).strip()
    if not text:
        return _OMITTED
    try:
        value: Any = msgspec.json.decode(text.lower() if kind == "$flag" else text)
    except msgspec.DecodeError:
        value = None
    wanted = {"$number": (int, float), "$flag": bool, "$json": object}[kind]
    is_flag = isinstance(value, bool)
    if value is None or not isinstance(value, wanted) or (kind == "$number" and is_flag):
        words = {"$number": "a number", "$flag": "true or false", "$json": "JSON"}
        raise ValueError(f"params: {template} must be {words[kind]}; correct its value")
    return value


def _render(tree: Any, batch: Batch) -> Any:
    if isinstance(tree, str):
        if tree == EVENTS:
            return [*batch]
        return batch[0] if tree == EVENT else _part_or_text(tree, batch)
    if isinstance(tree, dict):
        pairs = ((key, _render(one, batch)) for key, one in cast("dict[str, Any]", tree).items())
        return {key: value for key, value in pairs if value is not _OMITTED}
    if isinstance(tree, list):
        items = (_render(item, batch) for item in cast("list[Any]", tree))
        return [item for item in items if item is not _OMITTED]
    return tree


def _part_or_text(text: str, batch: Batch) -> Any:
    """Return what stands in the first event where a text leads; other texts are themselves."""
    match = _PART.fullmatch(text)
    if match is None:
        return text
    found = find(batch[0], match[1][1:])
    return _OMITTED if found is None else found
