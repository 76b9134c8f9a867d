"""The document of the ingest port: whole, sound, and about every route there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from trunkline.kit.openapi import document_json, documented
from trunkline.kit.openapi.parts import Operation
from trunkline.node import protocol_shelf

DOCUMENT: dict[str, Any] = msgspec.json.decode(document_json())
HEALTH = {("GET", "/health/live"), ("GET", "/health/ready")}  # the gateway's own
BODY_STATUSES = {400, 408, 413, 415, 503}


def refs_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "$ref":
                yield item
            else:
                yield from refs_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from refs_in(item)


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {
        (route.method, route.path) for each in protocol_shelf().values() for route in each.routes
    }
    told = {(operation.method.upper(), operation.path) for operation in documented()}
    assert sorted(routes - told) == []
    assert told - routes == HEALTH
    in_document = {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert in_document == told


def test_every_reference_leads_somewhere() -> None:
    refs = set(refs_in(DOCUMENT))
    assert refs
    for each in refs:
        place: Any = DOCUMENT
        for name in each.removeprefix("#/").split("/"):
            place = place[name]
        assert place


def test_what_is_shared_is_used() -> None:
    used = set(refs_in(DOCUMENT))
    for kind in ("schemas", "responses", "headers"):
        for name in DOCUMENT["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, (kind, name)


def test_ids_are_unique() -> None:
    ids = [operation.id for operation in documented()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("operation", documented(), ids=lambda each: each.id)
def test_an_operation_tells_all_that_may_come_of_it(operation: Operation) -> None:
    assert operation.summary.endswith(".")
    asked = set(re.findall(r"\{(\w+)\}", operation.path))
    assert asked == {each.name for each in operation.parameters if each.place == "path"}
    assert all(each.example for each in operation.parameters if each.place == "path")
    if operation.body:
        assert set(operation.answers) >= BODY_STATUSES
    statuses = {each.status for each in operation.examples}
    assert statuses <= set(operation.answers)
    if operation.body and operation.body != "ClientMetrics":
        assert {status // 100 for status in statuses} == {2, 4}, "a good example and a refused one"
    for each in operation.security:
        assert set(each) <= set(DOCUMENT["components"]["securitySchemes"])


def test_a_path_that_is_no_text_is_an_answer_of_every_operation_that_has_one_of_its_own() -> None:
    patterns = [each for each in documented() if "{" in each.path]
    assert len(patterns) > 10
    without = [each.path for each in patterns if 400 not in each.answers]
    assert without == ["/v1/pixel/{type}"]  # an image, whatever it is asked
