"""How the answers of a vendor are read: rules of a kit, over the status and the body.

Without rules the table of the delivery contract decides by the status alone. Many vendors answer
200 and mean something else, so a kit may say what is a success, what condemns the event, what the
credentials, and what means "later"; and where a batch's answer says it of single events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, Struct

from trunkline.model.outcome import (
    Blocked,
    Delivered,
    Outcome,
    Rejected,
    Retry,
    outcome_of_status,
)
from trunkline.playbook.nodes import Node

RULES_MAX = 50
REASON_MAX = 300
Means = Literal["blocked", "retry", "rejected", "success"]
MEANINGS: tuple[Means, ...] = ("blocked", "retry", "rejected", "success")  # the order of asking
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


class Rule(Struct, frozen=True):
    """One rule: what it names must all hold. Statuses as text: `200`, `4xx`; none of them: any."""

    statuses: tuple[str, ...] = ()
    path: str = ""
    equals: Any = UNSET
    among: tuple[Any, ...] = ()
    contains: str = ""
    exists: bool | None = None

    def holds(self, status: int, body: Any) -> bool:
        """Say whether an answer is what the rule describes. `body` is decoded JSON, or None."""
        if self.statuses and not {str(status), f"{status // 100}xx"} & {*self.statuses}:
            return False
        return not self.path or self._holds_of(find(body, self.path))

    def _holds_of(self, value: Any) -> bool:
        if self.exists is not None and self.exists != (value is not None):
            return False
        if self.equals is not UNSET and not is_same(value, self.equals):
            return False
        if self.among and not any(is_same(value, one) for one in self.among):
            return False
        return not self.contains or (isinstance(value, str) and self.contains in value)


class EventAnswers(Struct, frozen=True):
    """Where a batch's answer tells of single events: a list at `path`.

    With `index` each entry names there the position of its event, from 0, and tells of a fault;
    without, the entries stand in the order of the events. `rejected` says which entries condemn
    their event; `success` which do not, where no rule of `rejected` says so.
    """

    path: str
    index: str = ""
    reason: str = ""
    rejected: tuple[Rule, ...] = ()
    success: tuple[Rule, ...] = ()

    def condemns(self, status: int, entry: Any) -> bool:
        """Say whether an entry condemns its event."""
        if any(rule.holds(status, entry) for rule in self.rejected):
            return True
        if self.success:
            return not any(rule.holds(status, entry) for rule in self.success)
        return bool(self.index) and not self.rejected


class Answers(Struct, frozen=True):
    """The rules of a kit, by what they mean."""

    rules: tuple[tuple[Means, tuple[Rule, ...]], ...] = ()
    events: EventAnswers | None = None

    def judge(self, status: int, after_seconds: float, body: bytes, count: int) -> list[Outcome]:
        """Return what an answer means for each of the `count` events of its request."""
        if not self.rules and self.events is None:
            return [outcome_of_status(status, after_seconds)] * count
        tree = _decode(body)
        whole = self._judge_whole(status, after_seconds, tree)
        outcomes = [whole] * count
        if self.events is not None and isinstance(whole, Delivered):
            _condemn(self.events, status, tree, outcomes)
        return outcomes

    def _judge_whole(self, status: int, after_seconds: float, tree: Any) -> Outcome:
        for means, rules in self.rules:
            for rule in rules:
                if rule.holds(status, tree):
                    return _outcome(means, _reason(status, tree, rule.path), after_seconds)
        is_success_told = any(means == "success" and rules for means, rules in self.rules)
        if is_success_told and 200 <= status < 300:
            paths = [rule.path for _, rules in self.rules for rule in rules if rule.path]
            return Rejected(_reason(status, tree, paths[0] if paths else ""))
        return outcome_of_status(status, after_seconds)


def _condemn(told: EventAnswers, status: int, tree: Any, outcomes: list[Outcome]) -> None:
    """Give the events that the answer condemns their outcome."""
    listed = find(tree, told.path)
    entries = cast("list[Any]", listed) if isinstance(listed, list) else []
    for number, entry in enumerate(entries):
        position = find(entry, told.index) if told.index else number
        if not isinstance(position, int) or not 0 <= position < len(outcomes):
            continue
        if told.condemns(status, entry):
            outcomes[position] = Rejected(_reason(status, entry, told.reason))


def _outcome(means: Means, reason: str, after_seconds: float) -> Outcome:
    if means == "success":
        return Delivered()
    if means == "retry":
        return Retry(reason, after_seconds)
    return Blocked(reason) if means == "blocked" else Rejected(reason)


def _reason(status: int, tree: Any, path: str) -> str:
    if not path:
        return f"HTTP {status}"
    value = msgspec.json.encode(find(tree, path)).decode()
    return f"HTTP {status}, {path} is {value}"[:REASON_MAX]


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def find(tree: Any, path: str) -> Any:
    """Return what stands at a dotted path (a number is a position in a list), or None."""
    value = tree
    for step in path.split("."):
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(step)
        elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 7:
            values = cast("list[Any]", value)
            value = values[int(step)] if int(step) < len(values) else None
        else:
            return None
    return value


def is_same(value: Any, other: Any) -> bool:
    """Say whether two JSON scalars are the same; `1` and `true` are not."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def read_answers(node: Node) -> Answers:
    """Read the rules, telling what is wrong with them."""
    fields = node.fields((*MEANINGS, "events"))
    rules: list[tuple[Means, tuple[Rule, ...]]] = [
        (means, _read_rules(fields[means])) for means in MEANINGS if means in fields
    ]
    events = _read_events(fields["events"]) if "events" in fields else None
    return Answers(tuple(rules), events)


def _read_rules(node: Node) -> tuple[Rule, ...]:
    entries = node.entries()
    if len(entries) > RULES_MAX:
        node.complain(f"has {len(entries)} rules; at most {RULES_MAX} are read")
    return tuple(_read_rule(entry) for entry in entries[:RULES_MAX])


def _read_rule(node: Node) -> Rule:
    if not isinstance(node.value, dict):
        return Rule((_read_status(node),))
    fields = node.fields(("status", "path", "equals", "in", "contains", "exists"))
    statuses = _read_statuses(fields["status"]) if "status" in fields else ()
    path = fields["path"].text() if "path" in fields else ""
    if not path and fields.keys() - {"status", "path"}:
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


def _read_events(node: Node) -> EventAnswers:
    fields = node.fields(("path", "index", "reason", "rejected", "success"), ("path",))
    texts = {k: fields[k].text() for k in ("path", "index", "reason") if k in fields}
    if "path" in fields and not fields.keys() & {"index", "rejected", "success"}:
        node.complain("says not which entries condemn their event; give `index` or `rejected`")
    return EventAnswers(
        texts.get("path", ""),
        texts.get("index", ""),
        texts.get("reason", ""),
        _read_rules(fields["rejected"]) if "rejected" in fields else (),
        _read_rules(fields["success"]) if "success" in fields else (),
    )


def conditions(answers: Answers) -> Sequence[str]:
    """Return a line for each kind of rule there is, for people."""
    lines = [f"{means}: {len(rules)} rules" for means, rules in answers.rules if rules]
    return [*lines, *(["single events: at " + answers.events.path] if answers.events else [])]
