"""How the answers of a vendor are read: rules of a kit, over the status and the body.

Without rules the table of the delivery contract decides by the status alone. Many vendors answer
200 and mean something else, so a kit may say what is a success, what condemns the event, what the
credentials, and what means "later"; and where a batch's answer says it of single events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, cast

import msgspec
from msgspec import UNSET, Struct

from trunkline.kit.destination import Response
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
GIVE_UP = "give_up"
UNKNOWN = ("retry", GIVE_UP)
Means = Literal["blocked", "retry", "rejected", "success"]
MEANINGS: tuple[Means, ...] = ("blocked", "retry", "rejected", "success")  # the order of asking
AFTER_SECONDS_MAX = 86_400.0
WHOLE_TEXT = "$text"
_WITHOUT = "; sent again without the events that were named"
_MEANS: dict[type, Means] = {
    Delivered: "success",
    Retry: "retry",
    Blocked: "blocked",
    Rejected: "rejected",
}
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
        """Say whether an answer is what the rule describes. `body` is decoded JSON, or text."""
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


class After(Struct, frozen=True):
    """The header in which a vendor says when it takes events again, and what stands there."""

    header: str
    is_epoch: bool

    def seconds(self, response: Response, now_ms: int) -> float:
        """Return for how long to wait; what `Retry-After` says where the header does not."""
        try:
            value = float(response.headers.get(self.header, ""))
        except ValueError:
            return response.after_seconds
        wait = value - now_ms / 1000 if self.is_epoch else value
        return min(wait, AFTER_SECONDS_MAX) if wait > 0 else response.after_seconds


class Named(NamedTuple):
    """An entry of an answer that tells of one event, by its position in the request."""

    position: int
    entry: Any
    what: str


class EventAnswers(Struct, frozen=True):
    """Where a batch's answer tells of single events: lists at `paths`.

    With `index` each entry names there the position of its event, from 0, and tells of a fault;
    without, the entries stand in the order of the events. With `has_indexes` the entries are the
    positions themselves, or lists of them by the field at fault. `retry` says which entries ask for
    their event again, `rejected` which condemn it; `success` which do not, where no rule of
    `rejected` says so.
    """

    paths: tuple[str, ...]
    index: str = ""
    reason: str = ""
    rejected: tuple[Rule, ...] = ()
    success: tuple[Rule, ...] = ()
    retry: tuple[Rule, ...] = ()
    has_indexes: bool = False

    def judge(self, status: int, named: Named) -> Outcome | None:
        """Return what an entry means for its event; None where it tells of no fault."""
        if any(rule.holds(status, named.entry) for rule in self.retry):
            return Retry(self._reason(status, named))
        if not self._condemns(status, named.entry):
            return None
        return Rejected(self._reason(status, named), is_sure=True)

    def _condemns(self, status: int, entry: Any) -> bool:
        if any(rule.holds(status, entry) for rule in self.rejected):
            return True
        if self.success:
            return not any(rule.holds(status, entry) for rule in self.success)
        return (bool(self.index) or self.has_indexes) and not self.rejected

    def _reason(self, status: int, named: Named) -> str:
        if self.has_indexes:
            return f"HTTP {status}, {named.what}"[:REASON_MAX]
        return reason_of(status, named.entry, self.reason)

    def named(self, tree: Any) -> Iterator[Named]:
        """Yield the entries that tell of an event, with its position as it is told."""
        for path in self.paths:
            listed = find(tree, path)
            if self.has_indexes:
                yield from _indexes(listed, path)
            elif isinstance(listed, list):
                for number, entry in enumerate(cast("list[Any]", listed)):
                    position = find(entry, self.index) if self.index else number
                    if isinstance(position, int):
                        yield Named(position, entry, path)


def _indexes(listed: Any, path: str) -> Iterator[Named]:
    if isinstance(listed, dict):
        for key, below in cast("dict[str, Any]", listed).items():
            yield from _indexes(below, f"{path}.{key}")
    elif isinstance(listed, list):
        for position in cast("list[Any]", listed):
            if isinstance(position, int) and not isinstance(position, bool):
                yield Named(position, position, path)


class Answers(Struct, frozen=True):
    """The rules of a kit, by what they mean.

    `is_unverified`: a success proves nothing. `gives_up_unknown`: an event whose answer was lost
    is not sent again. `reason` is where the answer says why.
    """

    rules: tuple[tuple[Means, tuple[Rule, ...]], ...] = ()
    events: EventAnswers | None = None
    is_unverified: bool = False
    gives_up_unknown: bool = False
    after: After | None = None
    reason: str = ""

    @property
    def is_plain(self) -> bool:
        """Say whether the bare status decides."""
        told = self.rules or self.events or self.is_unverified or self.after or self.reason
        return not told

    def judge(self, response: Response, count: int, now_ms: int) -> list[Outcome]:
        """Return what an answer means for each of the `count` events of its request."""
        if self.is_plain:
            return [outcome_of_status(response.status, response.after_seconds)] * count
        after = self.after.seconds(response, now_ms) if self.after else response.after_seconds
        tree = _decode(response.body)
        whole = self._judge_whole(response.status, after, tree)
        outcomes = [whole] * count
        if self.events is not None and isinstance(whole, Delivered | Rejected):
            _judge_events(self.events, response.status, tree, outcomes)
        return outcomes

    def _judge_whole(self, status: int, after_seconds: float, tree: Any) -> Outcome:
        for means, rules in self.rules:
            for rule in rules:
                if rule.holds(status, tree):
                    return self._outcome(
                        means, self._reason(status, tree, rule.path), after_seconds
                    )
        is_success_told = any(means == "success" and rules for means, rules in self.rules)
        if is_success_told and 200 <= status < 300:
            paths = [rule.path for _, rules in self.rules for rule in rules if rule.path]
            return Rejected(self._reason(status, tree, paths[0] if paths else ""))
        plain = outcome_of_status(status, after_seconds)
        return self._outcome(_MEANS[type(plain)], self._reason(status, tree, ""), after_seconds)

    def _outcome(self, means: Means, reason: str, after_seconds: float) -> Outcome:
        if means == "success":
            return Delivered(not self.is_unverified)
        if means == "retry":
            return Retry(reason, after_seconds)
        return Blocked(reason) if means == "blocked" else Rejected(reason)

    def _reason(self, status: int, tree: Any, path: str) -> str:
        told = find(tree, self.reason) if self.reason else None
        if told in (None, "", [], {}):
            return reason_of(status, tree, path)
        text = told if isinstance(told, str) else msgspec.json.encode(told).decode()
        return f"HTTP {status}: {text}"[:REASON_MAX]


def _judge_events(told: EventAnswers, status: int, tree: Any, outcomes: list[Outcome]) -> None:
    """Give the events that the answer names their outcome.

    Where the whole was rejected and names some, nothing was stored: the others are sent again.
    """
    found: dict[int, Outcome] = {}
    for named in told.named(tree):
        if 0 <= named.position < len(outcomes) and (outcome := told.judge(status, named)):
            found[named.position] = outcome
    if found and isinstance(outcomes[0], Rejected):
        outcomes[:] = [Retry(f"{outcomes[0].reason}{_WITHOUT}"[:REASON_MAX])] * len(outcomes)
    for position, outcome in found.items():
        outcomes[position] = outcome


def reason_of(status: int, tree: Any, path: str) -> str:
    """Return a status and what stands at a path of the answer, as a reason."""
    if not path:
        return f"HTTP {status}"
    value = msgspec.json.encode(find(tree, path)).decode()
    return f"HTTP {status}, {path} is {value}"[:REASON_MAX]


def _decode(body: bytes) -> Any:
    """Return the body's JSON, or its text where it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace")


