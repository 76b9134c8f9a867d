"""Requests that what was made of an event decides: each with a condition, asked in their order.

The name of an event says which of `eventSpecific` is its request; here it is what the event holds,
as another endpoint for those of people whom nobody knows yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from trunkline.kits.contract import fill_condition, read_condition
from trunkline.kits.contract_check import condition_test
from trunkline.kits.request_spec import RequestSpec, read_request
from trunkline.playbook.nodes import Node

CONDITIONAL_MAX = 20
NAME_MAX = 80


class ConditionalRequest(Struct, frozen=True):
    """A request, and the condition over the output under which it is the one of an event."""

    when: Any
    spec: RequestSpec


def read_conditional(node: Node) -> tuple[ConditionalRequest, ...]:
    """Read the list, telling what is wrong with it."""
    entries = node.entries()
    if len(entries) > CONDITIONAL_MAX:
        node.complain(f"has {len(entries)} requests; at most {CONDITIONAL_MAX} are asked")
    return tuple(_read_one(entry) for entry in entries[:CONDITIONAL_MAX])


def _read_one(node: Node) -> ConditionalRequest:
    needed = ("name", "when", "request")
    fields = node.fields(needed, needed)
    name = fields["name"].text() if "name" in fields else ""
    if len(name) > NAME_MAX:
        fields["name"].complain(f"has {len(name)} characters; at most {NAME_MAX} are taken")
    when = read_condition(fields["when"]) if "when" in fields else None
    spec = read_request(fields["request"], name) if "request" in fields else RequestSpec(name, "")
    return ConditionalRequest(when, spec)


def fill_when(one: ConditionalRequest, values: Mapping[str, str]) -> Callable[[Any], bool]:
    """Return what asks the condition of an output, its params filled in.

    Raises `ValueError` with a sentence that shows no param's value.
    """
    return condition_test(fill_condition(one.when, values, f"the request {one.spec.name}"))
