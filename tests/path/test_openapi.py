"""The document of the ingest port against a node: its examples, and schemathesis."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.support.openapi_stage import OpenApiStage
from trunkline.kit.openapi import documented

pytestmark = pytest.mark.timeout(900)

TAGS = sorted({operation.tag for operation in documented()})
SECONDS = 15  # of trying, for each tag
EXAMPLES = 30


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApiStage]:
    made = OpenApiStage(tmp_path_factory.mktemp("openapi"))
    yield made
    made.close()


def answer_of(document: Any, name: str, status: int) -> Any:
    """Return what the document says of an answer."""
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    operation = next(each for each in operations if each["operationId"] == name)
    answer = operation["responses"][str(status)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return answer


def test_every_example_gets_the_answer_that_is_documented(stage: OpenApiStage) -> None:
    count = 0
    for sent in stage.examples():
        reply = stage.request(sent.method, sent.path, sent.body, sent.headers)
        assert reply.status == sent.status, (sent, reply)
        answer = answer_of(stage.document, sent.name.partition(".")[0], sent.status)
        ((content_type, content),) = answer["content"].items()
        assert reply.headers["content-type"].partition(";")[0] == content_type, sent
        if "schema" in content:
            schema = {**content["schema"], "components": stage.document["components"]}
            jsonschema_rs.validator_for(schema).validate(reply.json)
        count += 1
    assert count >= 60


@pytest.mark.parametrize("tag", TAGS)
def test_what_nobody_thought_of_gets_an_answer_that_is_documented(
    stage: OpenApiStage, tag: str
) -> None:
    found = stage.fuzz(tag, seconds=SECONDS, examples=EXAMPLES)
    assert not found, found[-4000:]
    assert stage.request("GET", "/health/ready").status == 200


def test_an_answer_that_is_not_documented_is_found(stage: OpenApiStage) -> None:
    without = copy.deepcopy(stage.document)
    del without["paths"]["/identity"]["post"]["responses"]["400"]
    found = stage.fuzz("rest", seconds=SECONDS, examples=EXAMPLES, document=without)
    assert "ndocumented" in found, found[-1500:]
