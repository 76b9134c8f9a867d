"""Reading the filters of a section."""

from __future__ import annotations

from typing import Any

from trunkline.playbook.conditions import GROUPS, OPERATORS, Operator
from trunkline.playbook.nodes import Node, one_of
from trunkline.playbook.paths import read_input_path
from trunkline.playbook.reading import Reading
from trunkline.playbook.spec import (
    DEPTH_MAX,
    RULES_MAX,
    Action,
    ConditionFilter,
    Filter,
    NameFilter,
    Tree,
)

_ACTIONS = ("allow", "deny")
_KINDS = ("byEventNames", "byConditions")
_NOTHING: Tree = {"matchesAll": {"conditions": []}}


def read_filter(node: Node, reading: Reading) -> Filter:
    """Read one filter, telling what is wrong with it."""
    fields = node.fields(_KINDS)
    if len(fields) != 1:
        node.complain(f"holds {len(fields)} kinds of filter; expected one: {one_of(_KINDS)}")
    by_names, by_conditions = (fields.get(kind) for kind in _KINDS)
    return Filter(
        _read_names(by_names) if by_names else None,
        _read_conditions(by_conditions, reading) if by_conditions else None,
    )


def _read_action(fields: dict[str, Node]) -> Action:
    word = fields["action"].choice(_ACTIONS) if "action" in fields else "allow"
    return "deny" if word == "deny" else "allow"


def _read_names(node: Node) -> NameFilter:
    fields = node.fields(("action", "events"), ("action", "events"))
    names = fields["events"].entries() if "events" in fields else []
    return NameFilter(_read_action(fields), tuple(name.text() for name in names))


def _read_conditions(node: Node, reading: Reading) -> ConditionFilter:
    fields = node.fields(("action", "when"), ("action", "when"))
    when = _read_condition(fields["when"], reading, 1) if "when" in fields else _NOTHING
    return ConditionFilter(_read_action(fields), when)


def _read_condition(node: Node, reading: Reading, depth: int) -> Tree:
    known = (*GROUPS, *OPERATORS)
    fields = node.fields(known)
    if len(fields) != 1:
        if isinstance(node.value, dict) and not set(node.value) - set(known):  # pyright: ignore[reportUnknownArgumentType]
            node.complain(
                f"holds {len(fields)} operators; expected one; several go into the `conditions` "
                "of `matchesAll` or `matchesAny`"
            )
        return _NOTHING
    ((name, below),) = fields.items()
    if name in GROUPS:
        return {name: _read_group(below, reading, depth)}
    return {name: _read_operator(below, OPERATORS[name], reading)}


def _read_group(node: Node, reading: Reading, depth: int) -> Tree:
    fields = node.fields(("conditions",), ("conditions",))
    if depth >= DEPTH_MAX:
        node.complain(f"nests more than {DEPTH_MAX} conditions; make it flatter")
        return {"conditions": []}
    nodes = reading.entries(fields, "conditions")
    if reading.rules > RULES_MAX:
        return {"conditions": []}  # the count is told once, for the whole playbook
    return {"conditions": [_read_condition(each, reading, depth + 1) for each in nodes]}


def _read_operator(node: Node, operator: Operator, reading: Reading) -> Tree:
    needed = [name for name in operator.fields if name != "ignoreCase"]
    fields = node.fields(("inputPath", *operator.fields), ("inputPath", *needed))
    count = len(node.problems)
    argument: Tree = {}
    if "inputPath" in fields:
        argument["inputPath"] = read_input_path(fields["inputPath"])
    for name, kind in operator.fields.items():
        if name in fields:
            argument[name] = _read_field(fields[name], kind, reading)
    if (
        len(node.problems) == count
        and len(argument) > len(needed)
        and not reading.is_open(argument)
    ):
        try:
            operator.prepare(argument)
        except ValueError as error:
            fields["value"].complain(str(error))
    return argument


def _read_field(node: Node, kind: str, reading: Reading) -> Any:
    if kind == "flag":
        return reading.flag(node)
    if kind == "number":
        return node.value if _is_whole(node.value) else reading.number(node)
    if kind == "texts":
        return [entry.text() for entry in node.entries()]
    return node.text()


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
