"""The contract of a vendor, as a kit writes it down: rules over what the playbook made.

A rule speaks where `when` holds and `unless` does not. It may test the event's age; or a value: its
length, number, pattern; or of several keys how many are there. What it then asks: reject or drop
the event, cut or leave out the value, or set a time to the attempt's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from trunkline.kits.currencies import CURRENCIES, is_currencies
from trunkline.kits.params import fill_tree, used_params
from trunkline.kits.patterns import full_match
from trunkline.kits.spans import SPAN_EXPECTED, span_ms
from trunkline.playbook.check_filters import read_filter
from trunkline.playbook.nodes import Node, kind_of, near_miss
from trunkline.playbook.program import Problem
from trunkline.playbook.reading import MARK, Reading

RULES_MAX = 100
VALUES_MAX = 2000  # of `in`
Then = Literal["reject", "drop", "cut", "leave_out"]
TimeUnit = Literal["seconds", "millis", "micros", "rfc3339"]
THENS = ("reject", "drop", "cut", "leave_out")
UNITS = ("seconds", "millis", "micros", "rfc3339")
_NAME = re.compile(r"[a-z0-9_]{1,80}")
WAYS_MAX = 30
_WAYS = ("anyOf", "oneOf")
_TIMES = ("olderThan", "ahead")
_COUNTS = ("charactersMax", "itemsMax", "bytesMax")
_NAMES = ("names", "namesNot")
_TESTS = (*_COUNTS, "in", "pattern", "min", "max", *_NAMES, "hasAny")
_TEXTS = ("rule", "forParams", "when", "unless", "then", "say", "page", "key", "clamp")
_FIELDS = (*_TEXTS, *_WAYS, *_TIMES, *_TESTS)
Ways = tuple[tuple[str, ...], ...]


class Clamp(Struct, frozen=True):
    """Which key is set to the attempt's time, and in which unit it is written."""

    key: str
    unit: TimeUnit


class ContractRule(Struct, frozen=True):
    """One rule. Fields that stand at None or nothing are not asked.

    `older_ms` and `ahead_ms` are compared with the event's own timestamp; `key` is a dotted path of
    the output, `*` in it each member. `older_param` names the param that says `older_ms`.

    `any_of` and `one_of` are ways to name the same, each one or several paths that go together: of
    the first one at least must be there, of the second exactly one.

    `names` is a pattern that every key of the object at `key` must match in full, `names_not` one
    that none may; `leave_out` then takes the keys at fault. `has_any` are keys of which the object
    at `key` must have one at least. `for_params` has the values of params with which the rule is
    asked, of each name one or several.
    """

    name: str
    then: Then | None
    say: str = ""
    page: str = ""
    when: Any = None
    unless: Any = None
    older_ms: int | None = None
    ahead_ms: int | None = None
    clamp: Clamp | None = None
    key: str = ""
    characters_max: int | None = None
    items_max: int | None = None
    bytes_max: int | None = None
    among: tuple[Any, ...] | None = None
    pattern: str = ""
    low: float | None = None
    high: float | None = None
    older_param: str = ""
    any_of: Ways = ()
    one_of: Ways = ()
    names: str = ""
    names_not: str = ""
    has_any: tuple[str, ...] = ()
    for_params: Mapping[str, tuple[str, ...]] = {}

    @property
    def has_test(self) -> bool:
        """Say whether it tests a value."""
        asked = (self.characters_max, self.items_max, self.bytes_max, self.among, self.low)
        is_patterned = bool(self.pattern) or self.is_of_names
        return (
            is_patterned
            or bool(self.has_any)
            or any(one is not None for one in (*asked, self.high))
        )

    @property
    def is_of_names(self) -> bool:
        """Say whether it tests the names of an object's keys."""
        return bool(self.names or self.names_not)

    @property
    def reason(self) -> str:
        """The rule as a dead letter tells it: `needs_identifier: SAY (PAGE)`."""
        page = f" ({self.page})" if self.page else ""
        return f"{self.name}: {self.say}{page}" if self.say else f"{self.name}{page}"


