"""How the answers of a vendor are read: rules of a kit, over the status and the body.

Without rules the table of the delivery contract decides by the status alone. Many vendors answer
200 and mean something else, so a kit may say what is a success, what condemns the event, what the
credentials, and what means "later"; and where a batch's answer says it of single events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import msgspec
from msgspec import UNSET, Struct

from trunkline.kit.destination import Response
from trunkline.kits.mentions import Mentions
from trunkline.model.outcome import (
    Blocked,
    Delivered,
    Outcome,
    Rejected,
    Retry,
    outcome_of_status,
)

RULES_MAX = 50
TIMES_MAX = 100
REASON_MAX = 300
OUTCOME_UNKNOWN = "outcome_unknown"  # begins the reason of a dead letter that the vendor may have
GIVE_UP = "give_up"
UNKNOWN = ("retry", GIVE_UP)
FEWER = ("retry", "unknown")
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


class Rule(Struct, frozen=True):
    """One rule: what it names must all hold. Statuses as text: `200`, `4xx`; none of them: any.

    `times` is how often an event is sent again for it, 0 for no limit.
    """

    statuses: tuple[str, ...] = ()
    path: str = ""
    equals: Any = UNSET
    among: tuple[Any, ...] = ()
    contains: str = ""
    exists: bool | None = None
    times: int = 0

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


class Count(Struct, frozen=True):
    """Where an answer says how many events it took, and what it means where they are fewer.

    `retry`: all are sent again, `times` times at most (0: no limit); `unknown`: as a lost answer.
    """

    path: str
    fewer: Literal["retry", "unknown"]
    times: int = 0


# Asked of an event, by its position, that is to be sent again for a rule with `times`: False where
# that was done as often as the rule allows.
Spend = Callable[[int, Rule | Count], bool]


def always(position: int, rule: Rule | Count) -> bool:
    """Let every event go again."""
    del position, rule
    return True


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
    with `key` it names there what stands at `of` in its events (or in a list there). Without, the
    entries stand in the order of the events. With `has_indexes` the entries are the
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
    key: str = ""
    of: str = ""

    @property
    def has_names(self) -> bool:
        """Say whether the entries name their events, and so tell of faults alone."""
        return bool(self.index or self.key) or self.has_indexes

    def names(self, batch: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return what each event of a request is named by in the answer."""
        return [find(value, self.of) for value in batch] if self.of else [None] * len(batch)

    def judge(self, status: int, named: Named, spend: Spend) -> Outcome | None:
        """Return what an entry means for its event; None where it tells of no fault."""
        asking = next((rule for rule in self.retry if rule.holds(status, named.entry)), None)
        if asking is not None:
            return again(Retry(self.reason_of(status, named)), asking, named.position, spend)
        if not self._condemns(status, named.entry):
            return None
        return Rejected(self.reason_of(status, named), is_sure=True)

    def _condemns(self, status: int, entry: Any) -> bool:
        if any(rule.holds(status, entry) for rule in self.rejected):
            return True
        if self.success:
            return not any(rule.holds(status, entry) for rule in self.success)
        return self.has_names and not self.rejected

    def reason_of(self, status: int, named: Named) -> str:
        """Return why, as an entry tells it."""
        if self.has_indexes:
            return f"HTTP {status}, {named.what}"[:REASON_MAX]
        return reason_of(status, named.entry, self.reason)

    def named(self, tree: Any, names: Sequence[Any]) -> Iterator[Named]:
        """Yield the entries that tell of an event, with its position; `names` as of `names`."""
        for path in self.paths:
            listed = find(tree, path)
            found = _indexes(listed, path) if self.has_indexes else self._listed(listed, path)
            if self.key:
                found = _by_name(found, self.key, names)
            yield from (named for named in found if 0 <= named.position < len(names))

    def _listed(self, listed: Any, path: str) -> Iterator[Named]:
        entries = cast("list[Any]", listed) if isinstance(listed, list) else []
        for number, entry in enumerate(entries):
            position = find(entry, self.index) if self.index else number
            if isinstance(position, int):
                yield Named(position, entry, path)


