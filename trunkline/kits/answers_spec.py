"""How a kit writes down what answers mean: the rules read, and what is wrong with them told."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from trunkline.kits.answers import (
    FEWER,
    GIVE_UP,
    MEANINGS,
    RULES_MAX,
    TIMES_MAX,
    UNKNOWN,
    After,
    Answers,
    Count,
    EventAnswers,
    Means,
    Rule,
)
from trunkline.kits.mentions import read_mentions
from trunkline.playbook.nodes import Node

EVENT_MEANS = ("rejected", "success", "retry")
_SINGLES = ("unverified", "unknown", "after", "reason")
_COMPARED = ("equals", "in", "contains", "exists")
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


def read_answers(node: Node) -> Answers:
    """Read the rules, telling what is wrong with them."""
    fields = node.fields((*MEANINGS, "events", "count", "otherwise", "mentions", *_SINGLES))
    rules: list[tuple[Means, tuple[Rule, ...]]] = [
        (means, read_rules(fields[means])) for means in MEANINGS if means in fields
    ]
    for means, told in rules:
        if means != "retry" and any(rule.times for rule in told):
            fields[means].complain("has a rule with `times`; only what is sent again is counted")
    return Answers(
        tuple(rules),
        read_events(fields["events"]) if "events" in fields else None,
        fields["unverified"].flag() if "unverified" in fields else False,
        "unknown" in fields and fields["unknown"].choice(UNKNOWN) == GIVE_UP,
        _read_after(fields["after"]) if "after" in fields else None,
        fields["reason"].text() if "reason" in fields else "",
        _read_count(fields["count"]) if "count" in fields else None,
        _read_otherwise(fields["otherwise"]) if "otherwise" in fields else None,
        read_mentions(fields["mentions"]) if "mentions" in fields else None,
    )


def _read_count(node: Node) -> Count:
    fields = node.fields(("path", "fewer", "times"), ("path", "fewer"))
    return Count(
        fields["path"].text() if "path" in fields else "",
        "unknown" if "fewer" in fields and fields["fewer"].choice(FEWER) == "unknown" else "retry",
        _read_times(fields),
    )


def _read_otherwise(node: Node) -> Rule:
    rule = _read_rule(node)
    if isinstance(node.value, dict) and not rule.times:
        node.complain("times is missing; say how often what is not known is sent again")
    return rule


def _read_times(fields: dict[str, Node]) -> int:
    return fields["times"].whole(1, TIMES_MAX) if "times" in fields else 0


def _read_after(node: Node) -> After:
    fields = node.fields(("header", "is"), ("header", "is"))
    header = fields["header"].text().lower() if "header" in fields else ""
    unit = fields["is"].choice(("seconds", "epoch_seconds")) if "is" in fields else ""
    return After(header, unit == "epoch_seconds")


def read_rules(node: Node) -> tuple[Rule, ...]:
    """Read a list of rules, telling what is wrong with it."""
    entries = node.entries()
    if len(entries) > RULES_MAX:
        node.complain(f"has {len(entries)} rules; at most {RULES_MAX} are read")
    return tuple(_read_rule(entry) for entry in entries[:RULES_MAX])


def _read_rule(node: Node) -> Rule:
    if not isinstance(node.value, dict):
        return Rule((_read_status(node),))
    fields = node.fields(("status", "path", *_COMPARED, "times"))
    statuses = _read_statuses(fields["status"]) if "status" in fields else ()
    path = fields["path"].text() if "path" in fields else ""
    if not path and fields.keys() & {*_COMPARED}:
        node.complain("compares a value but names no `path`; say where it stands in the answer")
    if not path and not statuses:
        node.complain("holds for every answer; give it a `status` or a `path`")
    return Rule(
        statuses,
        path,
        _read_scalar(fields["equals"]) if "equals" in fields else UNSET,
        tuple(_read_scalar(one) for one in fields["in"].entries()) if "in" in fields else (),
        fields["contains"].text() if "contains" in fields else "",
        _read_exists(fields, path),
        _read_times(fields),
    )


def _read_exists(fields: dict[str, Node], path: str) -> bool | None:
    if "exists" in fields:
        return fields["exists"].flag()
    # A path by itself asks for something to be there.
    return True if path and not fields.keys() & {"equals", "in", "contains"} else None


def _read_statuses(node: Node) -> tuple[str, ...]:
    if isinstance(node.value, list):
        return tuple(_read_status(one) for one in node.entries()[:RULES_MAX])
    return (_read_status(node),)


def _read_status(node: Node) -> str:
    text = node.scalar_text().lower()
    if text not in _CLASSES and not (text.isdigit() and len(text) == 3):
        node.complain(f"is {text[:40]!r}; expected a status (422) or a class of them (4xx)")
    return text


def _read_scalar(node: Node) -> Any:
    if isinstance(node.value, dict | list):
        node.complain("is compared to an object or a list; expected text, a number or a boolean")
        return None
    return node.value


def read_events(node: Node, means: tuple[str, ...] = EVENT_MEANS) -> EventAnswers:
    """Read where an answer tells of single events; `means` are the rules that may stand there.

    Those that `EventAnswers` does not hold are the caller's to read.
    """
    known = ("path", "paths", "index", "indexes", "key", "of", "reason", *means)
    fields = node.fields(known)
    paths = [fields["path"]] if "path" in fields else []
    paths += fields["paths"].entries() if "paths" in fields else []
    if not paths and isinstance(node.value, dict):
        node.complain("path is missing; say where the answer lists events")
    _check_naming(node, fields)
    has_indexes = fields["indexes"].flag() if "indexes" in fields else False
    if paths and not (has_indexes or fields.keys() & {"index", "key", *means}):
        node.complain("says not which entries condemn their event; give `index` or `rejected`")
    texts = {k: fields[k].text() for k in ("index", "reason", "key", "of") if k in fields}
    own = EVENT_MEANS if means is EVENT_MEANS else ()
    rules = {k: read_rules(fields[k]) for k in own if k in fields}
    return EventAnswers(
        tuple(path.text() for path in paths),
        texts.get("index", ""),
        texts.get("reason", ""),
        rules.get("rejected", ()),
        rules.get("success", ()),
        rules.get("retry", ()),
        has_indexes,
        texts.get("key", ""),
        texts.get("of", ""),
    )


def _check_naming(node: Node, fields: dict[str, Node]) -> None:
    """Tell of entries that name their events in two ways, or in half of one."""
    ways = [name for name in ("indexes", "index", "key") if name in fields]
    if len(ways) > 1:
        fields[ways[1]].complain(f"stands beside `{ways[0]}`; entries name their events in one way")
    if ("key" in fields) != ("of" in fields):
        node.complain("`key` and `of` go together: an entry's name, and where the event has it")
