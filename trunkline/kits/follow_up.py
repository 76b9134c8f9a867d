"""What a vendor says later of the events that it took, as a kit writes it down and reads it.

Some vendors answer "received" with an id, and only much later what became of the events. Until then
nothing is delivered: the events wait and are asked after (`kits/following.py`). The answers to that
have rules of their own, in this order: what parks, what is not known yet, what is to be sent again,
what nobody can know, what is condemned, what is done. Where none holds it is not known yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from trunkline.kit.destination import Response
from trunkline.kits.answers import EventAnswers, Rule, decode, reason_of
from trunkline.kits.answers_spec import read_events, read_rules
from trunkline.kits.params import fill_params
from trunkline.kits.request_spec import RequestSpec, read_request
from trunkline.kits.spans import SPAN_EXPECTED, span_ms
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry, outcome_of_status
from trunkline.playbook.nodes import Node
from trunkline.playbook.reading import MARK

Later = Literal["blocked", "pending", "retry", "unverified", "rejected", "success"]
LATER: tuple[Later, ...] = ("blocked", "pending", "retry", "unverified", "rejected", "success")
# Of several entries for one event the first of these counts: what is open, then what is lost.
_WORST: tuple[Later, ...] = ("pending", "retry", "rejected", "unverified", "success")
_OF_EVENTS = LATER[1:]
_SPANS = ("after", "every", "giveUp")
_FIELDS = ("request", *_SPANS, "unless", "answers")
_AUTHS = ("basicAuth", "oauth1Auth", "oauth2Auth", "providerAuth")
_WEEK_MS = 604_800_000

Rules = tuple[tuple[Later, tuple[Rule, ...]], ...]


class FollowUp(Struct, frozen=True):
    """When a vendor is asked after events that it took, and what its answer means.

    `after`, `every` and `give_up` are spans, or the params that say them; all count from the answer
    that took the events. `unless` is a text of params: `true` asks nothing, and takes the first
    answer for the last.
    """

    request: RequestSpec
    after: str
    every: str
    give_up: str
    unless: str = ""
    rules: Rules = ()
    events: EventAnswers | None = None
    event_rules: Rules = ()

    def judge(self, response: Response, names: Sequence[Any]) -> list[Outcome]:
        """Return what an answer says of the events of a request, which it names as `names`."""
        status, tree = response.status, decode(response.body)
        found = _meaning(self.rules, status, tree)
        if found is None:
            whole = outcome_of_status(status)
            is_blocked = isinstance(whole, Blocked) and status in (401, 403)
            found = ("blocked" if is_blocked else "pending"), reason_of(status, tree, "")
        outcomes = [_outcome(*found)] * len(names)
        if self.events is not None and found[0] != "blocked":
            self._judge_events(self.events, status, tree, names, outcomes)
        return outcomes

    def _judge_events(
        self,
        events: EventAnswers,
        status: int,
        tree: Any,
        names: Sequence[Any],
        outcomes: list[Outcome],
    ) -> None:
        """Give each event what its entries say; of several the one that asks for most."""
        ranks: dict[int, int] = {}
        for named in events.named(tree, names):
            found = _meaning(self.event_rules, status, named.entry)
            if found is None:
                continue
            rank = _WORST.index(found[0])
            if rank < ranks.get(named.position, len(_WORST)):
                ranks[named.position] = rank
                outcomes[named.position] = _outcome(found[0], events.reason_of(status, named))


class FilledFollowUp(Struct, frozen=True):
    """A follow-up with its params filled in; times in milliseconds since the events were taken."""

    spec: FollowUp
    after_ms: int
    every_ms: int
    give_up_ms: int


def _meaning(rules: Rules, status: int, tree: Any) -> tuple[Later, str] | None:
    """Return what an answer, or an entry of it, means by the first rule that holds, and why."""
    for means, told in rules:
        for rule in told:
            if rule.holds(status, tree):
                return means, reason_of(status, tree, rule.path)
    return None


def _outcome(means: Later, reason: str) -> Outcome:
    if means in ("success", "unverified"):
        return Delivered(means == "success")
    if means == "rejected":
        return Rejected(reason, is_sure=True)
    return Blocked(reason) if means == "blocked" else Retry(reason, was_taken=means == "pending")


def read_follow_up(node: Node, default: RequestSpec) -> FollowUp:
    """Read a follow-up, telling what is wrong with it. It signs in as `default` where it does not.

    A place `{{a.b}}` of its endpoint holds a value of the answer that took the events.
    """
    fields = node.fields(_FIELDS, ("request", *_SPANS, "answers"))
    spec = RequestSpec("followUp", "")
    if "request" in fields:
        spec = read_request(fields["request"], "followUp")
        given = fields["request"].value
        if spec.method != "GET" or spec.body is not None or spec.transform is not None:
            fields["request"].complain("must be a GET without `body` and `transform`")
        if isinstance(given, dict) and not any(name in given for name in _AUTHS):
            spec = msgspec.structs.replace(spec, auth=default.auth)
    for name in (name for name in _SPANS if name in fields):
        text = fields[name].scalar_text()
        if not MARK.fullmatch(text) and span_ms(text) is None:
            fields[name].complain(f"is {text[:40]!r}; expected {SPAN_EXPECTED}")
    texts = {k: fields[k].scalar_text() for k in (*_SPANS, "unless") if k in fields}
    rules, events, event_rules = _read_later(fields["answers"]) if "answers" in fields else _NONE
    return FollowUp(
        spec,
        texts.get("after", ""),
        texts.get("every", ""),
        texts.get("giveUp", ""),
        texts.get("unless", ""),
        rules,
        events,
        event_rules,
    )


_NONE: tuple[Rules, EventAnswers | None, Rules] = ((), None, ())


def _read_later(node: Node) -> tuple[Rules, EventAnswers | None, Rules]:
    fields = node.fields((*LATER, "events"))
    rules = _read_means(fields, LATER)
    if "events" not in fields:
        if not any(means == "success" for means, _ in rules):
            node.complain("success is missing; say by which answer events are delivered")
        return rules, None, ()
    events = read_events(fields["events"], _OF_EVENTS)
    if not isinstance(fields["events"].value, dict):
        return rules, None, ()
    own = {k: v for k, v in fields["events"].named().items() if k in _OF_EVENTS}
    if "success" not in own:
        fields["events"].complain("success is missing; say by which entry an event is delivered")
    return rules, events, _read_means(own, _OF_EVENTS)


def _read_means(fields: Mapping[str, Node], every: Sequence[Later]) -> Rules:
    found: list[tuple[Later, tuple[Rule, ...]]] = [
        (means, read_rules(fields[means])) for means in every if means in fields
    ]
    for means, rules in found:
        if any(rule.times for rule in rules):
            fields[means].complain("has a rule with `times`; `giveUp` bounds how long is asked")
    return tuple(found)


def fill_follow_up(
    spec: FollowUp, request: RequestSpec, values: Mapping[str, str]
) -> FilledFollowUp | None:
    """Fill the params in; None where `unless` says that nothing is asked.

    `request` is the one of the spec, filled. Raises `ValueError` with a sentence that shows no
    value.
    """
    if fill_params(spec.unless, values).strip().lower() == "true":
        return None
    after, every, give_up = (_fill_span(t, values) for t in (spec.after, spec.every, spec.give_up))
    every = max(every, 1000)
    if give_up < after or give_up > _WEEK_MS:
        raise ValueError(
            "followUp: giveUp must not come before `after`, and be at most 7d; correct the params "
            "that say them"
        )
    return FilledFollowUp(
        msgspec.structs.replace(spec, request=request), max(after, 1000), every, give_up
    )


def _fill_span(text: str, values: Mapping[str, str]) -> int:
    found = span_ms(fill_params(text, values).strip())
    if found is None:
        raise ValueError(f"params: {text.strip('$')} must be {SPAN_EXPECTED}; correct its value")
    return found