def _by_name(found: Iterator[Named], key: str, names: Sequence[Any]) -> Iterator[Named]:
    """Yield the entries once for each event that they name."""
    positions: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        for one in cast("list[Any]", name) if isinstance(name, list) else [name]:
            if one is not None:
                positions.setdefault(str(one), []).append(position)
    for named in found:
        for position in positions.get(str(find(named.entry, key)), ()):
            yield named._replace(position=position)


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
    is not sent again. `reason` is where the answer says why. `otherwise` is asked last, and asks
    for the events again. `mentions` is where a refusal names events in its sentences.
    """

    rules: tuple[tuple[Means, tuple[Rule, ...]], ...] = ()
    events: EventAnswers | None = None
    is_unverified: bool = False
    gives_up_unknown: bool = False
    after: After | None = None
    reason: str = ""
    count: Count | None = None
    otherwise: Rule | None = None
    mentions: Mentions | None = None

    @property
    def is_plain(self) -> bool:
        """Say whether the bare status decides."""
        told = self.rules or self.events or self.is_unverified or self.after or self.reason
        return not (told or self.count or self.otherwise or self.mentions)

    def judge(
        self,
        response: Response,
        batch: Sequence[Mapping[str, Any]],
        now_ms: int,
        spend: Spend = always,
    ) -> list[Outcome]:
        """Return what an answer means for each event of its request, of which `batch` was made."""
        if self.is_plain:
            return [outcome_of_status(response.status, response.after_seconds)] * len(batch)
        after = self.after.seconds(response, now_ms) if self.after else response.after_seconds
        tree = decode(response.body)
        whole, rule = self._judge_whole(response.status, after, tree)
        if rule is not None and rule.times and isinstance(whole, Retry):
            return [again(whole, rule, position, spend) for position in range(len(batch))]
        outcomes = [whole] * len(batch)
        if self.events is not None and isinstance(whole, Delivered | Rejected):
            names = self.events.names(batch)
            _judge_events(self.events, response.status, tree, names, outcomes, spend)
        if self.mentions is not None and all(one is whole for one in outcomes):
            _judge_mentioned(self.mentions, tree, whole, outcomes)
        if self.count is not None and isinstance(whole, Delivered):
            self._judge_count(self.count, response.status, tree, outcomes, spend)
        return outcomes

    def _judge_count(
        self, count: Count, status: int, tree: Any, outcomes: list[Outcome], spend: Spend
    ) -> None:
        """Call nothing delivered where the vendor took fewer events than it was sent."""
        told = find(tree, count.path)
        places = [p for p, outcome in enumerate(outcomes) if isinstance(outcome, Delivered)]
        if isinstance(told, bool) or not isinstance(told, int) or told >= len(places):
            return
        reason = f"HTTP {status}, {count.path} is {told}, and {len(places)} events were sent"
        for place in places:
            if count.fewer == "unknown" and self.gives_up_unknown:
                outcomes[place] = Rejected(f"{OUTCOME_UNKNOWN}: {reason}", is_sure=True)
            else:
                outcomes[place] = again(Retry(reason), count, place, spend)

    def _judge_whole(
        self, status: int, after_seconds: float, tree: Any
    ) -> tuple[Outcome, Rule | None]:
        """Return what an answer means for the whole request, and the rule that says so."""
        for means, rules in self.rules:
            for rule in rules:
                if rule.holds(status, tree):
                    reason = self._reason(status, tree, rule.path)
                    return self._outcome(means, reason, after_seconds), rule
        if self.otherwise is not None and self.otherwise.holds(status, tree):
            reason = self._reason(status, tree, self.otherwise.path)
            return Retry(reason, after_seconds), self.otherwise
        is_success_told = any(means == "success" and rules for means, rules in self.rules)
        if is_success_told and 200 <= status < 300:
            paths = [rule.path for _, rules in self.rules for rule in rules if rule.path]
            return Rejected(self._reason(status, tree, paths[0] if paths else "")), None
        plain = outcome_of_status(status, after_seconds)
        reason = self._reason(status, tree, "")
        return self._outcome(_MEANS[type(plain)], reason, after_seconds), None

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


def _judge_mentioned(
    mentions: Mentions, tree: Any, whole: Outcome, outcomes: list[Outcome]
) -> None:
    """Condemn the events that a refusal of the whole request names; the others go again."""
    named = (
        {*mentions.positions(tree, len(outcomes))} if isinstance(whole, Rejected) else set[int]()
    )
    if named:
        assert isinstance(whole, Rejected)
        outcomes[:] = [Retry(f"{whole.reason}{_WITHOUT}"[:REASON_MAX])] * len(outcomes)
        for position in named:
            outcomes[position] = Rejected(whole.reason, is_sure=True)


def again(outcome: Retry, rule: Rule | Count, position: int, spend: Spend) -> Outcome:
    """Return what becomes of an event that is to be sent again: a dead letter in the end."""
    if not rule.times or spend(position, rule):
        return outcome
    reason = f"{outcome.reason}; sent again {rule.times} times, which is all that the kit allows"
    return Rejected(reason[:REASON_MAX], is_sure=True)


def _judge_events(
    told: EventAnswers,
    status: int,
    tree: Any,
    names: Sequence[Any],
    outcomes: list[Outcome],
    spend: Spend,
) -> None:
    """Give the events that the answer names their outcome.

    Where the whole was rejected and names some, nothing was stored: the others are sent again.
    """
    found: dict[int, Outcome] = {}
    for named in told.named(tree, names):
        if outcome := told.judge(status, named, spend):
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


def decode(body: bytes) -> Any:
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


def conditions(answers: Answers) -> Sequence[str]:
    """Return a line for each kind of rule there is, for people."""
    lines = [f"{means}: {len(rules)} rules" for means, rules in answers.rules if rules]
    if answers.count is not None:
        lines.append(f"how many it took: at {answers.count.path}")
    if answers.events is not None:
        lines.append("single events: at " + ", ".join(answers.events.paths))
    if answers.is_unverified:
        lines.append("a success proves nothing: delivered events are shown as unverified")
    if answers.gives_up_unknown:
        lines.append("a lost answer: the events are given up, for the vendor may have them")
    return lines