def read_contract(node: Node) -> tuple[ContractRule, ...]:
    """Read the rules, telling what is wrong with them."""
    entries = node.entries()
    if len(entries) > RULES_MAX:
        node.complain(f"has {len(entries)} rules; at most {RULES_MAX} are read")
    found: dict[str, ContractRule] = {}
    for entry in entries[:RULES_MAX]:
        rule = _read_rule(entry)
        if rule.name and rule.name in found:
            entry.complain(f"{rule.name} stands twice; give each rule a name of its own")
        found[rule.name] = rule
    return tuple(found.values())


def _read_rule(node: Node) -> ContractRule:
    fields = node.fields(_FIELDS, ("rule",))
    texts = {key: fields[key].text() for key in ("say", "page", "key") if key in fields}
    counts = {key: fields[key].whole(0, 1 << 30) for key in _COUNTS if key in fields}
    spans = {key: _read_span(fields[key]) for key in _TIMES if key in fields}
    then = fields["then"].choice(THENS) if "then" in fields else None
    rule = ContractRule(
        _read_name(fields["rule"]) if "rule" in fields else "",
        cast("Then | None", then),
        texts.get("say", ""),
        texts.get("page", ""),
        read_condition(fields["when"]) if "when" in fields else None,
        read_condition(fields["unless"]) if "unless" in fields else None,
        spans.get("olderThan"),
        spans.get("ahead"),
        _read_clamp(fields["clamp"]) if "clamp" in fields else None,
        texts.get("key", ""),
        counts.get("charactersMax"),
        counts.get("itemsMax"),
        counts.get("bytesMax"),
        _read_among(fields["in"]) if "in" in fields else None,
        _read_pattern(fields["pattern"]) if "pattern" in fields else "",
        _read_number(fields["min"]) if "min" in fields else None,
        _read_number(fields["max"]) if "max" in fields else None,
        _param_of(fields["olderThan"]) if "olderThan" in fields else "",
        _read_ways(fields["anyOf"]) if "anyOf" in fields else (),
        _read_ways(fields["oneOf"]) if "oneOf" in fields else (),
        *(_read_pattern(fields[key]) if key in fields else "" for key in _NAMES),
        has_any=_read_keys(fields["hasAny"]) if "hasAny" in fields else (),
        for_params=_read_params(fields["forParams"]) if "forParams" in fields else {},
    )
    if isinstance(node.value, dict):
        _check_key(node, rule)
        _check_subject(node, rule, [*fields])
        _check_then(node, rule)
    return rule


def _check_key(node: Node, rule: ContractRule) -> None:
    for path in filter(None, (rule.key, rule.clamp.key if rule.clamp else "")):
        if not all(path.split(".")):
            node.complain(f"key {path[:80]!r}: expected names with one dot between two, as a.b")


def _check_subject(node: Node, rule: ContractRule, given: list[str]) -> None:
    """Tell of a rule that asks nothing, or more than one thing."""
    times = [name for name in _TIMES if name in given]
    tests = [name for name in _TESTS if name in given]
    ways = [name for name in _WAYS if name in given]
    if ways:
        others = [name for name in (*ways, "key", *times, *tests) if name in given]
        if len(others) > 1:
            node.complain(f"asks {' and '.join(others)}; make it two rules")
    elif times and (tests or len(times) > 1):
        node.complain(f"asks {' and '.join([*times, *tests])}; make it two rules")
    elif rule.key and not tests and rule.then != "leave_out":
        node.complain("names a `key` and tests nothing of it; add a test, as charactersMax")
    elif not times and not tests and rule.when is None and rule.unless is None:
        node.complain("asks nothing; give it `when` or `unless`, a time, or `key` and a test")
    elif tests and not rule.key and tests != ["bytesMax"]:
        node.complain(f"{tests[0]} tests a value; name it with `key`")


