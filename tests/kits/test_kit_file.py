"""A kit is read wholly or refused with everything that is wrong; what was read is written again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.kits.connection import parse_connection
from trunkline.kits.kit import KitError, kit_json, parse_kit
from trunkline.kits.params import fill_params, param_values, used_params
from trunkline.playbook.program import PlaybookError

PLAYBOOK = {"version": "1", "default": {"mappings": [{"inputKey": "event", "outputKey": "name"}]}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 700) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["params", "default", "eventSpecific", "answers", "endpoint", "method", "headers", "batchSize",
     "oauth2Auth", "request", "jwt", "transform", "kafka", "name", "key", "value", "success",
     "status", "path", "events", "index"]
)  # fmt: skip
NEARLY = st.recursive(
    JSON,
    lambda inner: st.dictionaries(KEYS, inner | st.lists(inner, max_size=2), max_size=4),
    max_leaves=12,
)


def kit(**more: Any) -> dict[str, Any]:
    return {"format": 1, "name": "acme", "playbook": PLAYBOOK, **more}


def problems_of(tree: Any) -> list[str]:
    with pytest.raises(KitError) as caught:
        parse_kit(tree)
    return [str(problem) for problem in caught.value.problems]


def request(**more: Any) -> dict[str, Any]:
    return {"endpoint": "https://acme.example/e", **more}


def test_every_mistake_is_told_at_once_with_its_path_and_what_to_write() -> None:
    connection = {
        "params": [{"name": "TOKEN"}, {"name": "no good"}, {"name": "TOKEN"}, {"nam": 1}],
        "default": {
            "endpoint": "https://acme.example/$$TOKN$$",
            "methd": "GET",
            "headers": [{"key": "A"}, {"key": "B", "value": "x", "fromEventKey": "y"}],
            "batchSize": 0,
            "transform": {"lang": "cobol", "body": "x"},
        },
        "eventSpecific": {
            "Order Cancelled": request(method="FETCH"),
            "order_canceled": request(encoding="xml"),
        },
        "answers": {"success": [{"status": "2x"}, {}, {"equals": 1}], "retri": []},
    }
    told = problems_of(kit(connection=connection, metdata={}))
    expected = [
        "metdata: is not known here; did you mean `metadata`?",
        "connection.params[1]: 'no good' is no name; expected letters, digits and _, as API_KEY",
        "connection.params[2]: TOKEN stands twice; keep one",
        "connection.params[3].nam: is not known here; did you mean `name`?",
        "connection.params[3]: name is missing",
        "connection.default.methd: is not known here; did you mean `method`?",
        "connection.default.headers[0]: needs either `value`, a text, or `fromEventKey`, the path "
        "of an event's key",
        "connection.default.headers[1]: needs either `value`, a text, or `fromEventKey`, the path "
        "of an event's key",
        "connection.default.batchSize: is 0; expected a whole number from 1 to 2000",
        "connection.default.transform.lang: is 'cobol'; expected `lua`",
        "connection.eventSpecific.order_canceled: is the same event as `Order Cancelled`; keep one",
        "connection.eventSpecific.order_canceled.encoding: is 'xml'; expected `json`, `form` or "
        "`query`",
        "connection.answers.success[0].status: is '2x'; expected a status (422) or a class of them "
        "(4xx)",
        "connection.answers.success[1]: holds for every answer; give it a `status` or a `path`",
        "connection.answers.retri: is not known here; did you mean `retry`?",
        "connection.default.endpoint: $$TOKN$$ names no param; did you mean `TOKEN`?",
    ]
    assert [one for one in expected if one not in told] == []
    method = next(one for one in told if one.startswith("connection.eventSpecific.Order Cancelled"))
    assert "'FETCH'; expected `POST`" in method


def test_mistakes_of_the_playbook_are_told_with_those_of_the_connection() -> None:
    told = problems_of(kit(playbook={"defalt": {}}, connection={"default": {}}))
    assert any(one.startswith("playbook.defalt: ") for one in told)
    assert "connection.default: endpoint is missing" in told


def test_a_newer_format_is_refused_before_anything_of_it_is_judged() -> None:
    told = problems_of({"format": 2, "whatever": []})
    assert told == ["format: is 2, and this version reads 1; install a newer Trunkline to use it"]
    assert problems_of(kit(format="1")) == ["format: is '1'; expected 1"]
    assert problems_of(kit(format=True)) == ["format: is 'True'; expected 1"]


@pytest.mark.parametrize("name", ["", "Acme", "a/b", "-a", "a" * 81, "a b"])
def test_a_name_that_could_be_no_file_is_refused(name: str) -> None:
    assert problems_of(kit(name=name))[0].startswith("name: ")


@pytest.mark.parametrize("tree", [None, [], "kit", 7])
def test_what_is_no_object_is_refused(tree: Any) -> None:
    assert problems_of(tree)[0].endswith("expected a kit, an object")


def test_the_same_content_gives_the_same_bytes_and_they_read_back() -> None:
    one = kit(metadata={"friendlyName": "Acme", "z": 1}, connection={"default": request()})
    other = {key: one[key] for key in reversed(one)}
    assert kit_json(parse_kit(one)) == kit_json(parse_kit(other))
    again = parse_kit(msgspec.json.decode(kit_json(parse_kit(one))))
    assert kit_json(again) == kit_json(parse_kit(one))
    assert (again.title, again.name, again.cannot_send) == ("Acme", "acme", "")


def test_a_kit_without_a_connection_says_so() -> None:
    assert parse_kit(kit()).cannot_send == "it has no connection, only a playbook"
    assert parse_kit(kit(connection=None)).cannot_send == "it has no connection, only a playbook"
    assert "connection: default is missing" in problems_of(kit(connection={}))[0]
    assert parse_kit(kit(connection={"kafka": {"topic": "t"}})).cannot_send == (
        "its connection is `kafka`: it writes to a Kafka topic"
    )


def test_the_version_is_the_newest_that_the_notes_name() -> None:
    notes = [{"note": "Version: 0.1.0\nBeta"}, {"note": "Version: 1.2.0"}, {"note": "no version"}]
    assert parse_kit(kit(metadata={"releaseNotes": notes})).version == "1.2.0"
    assert parse_kit(kit(metadata={"releaseNotes": "x", "version": 3})).version == "3"
    assert parse_kit(kit()).version == ""


def test_params_are_filled_in_from_what_was_given_and_from_defaults() -> None:
    params = parse_connection(
        {
            "params": [
                {"name": "A"},
                {"name": "B", "defaultValue": "b"},
                {"name": "C", "isOptional": True},
            ],
            "default": request(),
        }
    ).params
    values = param_values(params, {"A": "$$B$$", "B": "x"})
    assert values == {"A": "$$B$$", "B": "x", "C": ""}
    # A value is no text of the kit: what it says is not filled in again.
    assert fill_params("$$A$$/$$B$$/$$C$$/$$D$$/$A$", values) == "$$B$$/x//$$D$$/$A$"
    tree = {"a": ["$$X$$ $$Y$$", {"b": "$$X$$"}], "c": "$$Z$$"}
    assert used_params(tree) == {"X": "a[0]", "Y": "a[0]", "Z": "c"}


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(tree=NEARLY)
def test_any_tree_is_read_or_refused(tree: Any) -> None:
    for whole in (tree, kit(connection=tree), kit(playbook=tree), kit(metadata=tree)):
        try:
            parse_kit(whole)
        except PlaybookError as error:
            assert error.problems
            assert all(problem.message for problem in error.problems)
    try:
        parse_connection(tree)
    except KitError as error:
        assert error.problems