def find(tree: Any, path: str) -> Any:
    """Return what stands at a dotted path (a number is a position in a list), or None.

    `$text` is a tree that is a text, as a body that is no JSON is.
    """
    if path == WHOLE_TEXT:
        return tree if isinstance(tree, str) else None
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
    fields = node.fields((*MEANINGS, "events", "unverified", "unknown", "after", "reason"))
    rules: list[tuple[Means, tuple[Rule, ...]]] = [
        (means, _read_rules(fields[means])) for means in MEANINGS if means in fields
    ]
    return Answers(
        tuple(rules),
        _read_events(fields["events"]) if "events" in fields else None,
        fields["unverified"].flag() if "unverified" in fields else False,
        "unknown" in fields and fields["unknown"].choice(UNKNOWN) == GIVE_UP,
        _read_after(fields["after"]) if "after" in fields else None,
        fields["reason"].text() if "reason" in fields else "",
    )


def _read_after(node: Node) -> After:
    fields = node.fields(("header", "is"), ("header", "is"))
    header = fields["header"].text().lower() if "header" in fields else ""
    unit = fields["is"].choice(("seconds", "epoch_seconds")) if "is" in fields else ""
    return After(header, unit == "epoch_seconds")


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
    known = ("path", "paths", "index", "indexes", "reason", "rejected", "success", "retry")
    fields = node.fields(known)
    paths = [fields["path"]] if "path" in fields else []
    paths += fields["paths"].entries() if "paths" in fields else []
    if not paths and isinstance(node.value, dict):
        node.complain("path is missing; say where the answer lists events")
    has_indexes = fields["indexes"].flag() if "indexes" in fields else False
    if has_indexes and "index" in fields:
        fields["index"].complain("stands beside `indexes`; the entries are the positions")
    if paths and not (has_indexes or fields.keys() & {"index", "rejected", "success", "retry"}):
        node.complain("says not which entries condemn their event; give `index` or `rejected`")
    texts = {k: fields[k].text() for k in ("index", "reason") if k in fields}
    rules = {k: _read_rules(fields[k]) for k in ("rejected", "success", "retry") if k in fields}
    return EventAnswers(
        tuple(path.text() for path in paths),
        texts.get("index", ""),
        texts.get("reason", ""),
        rules.get("rejected", ()),
        rules.get("success", ()),
        rules.get("retry", ()),
        has_indexes,
    )


def conditions(answers: Answers) -> Sequence[str]:
    """Return a line for each kind of rule there is, for people."""
    lines = [f"{means}: {len(rules)} rules" for means, rules in answers.rules if rules]
    if answers.events is not None:
        lines.append("single events: at " + ", ".join(answers.events.paths))
    if answers.is_unverified:
        lines.append("a success proves nothing: delivered events are shown as unverified")
    if answers.gives_up_unknown:
        lines.append("a lost answer: the events are given up, for the vendor may have them")
    return lines
