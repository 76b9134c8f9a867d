"""The envelope of a request: the body as the kit writes it around what the playbook made.

Places in the kit's tree: `$events` (the list of what was made), `$events.a.b` (what stands there in
each of it), `$event` (the first of it), `$event.a.b` (what stands there in it; a key is left out
where nothing does), texts with params, and
`{$number: …}`, `{$flag: …}`, `{$json: …}` for params that are no text. A key whose text is params
alone and comes out empty is left out; so is an object with `$if: $$NAME$$` whose param is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

import msgspec

from trunkline.kits.answers import find
from trunkline.kits.params import fill_params
from trunkline.playbook.nodes import Node, kind_of, near_miss
from trunkline.playbook.reading import MARK

EVENTS = "$events"
EVENT = "$event"
_PART = re.compile(r"\$event((?:\.[A-Za-z0-9_-]+)+)")  # `$event.a.b`
_PARTS = re.compile(r"\$events((?:\.[A-Za-z0-9_-]+)+)")  # `$events.a.b`
TYPED = ("$number", "$flag", "$json")
IF = "$if"
DEPTH_MAX = 16
_PARAMS_ALONE = re.compile(r"(?:\$\$[A-Za-z0-9_]+\$\$)+")
_OMITTED = object()

Batch = Sequence[Mapping[str, Any]]
Render = Callable[[Batch], Any]


def check_envelope(node: Node, batch_max: int, groups: Sequence[str] = ()) -> None:
    """Tell what is wrong with an envelope as it stands in a kit.

    `groups` are the paths where all events of a request have the same.
    """
    if not isinstance(node.value, dict | list | str):
        node.complain(f"is {kind_of(node.value)}; expected an object, with `$events` in it")
    shared = {f"{EVENT}.{path}" for path in groups}
    _check(node, batch_max, shared, 1)


def _check(node: Node, batch_max: int, shared: AbstractSet[str], depth: int) -> None:
    value = node.value
    if depth > DEPTH_MAX:
        node.complain(f"nests more than {DEPTH_MAX} levels; make it flatter")
    elif _is_of_event(value) and batch_max > 1 and value not in shared:
        node.complain(f"is the first event, but a request carries {batch_max}; write `$events`")
    elif isinstance(value, dict):
        _check_object(node, batch_max, shared, depth)
    elif isinstance(value, list):
        for below in node.entries():
            _check(below, batch_max, shared, depth + 1)
    elif isinstance(value, str):
        _check_text(node, value)


def _is_of_event(value: Any) -> bool:
    return value == EVENT or (isinstance(value, str) and _PART.fullmatch(value) is not None)


def _check_text(node: Node, text: str) -> None:
    """Tell of a `$events` that is misspelt; other texts may begin with a `$`."""
    is_known = text == EVENTS or _is_of_event(text) or _PARTS.fullmatch(text)
    if text.startswith("$") and not MARK.search(text) and not is_known:
        node.complain(f"is {text[:40]!r}{near_miss(text, (EVENTS, EVENT))}")


def _check_object(node: Node, batch_max: int, shared: AbstractSet[str], depth: int) -> None:
    found = node.named()
    if IF in found and not _PARAMS_ALONE.fullmatch(found[IF].text()):
        found[IF].complain("is more than params; write $$NAME$$: empty leaves this object out")
    typed = next((key for key in found if key.startswith("$") and key != IF), "")
    if not typed:
        for below in found.values():
            _check(below, batch_max, shared, depth + 1)
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
    return _compiled(_fill(tree, values))


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


def _compiled(tree: Any) -> Render:
    """Return what makes a part of the body."""
    if isinstance(tree, str):
        return _of_text(tree)
    if isinstance(tree, dict):
        pairs = cast("dict[str, Any]", tree).items()
        return _of_object([(key, _compiled(value)) for key, value in pairs])
    if isinstance(tree, list):
        return _of_list([_compiled(item) for item in cast("list[Any]", tree)])
    return lambda _batch: tree


def _of_object(parts: Sequence[tuple[str, Render]]) -> Render:
    def render(batch: Batch) -> Any:
        return {key: one for key, make in parts if (one := make(batch)) is not _OMITTED}

    return render


def _of_list(parts: Sequence[Render]) -> Render:
    def render(batch: Batch) -> Any:
        return [one for make in parts if (one := make(batch)) is not _OMITTED]

    return render


def _of_text(text: str) -> Render:
    """Return what finds what stands where a text leads; other texts are themselves."""
    if text == EVENTS:
        return lambda batch: [*batch]
    if text == EVENT:
        return lambda batch: batch[0]
    if each := _PARTS.fullmatch(text):
        return _of_each(each[1][1:])
    if one := _PART.fullmatch(text):
        return _of_first(one[1][1:])
    return lambda _batch: text


def _of_each(path: str) -> Render:
    def render(batch: Batch) -> Any:
        values = (find(one, path) for one in batch)
        return [value for value in values if value is not None]

    return render


def _of_first(path: str) -> Render:
    """Return what finds a value of the first event; of one key, as most are, without a search."""
    if "." not in path:
        return lambda batch: _OMITTED if (found := batch[0].get(path)) is None else found

    def render(batch: Batch) -> Any:
        found = find(batch[0], path)
        return _OMITTED if found is None else found

    return render
