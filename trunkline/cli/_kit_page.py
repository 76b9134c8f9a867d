"""A kit as a person reads it: what to fill in, which events, which requests, how to begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trunkline.kits.answers import conditions
from trunkline.kits.catalogue import Facts, facts_of
from trunkline.kits.catalogue_page import need_of, request_text
from trunkline.kits.kit import Kit
from trunkline.kits.params import Param
from trunkline.kits.request_spec import RequestSpec

_NAMES_SHOWN = 200


def kit_facts(kit: Kit) -> dict[str, Any]:
    """Return what `kits show --json` tells beside the line of `kits list`."""
    facts = facts_of(kit)
    return {
        "description": facts.description,
        "docs": facts.docs,
        "asOf": facts.as_of,
        "sources": facts.sources,
        "deduplicates": facts.deduplicates,
        "notes": facts.notes,
        "params": [_param_fact(param) for param in kit.params],
        "events": kit.events,
        "keys": facts.keys,
        "sent": facts.events,
        "others": facts.others,
        "limits": facts.limits,
        "contract": facts.rules,
        "answersInWords": facts.answers,
        "test": facts.test,
        "example": facts.example,
        "requests": [_request_fact(spec) for spec in kit.way.requests()],
        "answers": conditions(kit.way.answers),
    }


def _param_fact(param: Param) -> dict[str, Any]:
    return {
        "name": param.name,
        "required": param.is_required,
        "default": param.default,
        "example": param.example,
        "description": param.description,
        "sensitive": param.is_sensitive,
        "expected": param.expected,
        "choices": param.choices,
        "goodUntil": param.good_until,
    }


def _request_fact(spec: RequestSpec) -> dict[str, Any]:
    return {
        "event": spec.name,
        "method": spec.method,
        "endpoint": spec.endpoint,
        "encoding": spec.encoding,
        "batchSize": spec.batch_max,
        "auth": f"providerAuth {spec.auth.provider}" if spec.auth.provider else spec.auth.kind,
        "transform": spec.transform.lang if spec.transform else "",
    }


def kit_lines(kit: Kit) -> Iterator[str]:
    """Yield the page of `kits show`."""
    facts = facts_of(kit)
    yield " ".join(filter(None, (f"{kit.title} ({kit.name})", kit.version)))
    yield from filter(None, (facts.description, _docs(facts)))
    if kit.cannot_send:
        yield f"It cannot send yet: {kit.cannot_send}. Its playbook can be used with another kind."
    yield from _param_lines(kit)
    yield from _event_lines(facts)
    yield from _request_lines(kit)
    if not kit.cannot_send:
        yield from _promise_lines(facts)
        yield ""
        yield "A destination of a workspace file:"
        yield ""
        yield example_workspace(kit).rstrip("\n")


def _docs(facts: Facts) -> str:
    as_of = f" (as it was on {facts.as_of})" if facts.as_of else ""
    return f"{facts.docs}{as_of}" if facts.docs else ""


def _param_lines(kit: Kit) -> Iterator[str]:
    yield ""
    yield "Params:" if kit.params else "Params: none"
    width = max((len(param.name) for param in kit.params), default=0)
    for param in kit.params:
        need = need_of(param).replace("`", "'")
        yield f"  {param.name:{width}}  {'; '.join(filter(None, (need, param.description)))}"


def _event_lines(facts: Facts) -> Iterator[str]:
    yield ""
    yield "Events:"
    width = min(40, max((len(event.name) for event in facts.events), default=0))
    for event in facts.events[:_NAMES_SHOWN]:
        constants = ", ".join(f"{key} {value!r}" for key, value in event.constants.items())
        constants = constants if event.is_sent else "(not sent)"
        yield f"  {event.name:{width}}  {constants}".rstrip()
    yield f"  {facts.others}".replace("`", "")


def _promise_lines(facts: Facts) -> Iterator[str]:
    """Yield what holds between the vendor and us: limits, rules, answers, duplicates, notes."""
    for title, lines in (
        ("Limits:", facts.limits),
        ("Checked before sending:", [f"{r.rule} ({r.then}): {r.say}" for r in facts.rules]),
        ("Answers:", facts.answers),
        ("Duplicates:", [facts.deduplicates or "not known"]),
        ("Connection test:", [facts.test]),
        ("Know before the first event:", facts.notes),
    ):
        if lines:
            yield ""
            yield title
            yield from (f"  {line}" for line in lines)
    if facts.example is not None:
        yield ""
        yield "A request:"
        yield ""
        yield from (f"  {line}" for line in request_text(facts.example).splitlines())


def _request_lines(kit: Kit) -> Iterator[str]:
    requests = kit.way.requests()
    if requests:
        yield ""
        yield "Requests:"
    for spec in requests:
        fact = _request_fact(spec)
        parts = [spec.encoding, f"{spec.batch_max} a request"]
        if fact["auth"] != "none":  # a key in a header or the body is a param, listed above
            parts.append(f"auth: {fact['auth']}")
        if spec.transform is not None:
            parts.append(f"changed by its transform ({spec.transform.lang}, in the jail)")
        yield f"  {spec.name}: {spec.method} {spec.endpoint} ({'; '.join(parts)})"
    yield from (f"  answers, {line}" for line in conditions(kit.way.answers))


def example_workspace(kit: Kit) -> str:
    """Return the lines of a destination of this kit for a workspace file."""
    lines = [
        f"- id: {kit.name}",
        "  kind: http_kit",
        "  settings:",
        f"    kit: {kit.name}",
    ]
    needed = [param for param in kit.params if param.is_required]
    if needed:
        lines.append("    params:")
        lines += [f"      {param.name}: {{env: {_variable(kit, param)}}}" for param in needed]
    return "\n".join(lines) + "\n"


def _variable(kit: Kit, param: Param) -> str:
    prefix = "".join(ch if ch.isalnum() else "_" for ch in kit.name).upper()
    return f"{prefix}_{param.name.upper()}"