def _check_then(node: Node, rule: ContractRule) -> None:
    is_timed = rule.older_ms is not None or rule.ahead_ms is not None
    if rule.clamp is not None and (not is_timed or rule.then is not None):
        node.complain("clamp goes with `olderThan` or `ahead`, and without `then`")
    elif rule.clamp is None and rule.then is None:
        node.complain("then is missing; expected `reject`, `drop`, `cut` or `leave_out`")
    elif rule.then == "reject" and not rule.say:
        node.complain("rejects and does not say why; add `say`, a sentence for the operator")
    elif rule.then == "leave_out" and not (rule.key or rule.one_of):
        node.complain("leaves out no key; name it with `key`")
    elif rule.then == "cut" and not _can_cut(rule):
        node.complain(
            "cuts by `charactersMax` and `itemsMax`, or by `bytesMax`; make the rest another rule"
        )


def _can_cut(rule: ContractRule) -> bool:
    counts = [rule.characters_max, rule.items_max, rule.bytes_max]
    others = (rule.among, rule.low, rule.high)
    if rule.pattern or rule.is_of_names or rule.has_any or not rule.key:
        return False
    # Bytes stand alone, for a text; characters and items may be limits of one key.
    is_one_kind = rule.bytes_max is None or counts.count(None) == len(counts) - 1
    return is_one_kind and any(one is not None for one in counts) and others == (None,) * 3


def _read_name(node: Node) -> str:
    name = node.text()
    if not _NAME.fullmatch(name):
        node.complain(f"is {name[:80]!r}; expected small letters, digits and _, as needs_value")
    return name


def fill_contract(
    rules: tuple[ContractRule, ...], values: Mapping[str, str]
) -> tuple[ContractRule, ...]:
    """Return the rules with their params filled in; those of other values, or without an age, go.

    Raises `ValueError` with a sentence that shows no param's value.
    """
    asked = [rule for rule in rules if _is_for(rule, values)]
    filled = [_fill_age(rule, values) for rule in asked if _has_age(rule, values)]
    return tuple(_fill_conditions(rule, values) for rule in filled)


def _fill_conditions(rule: ContractRule, values: Mapping[str, str]) -> ContractRule:
    place = f"the contract's rule {rule.name}"
    pairs = [(name, tree) for name, tree in (("when", rule.when), ("unless", rule.unless)) if tree]
    found = {name: fill_condition(tree, values, place) for name, tree in pairs}
    return msgspec.structs.replace(rule, **found) if found else rule


def fill_condition(tree: Any, values: Mapping[str, str], place: str) -> Any:
    """Return a condition with its params filled in; `place` says in words where it stands.

    Raises `ValueError` with a sentence that shows no param's value.
    """
    names = [*used_params(tree)]
    missing = [one for one in names if one not in values]
    if missing:
        raise ValueError(f"params: {', '.join(missing)} must be given; {place} uses it")
    if not names:
        return tree
    node = Node(fill_tree(tree, values), "when", [])
    found = read_condition(node)
    if node.problems:
        told = " and ".join(names)
        raise ValueError(f"params: {told} cannot stand in {place}; correct it")
    return found


def _is_for(rule: ContractRule, values: Mapping[str, str]) -> bool:
    pairs = rule.for_params.items()
    return all(values.get(name, "") in wanted for name, wanted in pairs)


def _has_age(rule: ContractRule, values: Mapping[str, str]) -> bool:
    if not rule.older_param:
        return True
    if rule.older_param not in values:
        raise ValueError(f"params: {rule.older_param} must be given; the kit's contract uses it")
    return bool(values[rule.older_param].strip())


def _fill_age(rule: ContractRule, values: Mapping[str, str]) -> ContractRule:
    if not rule.older_param:
        return rule
    older_ms = span_ms(values[rule.older_param].strip())
    if older_ms is None:
        raise ValueError(f"params: {rule.older_param} must be {SPAN_EXPECTED}; correct it")
    return msgspec.structs.replace(rule, older_ms=older_ms, older_param="")


def _read_ways(node: Node) -> Ways:
    """Read ways to name the same thing: paths, or lists of paths that go together."""
    entries = node.entries()
    if not 2 <= len(entries) <= WAYS_MAX:
        node.complain(f"has {len(entries)} ways; 2 to {WAYS_MAX} are taken")
    return tuple(_read_way(entry) for entry in entries[:WAYS_MAX])


