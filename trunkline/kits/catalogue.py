"""What a person wants to know of a kit before choosing it, told from the kit itself.

The pages of the reference and `kits show` are both written from these facts, so neither can say
what a kit does not do. Facts are read from the tree that the catalog keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.kits.kit import Kit, kit_json
from trunkline.playbook.names import event_key
from trunkline.playbook.spec import Playbook, Section

Tree = Mapping[str, Any]
CATEGORIES = (
    "advertising", "analytics", "crm", "attribution", "push", "messaging", "routing",
)  # fmt: skip
OTHER = "other"
ANY_2XX = "Any status of 2xx."
_MEANS = {
    "blocked": "parks the destination",
    "retry": "is sent again later",
    "rejected": "gives the events up",
}


class EventFact(Struct, frozen=True):
    """One event of a kit: the name it comes by, its constants, the keys that it alone is sent.

    `is_sent` is False where its section drops every event.
    """

    name: str
    constants: Mapping[str, Any]
    keys: tuple[str, ...]
    is_sent: bool = True


class RuleFact(Struct, frozen=True):
    """One rule of the vendor's contract: what breaks it, what then happens, where it stands."""

    rule: str
    then: str
    say: str
    page: str


class ExampleFact(Struct, frozen=True):
    """A fixture's first events, and the first request that they make; its body may be a form."""

    events: Sequence[Any]
    request: Tree
    is_form: bool = False


class Facts(Struct, frozen=True):
    """A kit's page. Texts are sentences; what is not known is empty."""

    name: str
    title: str
    version: str
    category: str
    description: str
    docs: str
    as_of: str
    sources: Sequence[str]
    deduplicates: str
    notes: Sequence[str]
    keys: Sequence[str]  # of every event
    events: Sequence[EventFact]
    others: str
    limits: Sequence[str]
    rules: Sequence[RuleFact]
    answers: Sequence[str]
    test: str
    example: ExampleFact | None


def facts_of(kit: Kit) -> Facts:
    """Return the facts of a kit."""
    tree = msgspec.json.decode(kit_json(kit), type=dict[str, Any])
    metadata = _object(tree.get("metadata"))
    connection = _object(tree.get("connection"))
    return Facts(
        name=kit.name,
        title=kit.title,
        version=kit.version,
        category=category_of(kit),
        description=_text(metadata, "description"),
        docs=_text(metadata, "docs"),
        as_of=_text(metadata, "asOf"),
        sources=[str(one) for one in _list(metadata.get("sources"))],
        deduplicates=_text(metadata, "deduplicates"),
        notes=[str(one) for one in _list(metadata.get("notes"))],
        keys=_keys_of(kit.book.every),
        events=event_facts(kit.book),
        others=_others(kit.book),
        limits=_limits(_object(connection.get("default"))),
        rules=[_rule(_object(one)) for one in _list(tree.get("contract"))],
        answers=[
            *_answers(_object(connection.get("answers")), is_taken="followUp" in connection),
            *_follow_up(_object(connection.get("followUp"))),
        ],
        test=_test(_object(tree.get("test"))),
        example=_example(
            _list(tree.get("fixtures")),
            is_form=any(one.encoding == "form" for one in kit.way.requests()),
        ),
    )


def category_of(kit: Kit) -> str:
    """Return a kit's category; `other` where it names none."""
    category = kit.metadata.get("category")
    return category if isinstance(category, str) and category in CATEGORIES else OTHER


def sends_event(kit: Kit, name: str) -> bool:
    """Say whether a kit has a section for an event; names compare as those of playbooks do."""
    return event_key(name) in {event_key(one) for one in kit.book.event_specific}


def speaks_of(kit: Kit, text: str) -> bool:
    """Say whether a text stands in a kit's name, title, description, category or events."""
    told = (kit.name, kit.title, str(kit.metadata.get("description") or ""), category_of(kit))
    wanted = text.casefold()
    return any(wanted in one.casefold() for one in (*told, *kit.book.event_specific))


# ── events ──


def event_facts(book: Playbook) -> list[EventFact]:
    """Return a fact for each event that has a section of its own, by name."""
    found = sorted(book.event_specific.items(), key=lambda pair: pair[0].casefold())
    return [_event(name, section) for name, section in found]


def _event(name: str, section: Section) -> EventFact:
    constants: dict[str, Any] = {}
    keys: set[str] = set()
    for one in section.enrichments:
        value = _first(one.static_string, one.static_int, one.static_float, one.static_bool)
        if value is not None and "$$" not in str(value):
            constants[one.output_key] = value
        else:
            keys.add(one.output_key)
    keys.update(one.output_key or "(all)" for one in section.mappings)
    keys.update(f"{one.input_key}.*" for one in section.spreadings)
    return EventFact(name, constants, tuple(sorted(keys)), not _drops_all(section))


def _keys_of(section: Section) -> tuple[str, ...]:
    found = _event("", section)
    return tuple(sorted({*found.keys, *found.constants}))


