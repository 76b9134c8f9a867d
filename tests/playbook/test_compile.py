"""What a playbook makes of an event: sections, mappings, constants, expressions, functions."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import pytest

from tests.support.playbook_fuzz import MOMENT, StubLoader
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.closures import closures_of
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.program import Moment, PlaybookError, Shaped, Step

EVENT: dict[str, Any] = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m-1",
    "userId": "u-1",
    "timestamp": "2026-11-20T10:15:30.250Z",
    "traits": {"email": " Jane@Example.com "},
    "properties": {
        "total": "12.50",
        "currency": "usd",
        "note": None,
        "products": [{"product_id": "a", "price": 1}, {"product_id": "b", "price": 2}],
        "address": {"city": "Rome", "zip": "00100", "more": {"floor": 3}},
    },
}


def shape(tree: Any, event: Any = EVENT, **params: str) -> Shaped:
    """Shape by both back ends; they agree, and the event is as it was."""
    before = copy.deepcopy(event)
    playbook = parse_playbook(tree)
    ours = compile_playbook(playbook, params, StubLoader()).explain(event, MOMENT)
    assert ours == closures_of(playbook, params, StubLoader()).explain(event, MOMENT)
    assert event == before
    return ours


def output(tree: Any, event: Any = EVENT, **params: str) -> Any:
    shaped = shape(tree, event, **params)
    assert len(shaped.outputs) == 1, shaped
    return shaped.outputs[0]


def mapped(*mappings: dict[str, Any]) -> Any:
    return output({"global": {"mappings": list(mappings)}})


def to(key: str, source: str, *transforms: Any, **default: Any) -> dict[str, Any]:
    return {"inputKey": source, "outputKey": key, "transforms": list(transforms), **default}


def lua(body: str) -> dict[str, str]:
    return {"lang": "lua", "body": body}


def test_a_mapping_takes_a_path_to_a_path() -> None:
    made = mapped(
        to("id", "userId"),
        to("user.email", "traits.email", {"modifyString": "trim"}, {"modifyString": "lowercase"}),
        to("user.home.city", "properties.address.city"),
        to("first", "properties.products.0.product_id"),
        to("products", "properties.products"),
        to("all", "input"),
    )
    assert made == {
        "id": "u-1",
        "user": {"email": "jane@example.com", "home": {"city": "Rome"}},
        "first": "a",
        "products": EVENT["properties"]["products"],
        "all": EVENT,
    }


def test_what_is_not_there_is_left_out() -> None:
    assert mapped(
        to("a", "nobody"), to("b.c", "properties.note"), to("d", "userId.more.still"),
        to("e", "properties.products.7.price", {"toScalar": "float"}),
        to("f", "userId", {"toScalar": "float"}), to("g", "properties.products.price"),
        to("", "userId"), to("", "nobody"),
    ) == {}  # fmt: skip


def test_a_default_stands_in_for_what_comes_to_nothing() -> None:
    assert mapped(
        to("a", "nobody", {"modifyString": "uppercase"}, defaultString="usd"),
        to("b.c", "userId", {"toScalar": "float"}, defaultFloat=0),
        to("d", "properties.note", defaultBool=False),
        to("e", "nobody", defaultInt="7"),
        to("f", "userId", defaultString=""),
        to("g", "nobody", defaultString=""),
    ) == {"a": "usd", "b": {"c": 0.0}, "d": False, "e": 7, "f": "u-1", "g": ""}


def test_later_writes_win_and_objects_merge() -> None:
    assert mapped(
        to("a", "userId"), to("a", "messageId"), to("a", "nobody"),
        to("b", "properties.address"), to("b.city", "userId"), to("b.more.door", "userId"),
        to("c.city", "userId"), to("c.x", "userId"), to("c", "properties.address"),
        to("d", "userId"), to("d.e", "userId"),
        to("f.g", "userId"), to("f", "userId"),
        to("h", "properties.products"), to("h.0", "userId"),
    ) == {
        "a": "m-1",
        "b": {"city": "u-1", "zip": "00100", "more": {"floor": 3, "door": "u-1"}},
        "c": {"city": "Rome", "x": "u-1", "zip": "00100", "more": {"floor": 3}},
        "d": {"e": "u-1"},
        "f": "u-1",
        "h": {"0": "u-1"},
    }  # fmt: skip


def test_an_empty_output_key_merges_an_object_into_the_output() -> None:
    assert mapped(
        to("city", "userId"), to("note", "userId"), to("", "properties.address"),
        to("", "properties"), to("more.x", "userId"), to("address.zip", "userId"),
    ) == {
        "city": "Rome", "zip": "00100", "more": {"floor": 3, "x": "u-1"},
        "note": "u-1", "total": "12.50", "currency": "usd",
        "products": EVENT["properties"]["products"],
        "address": {"city": "Rome", "zip": "u-1", "more": {"floor": 3}},
    }  # fmt: skip


def test_the_global_section_runs_first_then_the_events_own_or_default() -> None:
    def stating(text: str) -> dict[str, Any]:
        return {"enrichments": [{"outputKey": "who", "staticString": text}],
                "mappings": [to(text, "type")]}  # fmt: skip

    tree = {
        "global": stating("global"),
        "default": stating("default"),
        "eventSpecific": {"order_completed": stating("own"), "Order Cancelled": stating("sad")},
    }
    own = {"who": "own", "global": "track", "own": "track"}
    for name in ("Order Completed", "order_completed", "ORDER COMPLETED", "ordercompleted"):
        assert output(tree, {**EVENT, "event": name}) == own
    assert output(tree, {**EVENT, "event": "order_canceled"})["who"] == "sad"
    assert output(tree, {"type": "page"}) == {"who": "default", "global": "page", "default": "page"}
    assert output(tree, {"type": "track"})["who"] == "default"
    assert output({}, EVENT) == {}


def test_the_parts_of_a_section_run_in_order() -> None:
    tree = {
        "global": {
            "spreadings": [{"inputKey": "properties.address", "flatten": {"separator": "_"}}],
            "expressions": [lua("an object")],
            "mappings": [to("city", "userId"), to("a.b", "userId"), to("a.c", "userId")],
            "enrichments": [{"outputKey": "a.b", "staticString": "constant"}],
        }
    }
    shaped = shape(tree)
    assert shaped.outputs == ({
        "a": {"b": 1, "c": "u-1"}, "city": "Rome", "n": MOMENT.now_ms, "zip": "00100",
        "more_floor": 3,
    },)  # fmt: skip
    assert shaped.steps == (
        Step("global.enrichments[0]", "a.b", "constant"),
        Step("global.mappings[0]", "city", "u-1"),
        Step("global.mappings[1]", "a.b", "u-1"),
        Step("global.mappings[2]", "a.c", "u-1"),
        Step("global.expressions[0]", "a", {"b": 1, "z": None}),
        Step("global.expressions[0]", "b", None),
        Step("global.expressions[0]", "n", MOMENT.now_ms),
        Step("global.spreadings[0]", "city", "Rome"),
        Step("global.spreadings[0]", "zip", "00100"),
        Step("global.spreadings[0]", "more_floor", 3),
    )


def test_enrichments_are_constants_times_and_ids() -> None:
    entries = [
        {"outputKey": "a.text", "staticString": ""}, {"outputKey": "a.int", "staticInt": "1"},
        {"outputKey": "a.float", "staticFloat": 0}, {"outputKey": "no", "staticBool": False},
        {"outputKey": "s", "timestamp": "seconds"}, {"outputKey": "id", "uuid": "v4"},
        {"outputKey": "ms", "timestamp": "milliseconds"}, {"outputKey": "other", "uuid": "v4"},
    ]  # fmt: skip
    tree = {"default": {"enrichments": entries}}
    made = output(tree)
    assert made == output(tree)
    assert uuid.UUID(made["id"]).version == 4 and made["id"] != made.pop("other")
    program = compile_playbook(parse_playbook(tree), {})
    later = Moment(MOMENT.now_ms + 1000, MOMENT.seed)
    assert program.shape(EVENT, later).outputs[0]["id"] == made["id"]
    assert program.shape(EVENT, Moment(0, "another")).outputs[0]["id"] != made.pop("id")
    assert made == {
        "a": {"text": "", "int": 1, "float": 0.0}, "no": False,
        "s": MOMENT.now_ms // 1000, "ms": MOMENT.now_ms,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flatten", "made"),
    [
        ({"separator": "_"}, {"a_b": 1, "a_c_0": 2, "a_c_1_d": 3, "e": {}, "f": []}),
        (
            {"separator": ".", "prefix": "p"},
            {"p.a.b": 1, "p.a.c.0": 2, "p.a.c.1.d": 3, "p.e": {}, "p.f": []},
        ),
        ({"separator": "", "depth": 1}, {"a": {"b": 1, "c": [2, {"d": 3}]}, "e": {}, "f": []}),
        ({"separator": "_", "depth": 2}, {"a_b": 1, "a_c": [2, {"d": 3}], "e": {}, "f": []}),
    ],
)
def test_a_spreading_joins_keys(flatten: Any, made: Any) -> None:
    event = {"context": {"a": {"b": 1, "c": [2, {"d": 3}]}, "e": {}, "f": [], "g": None}}
    tree = {"global": {"spreadings": [{"inputKey": "context", "flatten": flatten}]}}
    assert output(tree, event) == made
    for nothing in ({}, {"context": None}, {"context": []}, {"context": [1]}, {"context": "x"}):
        assert output(tree, nothing) == {}


def test_a_spreading_whose_keys_outgrow_an_output_fails() -> None:
    event = {"context": {"k" * 20_000: {str(n): n for n in range(3000)}}}
    tree = {"global": {"spreadings": [{"inputKey": "context", "flatten": {"separator": "_"}}]}}
    failure = compile_playbook(parse_playbook(tree), {}).shape(event, MOMENT).failure
    assert failure is not None
    assert failure.sentence == (
        "playbook global.spreadings[0]: makes more than 1,048,576 characters of keys"
    )


def test_an_expression_reads_the_event_and_nothing_passes_through_it() -> None:
    expression, nothing = ({"expression": lua(body)} for body in ("an object", "nothing"))
    trim, upper = ({"modifyString": change} for change in ("trim", "uppercase"))
    made = mapped(
        to("x", "type", expression), to("y", "nobody", expression), to("z", "type", nothing),
        to("w", "type", trim, {"expression": lua("a text")}, upper),
    )  # fmt: skip
    assert made == {"x": {"a": {"b": 1, "z": None}, "b": None, "n": MOMENT.now_ms}, "w": "TEXT"}


@pytest.mark.parametrize("body", ["nothing", "false"])
def test_an_expression_that_returns_nothing_changes_nothing(body: str) -> None:
    section = {"mappings": [to("a", "userId")], "expressions": [lua(body)]}
    assert output({"global": section}) == {"a": "u-1"}


def test_an_event_is_not_changed_by_what_is_written_below_a_part_of_it() -> None:
    section = {
        "mappings": [to("x", "properties.address"), to("y", "properties.address")],
        "expressions": [lua("the event")],
    }
    tree = {
        "global": section,
        "default": {"mappings": [to("x.more.floor", "userId"), to("traits.email", "userId")]},
    }
    made = output(tree)  # which also holds the event against a copy
    assert made["x"]["more"] == {"floor": "u-1"}
    assert made["y"]["more"] == {"floor": 3}
    assert made["traits"] == {"email": "u-1"}


def test_a_batch_makes_several_events_with_what_they_share() -> None:
    section = {"mappings": [to("a.c", "userId")], "expressions": [lua("a batch")]}
    assert shape({"global": section}).outputs == (
        {"a": {"b": 2, "c": "u-1"}}, {"a": {"c": "u-1"}, "b": "u-1"}, {"a": {"c": "u-1"}},
    )  # fmt: skip
    shaped = shape({"global": {"expressions": [lua("an empty batch")]}})
    assert (shaped.outputs, shaped.filtered) == ((), "_metarouter_batch")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("fails", "playbook global.expressions[0], line 2: attempt to index a nil value"),
        ("a list", "playbook global.expressions[0]: made a list; what is merged into the output"),
        ("a text", "playbook global.expressions[0]: made a number, text or boolean; what is"),
        ("huge", "playbook output: is larger than 1,048,576 bytes of JSON; map less"),
        ("deep", "playbook output: nests more than 80 levels deep; map a part of it"),
        ("no json", "playbook output: is no JSON: "),
        ("a wrong batch", "playbook _metarouter_batch: is no list of objects; each entry"),
        ("a large batch", "playbook _metarouter_batch: made 1001 events of one; at most 1000"),
    ],
)
def test_a_failure_says_where_why_and_what_there_was(body: str, sentence: str) -> None:
    section = {"mappings": [to("a", "userId")], "expressions": [lua(body)]}
    shaped = shape({"global": section})
    assert shaped.outputs == () and shaped.filtered == ""
    failure = shaped.failure
    assert failure is not None and failure.sentence.startswith(sentence)
    assert failure.input.startswith('{"type":"track","event":"Order Completed"')
    if body in ("fails", "a list", "a text"):
        assert failure.partial == {"a": "u-1"}
    assert shaped.steps[0] == Step("global.mappings[0]", "a", "u-1")


def test_the_input_of_a_failure_is_an_excerpt() -> None:
    event = {**EVENT, "userId": "é" * 5000}
    failure = shape({"global": {"expressions": [lua("fails")]}}, event).failure
    assert failure is not None
    assert 2000 < len(failure.input.encode()) <= 2048
    failure = shape({"global": {"expressions": [lua("huge"), lua("fails")]}}).failure
    assert failure is not None and failure.partial is None


def functions(*bodies: str, when: str = "before") -> list[dict[str, str]]:
    return [{"lang": "python", "when": when, "body": body} for body in bodies]


MAKING_ID = {"outputKey": "u", "uuid": "v4"}
ID = {"default": {"mappings": [to("id", "userId")], "enrichments": [MAKING_ID]}}


def test_functions_run_before_and_after() -> None:
    shaped = shape({**ID, "functions": functions("same", "twice") + functions("add", when="after")})
    first, second = shaped.outputs
    assert first["of"] == EVENT and first["now"] == MOMENT.now_ms and first["id"] == "u-1"
    assert first["u"] != second["u"], "two events that one became have ids of their own"
    assert [step.path for step in shaped.steps] == [
        "functions[0]", "functions[1]", "functions[1]",
        "default.enrichments[0]", "default.mappings[0]",
        "default.enrichments[0]", "default.mappings[0]", "functions[2]", "functions[2]",
    ]  # fmt: skip


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("body", "filtered", "why"),
    [
        ("drop", "functions[0]", ""),
        ("empty", "functions[0]", ""),
        ("none of two", "functions[0]", ""),
        ("fails", "", "functions[0], line 2: attempt to index a nil value"),
        ("a text", "", "functions[0]: returned neither an object, a list of objects, nor nothing"),
        ("a wrong list", "", "functions[0]: returned neither an object"),
        ("many", "", "functions[0]: made 1001 events of one; at most 1000 are made"),
    ],
)
def test_a_function_drops_or_fails(when: str, body: str, filtered: str, why: str) -> None:
    shaped = shape({**ID, "functions": functions(body, when=when)})
    assert shaped.outputs == () and shaped.filtered == filtered
    assert why in (shaped.failure.sentence if shaped.failure else "")


def test_a_function_that_drops_some_events_keeps_the_others() -> None:
    tree = {**ID, "functions": functions("twice", "drop pages")}
    assert len(shape(tree).outputs) == 2
    assert shape(tree, {"type": "page"}).filtered == "functions[1]"


def test_careless_functions_change_neither_the_event_nor_each_others() -> None:
    shaped = shape({**ID, "functions": functions("overwrite", "overwrite", when="after")})
    assert shaped.outputs == ({"type": "overwritten"},)


def problems(tree: Any, loader: Any = None, **params: str) -> list[str]:
    playbook = parse_playbook(tree)
    for compiler in (compile_playbook, closures_of):
        with pytest.raises(PlaybookError) as caught:
            compiler(playbook, params, loader)
    return [str(problem) for problem in caught.value.problems]


PARAMS = [
    {"name": "PIXEL_ID", "exampleValue": "my-pixel"},
    {"name": "KEY", "defaultValue": "clickref"},
    {"name": "NOTE", "isOptional": True},
]


def test_params_are_filled_into_every_text() -> None:
    tree = {
        "params": PARAMS,
        "global": {
            "enrichments": [
                {"outputKey": "pixel", "staticString": "$$PIXEL_ID$$/$$KEY$$/$$NOTE$$/$$HOST$$"},
                {"outputKey": "$$KEY$$.n", "staticInt": "$$N$$"},
            ],
            "mappings": [
                to(
                    "m", "properties.$$PART$$.city", {"modifyString": "$$CASE$$"},
                    defaultBool="$$YES$$",
                ),
            ],
            "expressions": [lua("$$BODY$$")],
        },
    }  # fmt: skip
    values = {"PIXEL_ID": "p-1", "HOST": "h", "N": "7", "PART": "address", "CASE": "uppercase",
              "YES": "true", "BODY": "an object"}  # fmt: skip
    assert output(tree, **values) == {
        "pixel": "p-1/clickref//h", "clickref": {"n": 7}, "m": "ROME",
        "a": {"b": 1, "z": None}, "n": MOMENT.now_ms,
    }  # fmt: skip
    assert output(tree, **{**values, "PART": "nowhere", "KEY": "k"})["m"] is True


def test_what_is_wrong_with_params_is_told() -> None:
    tree = {"params": PARAMS, "global": {"mappings": [to("$$PIXEL_IDS$$", "$$HOST$$")]}}
    assert problems(tree, HOST="a") == [
        "params.PIXEL_ID: has no value; give one: `params: {PIXEL_ID: …}` of the destination",
        "global.mappings[0].outputKey: $$PIXEL_IDS$$ names no param; did you mean `PIXEL_ID`?",
    ]
    tree = {"global": {"mappings": [to("a", "$$X$$"), to("b.$$Y$$", "c", {"toHash": "$$Z$$"})]}}
    found = problems(tree, X="a..b", Y="", Z="sha1")
    assert found[0].startswith("global.mappings[0].inputKey: is 'a..b'; expected names")
    assert found[1].startswith("global.mappings[1].outputKey: is 'b.'; expected names")
    assert found[2].startswith("global.mappings[1].transforms[0].toHash: ")
    constant = {"global": {"enrichments": [{"outputKey": "a", "staticInt": "$$N$$"}]}}
    assert problems(constant, N="$$N$$") == [
        "global.enrichments[0].staticInt: is '$$N$$'; expected a whole number"
    ]
    assert "shorten the values" in problems({"version": "$$A$$" * 100}, A="x" * 20_000)[0]


def test_dollars_that_are_no_param_stay() -> None:
    texts = {"a": "$$", "b": "$$5 and $$", "c": "$$A B$$", "d": "$A$"}
    entries = [{"outputKey": key, "staticString": text} for key, text in texts.items()]
    assert output({"global": {"enrichments": entries}}) == texts


def test_code_that_does_not_load_is_told_with_its_line_and_all_of_it() -> None:
    wrong = lua("does not load")
    tree = {
        "global": {"mappings": [to("a", "userId", {"expression": wrong})]},
        "eventSpecific": {"page": {"expressions": [lua("nothing"), wrong]}},
    }
    assert problems(tree, StubLoader()) == [
        "global.mappings[0].transforms[0]: line 3: unexpected symbol near 'is'",
        "eventSpecific.page.expressions[1]: line 3: unexpected symbol near 'is'",
    ]


def test_code_without_a_jail_is_refused() -> None:
    tree = {"functions": functions("same"), "global": {"expressions": [lua("nothing")]}}
    found = compile_problems(tree)
    assert [problem.split(": ")[0] for problem in found] == [
        "global.expressions[0]",
        "functions[0]",
    ]
    assert found[0].endswith("is code, which runs only in a jailed worker; there is none here")


def compile_problems(tree: Any) -> list[str]:
    with pytest.raises(PlaybookError) as caught:
        compile_playbook(parse_playbook(tree), {})
    return [str(problem) for problem in caught.value.problems]