def _read_way(node: Node) -> tuple[str, ...]:
    paths = node.entries() if isinstance(node.value, list) else [node]
    if not 1 <= len(paths) <= WAYS_MAX:
        node.complain(f"has {len(paths)} paths; 1 to {WAYS_MAX} are taken")
    texts = [path.text() for path in paths[:WAYS_MAX]]
    for path, text in zip(paths, texts, strict=False):
        if not all(text.split(".")) or "*" in text.split("."):
            path.complain(f"is {text[:80]!r}; expected names with one dot between two, as a.b")
    return tuple(texts)


def _read_keys(node: Node) -> tuple[str, ...]:
    """Read the names of keys of an object."""
    entries = node.entries()
    if not 1 <= len(entries) <= WAYS_MAX:
        node.complain(f"has {len(entries)} keys; 1 to {WAYS_MAX} are taken")
    return tuple(entry.text() for entry in entries[:WAYS_MAX])


def _read_params(node: Node) -> dict[str, tuple[str, ...]]:
    """Read the values of params: of each name one, or a list."""
    found: dict[str, tuple[str, ...]] = {}
    for name, below in node.named().items():
        entries = below.entries() if isinstance(below.value, list) else [below]
        if not entries:
            below.complain("has no value; name one, or a list of them")
        found[name] = tuple(entry.scalar_text() for entry in entries)
    if not found and isinstance(node.value, dict):
        node.complain("names no param; write NAME: value")
    return found


def _param_of(node: Node) -> str:
    """Return the name of the param that stands for a span, or nothing."""
    match = MARK.fullmatch(node.scalar_text())
    return match[1] if match else ""


def _read_span(node: Node) -> int:
    text = node.scalar_text()
    if MARK.fullmatch(text):
        return 0  # filled in later
    found = span_ms(text)
    if found is None:
        node.complain(f"is {text[:40]!r}; expected {SPAN_EXPECTED}")
    return found or 0


def read_condition(node: Node) -> Any:
    """Read a condition as playbooks do; its paths are those of the output."""
    problems: list[Problem] = []
    place = f"{node.path}.byConditions.when"
    tree = {"byConditions": {"action": "allow", "when": node.value}}
    found = read_filter(
        Node(tree, node.path, problems), Reading(is_filled=not used_params(node.value))
    )
    for problem in problems:
        path = problem.path.replace(place, node.path, 1)
        Node(None, path, node.problems).complain(problem.message)
    return found.by_conditions.when if found.by_conditions is not None and not problems else None


def _read_clamp(node: Node) -> Clamp:
    fields = node.fields(("key", "unit"), ("key", "unit"))
    unit = fields["unit"].choice(UNITS) if "unit" in fields else "seconds"
    return Clamp(fields["key"].text() if "key" in fields else "", cast(TimeUnit, unit))


def _read_among(node: Node) -> tuple[Any, ...]:
    if not isinstance(node.value, list):
        return CURRENCIES if is_currencies(node) else ()
    entries = node.entries()
    if len(entries) > VALUES_MAX:
        node.complain(f"has {len(entries)} values; at most {VALUES_MAX} are read")
    for entry in entries:
        if isinstance(entry.value, dict | list):
            entry.complain(f"is {kind_of(entry.value)}; expected text, a number or a boolean")
    return tuple(entry.value for entry in entries[:VALUES_MAX])


def _read_pattern(node: Node) -> str:
    pattern = node.text()
    try:
        full_match(pattern)
    except ValueError as error:
        node.complain(str(error))
        return ""
    return pattern


def _read_number(node: Node) -> float | None:
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    node.complain(f"is {kind_of(value)}; expected a number")
    return None


def unknown_rule(name: str, rules: tuple[ContractRule, ...]) -> str:
    """Say that no rule has a name, as the end of a sentence; nothing where one has it."""
    names = [rule.name for rule in rules]
    if name in names:
        return ""
    return f"names no rule of the contract{near_miss(name, names) or '; it has none'}"
