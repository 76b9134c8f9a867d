"""The reference pages of kits, as Markdown: one for each kit, and the list of them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode

import msgspec

from trunkline.kits.catalogue import CATEGORIES, OTHER, EventFact, ExampleFact, Facts, facts_of
from trunkline.kits.kit import Kit
from trunkline.kits.params import Param, choices_text

FORM = "application/x-www-form-urlencoded"
_HEADINGS = {"crm": "CRM"}
_THEN = {
    "reject": "dead letter",
    "drop": "the event is left out",
    "cut": "cut",
    "leave_out": "the key is left out",
    "clamp": "set to now",
}


def describe_kit(kit: Kit) -> str:
    """Return the page of a kit."""
    return "\n\n".join(_parts(kit, facts_of(kit))) + "\n"


def describe_index(kits: Sequence[Kit]) -> str:
    """Return the page that lists kits, by category and by event."""
    facts = {kit.name: facts_of(kit) for kit in sorted(kits, key=lambda kit: kit.name)}
    parts = [
        "# Kits",
        f"{len(facts)} vendors that a destination of kind `http_kit` can send to as it is "
        "installed. `trunkline kits list` says the same, `trunkline kits show NAME` prints a page.",
        "## By category",
    ]
    for category in (*CATEGORIES, OTHER):
        rows = [
            (f"[{name}]({name}.md)", fact.title, fact.description)
            for name, fact in facts.items()
            if fact.category == category
        ]
        if rows:
            parts += [
                f"### {_HEADINGS.get(category, category.capitalize())}",
                table(("kit", "vendor", ""), rows),
            ]
    return "\n\n".join([*parts, "## By event", *_by_event(facts)]) + "\n"


def _by_event(facts: Mapping[str, Facts]) -> Iterator[str]:
    """Yield the table of the events that more than one kit has a section for."""
    yield "Events that at least two kits know by name; the others are on the kits' own pages."
    found: dict[str, list[str]] = {}
    for name, fact in facts.items():
        for event in fact.events:
            found.setdefault(event.name, []).append(f"[{name}]({name}.md)")
    pairs = sorted(found.items(), key=lambda pair: pair[0].casefold())
    rows = [(event, ", ".join(kits)) for event, kits in pairs if len(kits) > 1]
    yield table(("event", "kits"), rows)


def _parts(kit: Kit, facts: Facts) -> Iterator[str]:
    yield f"# {facts.title} (`{facts.name}`)"
    yield from filter(None, [facts.description])
    yield "\n".join(_about(facts))
    yield "## What it needs"
    yield _params(kit.params)
    yield "## What it sends"
    yield from _events(facts)
    yield from _request(facts)
    yield "## Limits"
    yield "\n".join(f"- {limit}" for limit in facts.limits)
    if facts.rules:
        rows = [
            (f"`{r.rule}`", r.say, _THEN.get(r.then, r.then), _link(r.page)) for r in facts.rules
        ]
        yield "What the vendor does not take is found before anything is sent:"
        yield table(("rule", "", "then", "where it stands"), rows)
    yield "## Answers"
    yield "\n".join(f"- {answer}" for answer in facts.answers)
    yield "## Duplicates"
    yield _duplicates(facts.deduplicates)
    yield "## Connection test"
    yield facts.test
    if facts.notes:
        yield "## Know before the first event"
        yield "\n".join(f"- {note}" for note in facts.notes)


def _about(facts: Facts) -> Iterator[str]:
    yield f"- Category: {facts.category}"
    if facts.version:
        yield f"- Version: {facts.version}"
    if facts.docs:
        yield f"- The vendor's own page: <{facts.docs}>" + (
            f", as it was on {facts.as_of}" if facts.as_of else ""
        )
    if facts.sources:
        yield f"- Events of: {', '.join(facts.sources)}"


def _params(params: Sequence[Param]) -> str:
    if not params:
        return "No params."
    rows = [(f"`{one.name}`", need_of(one), one.description) for one in params]
    return table(("param", "value", ""), rows)


def need_of(param: Param) -> str:
    """Say what a destination must give for a param, in a few words, values between backticks."""
    need = "required" if param.is_required else f"default `{param.default}`"
    need = "optional" if not param.is_required and not param.default else need
    told = [need, f"for example `{param.example}`" if param.example else "", param.expected]
    if param.choices and not choices_text(param):
        told.append(f"one of {', '.join(param.choices)}")
    told += [f"{value} until {day}" for value, day in param.good_until.items()]
    told.append("secret" if param.is_sensitive else "")
    return "; ".join(filter(None, told))


def _events(facts: Facts) -> Iterator[str]:
    if facts.keys:
        yield f"Of every event, as far as it has them: {_keys(facts.keys)}."
    if facts.events:
        rows = [(event.name, _constants(event), _keys(event.keys)) for event in facts.events]
        yield table(("event", "sent as", "keys of its own"), rows)
    yield facts.others


def _constants(event: EventFact) -> str:
    if not event.is_sent:
        return "not sent"
    told = [f"`{key}` {msgspec.json.encode(v).decode()}" for key, v in event.constants.items()]
    return "<br>".join(told)


def _keys(keys: Sequence[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _request(facts: Facts) -> Iterator[str]:
    if facts.example is None:
        return
    yield "### Example"
    yield "The event:" if len(facts.example.events) == 1 else "The events:"
    shown: Any = facts.example.events
    yield _block("json", _pretty(shown[0] if len(shown) == 1 else shown))
    yield "The request:"
    yield _block("http", request_text(facts.example))


def request_text(example: ExampleFact) -> str:
    """Return the request of a fixture as it goes over the wire, its JSON indented."""
    request = example.request
    head = [f"{request.get('method', 'POST')} {request.get('url', '')}"]
    head += [f"{name}: {value}" for name, value in dict(request.get("headers") or {}).items()]
    body: Any = request.get("body")
    if example.is_form and isinstance(body, dict):
        head.append(f"Content-Type: {FORM}")
        body = urlencode(cast("dict[str, str]", body))
    text = body if isinstance(body, str) else "" if body is None else _pretty(body)
    return "\n".join([*head, "", text]).rstrip("\n")


def _duplicates(told: str) -> str:
    if not told:
        return "Not known."
    if told.casefold() == "no":
        return "The vendor does not find duplicates: what is sent twice counts twice."
    return f"The vendor finds duplicates {told}."


def _link(page: str) -> str:
    return f"[page]({page})" if page else ""


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
        for row in lines
    )