def _others(book: Playbook) -> str:
    """Say what becomes of events without a section of their own."""
    if _drops_all(book.default):
        return "Every other event is left out."
    keys = ", ".join(f"`{key}`" for key in _keys_of(book.default))
    return f"Every other event is sent too{f', with {keys}' if keys else ''}."


def _drops_all(section: Section) -> bool:
    """Say whether a section allows the empty name alone, which no event has."""
    return any(
        one.by_event_names is not None
        and one.by_event_names.action == "allow"
        and not any(one.by_event_names.events)
        for one in section.filters
    )


# ── limits, answers, test ──


def _limits(default: Tree) -> list[str]:
    batch = default.get("batchSize") or 1
    told = ["One event a request." if batch == 1 else f"At most {batch:,} events a request."]
    if bytes_max := default.get("bytesMax"):
        told.append(f"At most {bytes_max:,} bytes of events a request.")
    if groups := _list(default.get("groupBy")):
        told.append(
            f"A request carries events that share {', '.join(f'`{one}`' for one in groups)}."
        )
    if rate := default.get("requestsPerSecond"):
        told.append(
            f"At most {rate:g} requests a second; `requests_per_second_max` of a destination "
            "says another number."
        )
    return told


def _rule(tree: Tree) -> RuleFact:
    then = "clamp" if "clamp" in tree else str(tree.get("then") or "")
    pairs = _object(tree.get("forParams")).items()
    values = [f"{name} {' or '.join(map(str, _list(wanted)))}" for name, wanted in pairs]
    place = f"With {' and '.join(values)}: " if values else ""
    say = (place + _text(tree, "say")).strip()
    return RuleFact(str(tree.get("rule")), then, say, _text(tree, "page"))


def _answers(tree: Tree, *, is_taken: bool) -> list[str]:
    """Return what counts as success, or as taken, and what other answers mean, in words."""
    success = [_condition(one) for one in _list(tree.get("success"))]
    word = "Taken" if is_taken else "Delivered"
    told = [f"{word}: {' or '.join(success)}." if success else f"{word}: {ANY_2XX.lower()}"]
    for means, then in _MEANS.items():
        rules = [_condition(one) for one in _list(tree.get(means))]
        if rules:
            told.append(f"{' or '.join(rules)} {then}.")
    if otherwise := _object(tree.get("otherwise")):
        told.append(f"Any other {_condition(otherwise)} is sent again.")
    if count := _object(tree.get("count")):
        then = "judged as a lost answer" if count.get("fewer") == "unknown" else "sent again"
        told.append(
            f"Where `{count.get('path')}` is fewer than were sent, the events are {then}"
            f"{_times(count)}."
        )
    if _object(tree.get("events")):
        told.append("The answer tells of single events: those it names are judged by themselves.")
    if tree.get("unverified"):
        told.append("A 2xx of this vendor proves nothing: such events are shown as unverified.")
    lost = "given up" if tree.get("unknown") == "give_up" else "sent again"
    told.append(
        f"Where the answer was lost, the events are {lost}; `unknown_outcome` of a destination "
        "says otherwise."
    )
    return told


def _follow_up(tree: Tree) -> list[str]:
    """Return how a vendor is asked what became of events, in words."""
    if not tree:
        return []
    after, every, give_up = (f"`{tree.get(name)}`" for name in ("after", "every", "giveUp"))
    return [
        "That it took the events is not the end of them: they wait until the vendor tells what "
        f"became of them. It is asked {after} later, then every {every}, and no more after "
        f"{give_up}. After a restart what waited is sent again."
    ]


def _times(rule: Tree) -> str:
    times = rule.get("times")
    if not times:
        return ""
    return " (once at most)" if times == 1 else f" ({times} times at most)"


def _condition(rule: Any) -> str:
    if not isinstance(rule, dict):
        return f"status {rule}"
    tree = cast("dict[str, Any]", rule)
    parts = [f"status {' or '.join(map(str, _list(tree['status'])))}"] if "status" in tree else []
    if path := tree.get("path"):
        parts.append(f"`{path}` {_compared(tree)}")
    return " with ".join(parts) + _times(tree)


def _compared(tree: Tree) -> str:
    if "equals" in tree:
        return f"is {_json(tree['equals'])}"
    if "in" in tree:
        return f"is one of {', '.join(map(_json, _list(tree['in'])))}"
    if "contains" in tree:
        return f"holds {_json(tree['contains'])}"
    return "is there" if tree.get("exists", True) else "is missing"


def _test(tree: Tree) -> str:
    if not tree:
        return "It has none; send one event with `trunkline destination send`."
    return _text(tree, "none") or _text(tree, "proves")


def _example(fixtures: Sequence[Any], *, is_form: bool) -> ExampleFact | None:
    for fixture in map(_object, fixtures):
        requests = _list(fixture.get("requests"))
        if requests:
            return ExampleFact(_list(fixture.get("events")), _object(requests[0]), is_form)
    return None


# ── reading trees ──


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _text(tree: Tree, key: str) -> str:
    value = tree.get(key)
    return value.strip() if isinstance(value, str) else ""


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
