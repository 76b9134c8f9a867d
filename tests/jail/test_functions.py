"""What a function may do and return, in Python and in JavaScript, and what its mistakes say."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest

from tests.support.jail_stage import WHOLE, function_work, moment, shape, workshop
from trunkline.kit.shaping import CodeSource, Work
from trunkline.playbook.functions import FUNCTIONS
from trunkline.playbook.program import CodeError, PlaybookError, Shaped, Step

EVENT: dict[str, Any] = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m-1",
    "properties": {"revenue": 12.5, "email": " Jane@Example.COM ", "products": [{"sku": "a"}]},
}


def run(body: str, lang: str = "python", event: dict[str, Any] = EVENT) -> Any:
    """Shape one event; return its outputs, or its failure."""
    answer = ask(function_work(body, lang), event)
    return answer.failure or answer.filtered or list(answer.outputs)


def ask(work: Work, event: dict[str, Any] = EVENT, *, explain: bool = False) -> Shaped:
    async def story() -> Any:
        async with workshop() as shop:
            shaper = await shop.open(work)
            return (await shaper.shape([(event, moment())], explain=explain))[0]

    answer = asyncio.run(story())
    assert isinstance(answer, Shaped)
    return answer


RESULTS: list[tuple[str, str, Any]] = [
    ("return {'a': 1}", "return {a: 1}", [{"a": 1}]),
    ("return [{'a': 1}, {'a': 2}]", "return [{a: 1}, {a: 2}]", [{"a": 1}, {"a": 2}]),
    ("return None", "return null", "functions[0]"),
    ("pass", "", "functions[0]"),
    ("return []", "return []", "functions[0]"),
    ("return event", "return event", [EVENT]),
    (
        "event['properties'] = {}; return event",
        "event.properties = {}; return event",
        [EVENT | {"properties": {}}],
    ),
    ("return {'ms': meta['nowMs']}", "return {ms: meta.nowMs}", [{"ms": moment().now_ms}]),
    (
        "return {'was': meta['event']['event']}",
        "return {was: meta.event.event}",
        [{"was": "Order Completed"}],
    ),
    (
        "return {'h': TO_SHA256_HASH(LOWER(TRIM(event['properties']['email'])))}",
        "return {h: TO_SHA256_HASH(LOWER(TRIM(event.properties.email)))}",
        [{"h": "8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d"}],
    ),
    (
        "return {'n': MAP([1, 2], lambda n: n * 2)}",
        "return {n: MAP([1, 2], (n) => n * 2)}",
        [{"n": [2, 4]}],
    ),
    (
        "return {'n': [TRIM(t) for t in [' a ', None]]}",
        "return {n: [' a ', null].map(TRIM)}",
        [{"n": ["a", None]}],
    ),
    ("return {'n': 10**18}", "return {n: 2 ** 53 - 1}", None),
]


@pytest.mark.parametrize(("python", "javascript", "expected"), RESULTS)
def test_both_languages_return_the_same(python: str, javascript: str, expected: Any) -> None:
    indented = "def transform_event(event, meta):\n    " + python
    first = run(indented)
    second = run(f"function transform_event(event, meta) {{ {javascript} }}", "javascript")
    if expected is None:
        assert (first, second) == ([{"n": 10**18}], [{"n": 2**53 - 1}])
    else:
        assert (first, second) == (expected, expected)


def test_every_helper_is_there_in_both_languages() -> None:
    names = sorted(FUNCTIONS)
    listed = ", ".join(names)
    python = f"def transform_event(e, m): return {{'n': [callable(f) for f in [{listed}]]}}"
    javascript = f"function transform_event() {{ return {{n: [{listed}].map((f) => !!f.call)}} }}"
    expected = [{"n": [True] * len(names)}]
    assert (run(python), run(javascript, "javascript")) == (expected, expected)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_examples_of_a_helper_hold_in_javascript(name: str) -> None:
    for example in FUNCTIONS[name].examples:
        if example.shown:  # it is given a function
            continue
        given = ", ".join(msgspec.json.encode(value).decode() for value in example.arguments)
        body = f"function transform_event() {{ return {{got: {name}({given})}} }}"
        assert run(body, "javascript") == [{"got": example.output}]


MISTAKES = [
    ("python", "def transform_event(e, m):\n\n    return e['x']['y']", 3, "KeyError: 'x'"),
    (
        "python",
        "def a(e):\n    raise ValueError('no')\ndef transform_event(e, m):\n    a(e)",
        2,
        "no",
    ),
    ("python", "def transform_event(e, m): return 'text'", 0, "a value of type str; return the"),
    ("python", "def transform_event(e, m): return [e, 5]", 0, "holds a value of type int"),
    ("python", "def transform_event(e, m): return {'a': print}", 0, "what is no JSON: TypeError"),
    ("python", "def transform_event(e, m):\n    import socket, numpy", 2, "numpy cannot be imp"),
    ("javascript", "function transform_event(e) {\n\n  return e.x.y;\n}", 3, "TypeError: cannot"),
    ("javascript", "function transform_event() {\n  throw new Error('no'); }", 2, "Error: no"),
    ("javascript", "function transform_event() { throw 'text' }", 0, "text"),
    ("javascript", "function transform_event() { return 5 }", 0, "returned a number; return the"),
    ("javascript", "function transform_event() { return [1] }", 0, "returned a list of something"),
    ("javascript", "async function transform_event() { }", 0, "must be a plain function"),
]


@pytest.mark.parametrize(("lang", "body", "line", "message"), MISTAKES)
def test_a_mistake_names_its_line(lang: str, body: str, line: int, message: str) -> None:
    failure = run(body, lang)
    assert (failure.path, failure.line) == ("functions[0]", line)
    assert message in failure.message


REFUSED = [
    (
        "python",
        "def transform_event(e, m):\n  return (",
        r"line 2: no Python: '\(' was never closed",
    ),
    (
        "python",
        "def transform_events(e, m): pass",
        r"defines no .*; did you mean transform_events\?",
    ),
    ("python", "transform_event = 5", "is of type int; expected a function"),
    ("python", "def transform_event(e): pass", r"must take \(event, meta\)"),
    ("python", "async def transform_event(e, m): pass", "must be a plain function"),
    ("python", "\nx = undefined_name", "line 2: NameError"),
    ("python", "raise SystemExit", "line 1: SystemExit"),
    ("python", "import sqlite3", "line 1: ModuleNotFoundError: sqlite3 cannot be imported"),
    ("javascript", "function transform_event(e {\n}", "line 1: SyntaxError"),
    ("javascript", "function transform_events() {}", r"no function transform_event\(event, meta\)"),
    ("javascript", "\n\nnothing();", "line 3: ReferenceError: nothing is not defined"),
]


@pytest.mark.parametrize(("lang", "body", "message"), REFUSED)
def test_what_does_not_load_is_refused_with_its_place(lang: str, body: str, message: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        run(body, lang)
    (problem,) = caught.value.problems
    assert problem.path == "functions[0]"
    assert re.search(message, problem.message)


def test_const_and_arrow_functions_are_functions() -> None:
    body = "const transform_event = (event, meta) => ({a: 1});"
    assert run(body, "javascript") == [{"a": 1}]


def test_an_event_is_sent_again_with_the_same_dice() -> None:
    python = """
import random as dice
def transform_event(event, meta):
    return {"id": str(uuid.uuid4()), "dice": dice.random(), "set": list({"a", "b", "c", "d"})}
"""
    javascript = "function transform_event() { return {dice: [Math.random(), Math.random()]} }"
    for body, lang in ((python, "python"), (javascript, "javascript")):
        work = function_work(body, lang)

        async def story(work: Work = work) -> list[Any]:
            answers: list[Any] = []
            async with workshop() as shop:
                for numbers in ((1, 2), (2, 1)):  # in another process, after another event
                    shaper = await shop.open(work)
                    events = [(EVENT, moment(n)) for n in numbers]
                    answers.append([each.outputs for each in await shaper.shape(events)])
                    await shaper.close()
            return answers

        first, second = asyncio.run(story())
        assert first == second[::-1]
        assert first[0] != first[1]


def test_what_a_function_logs_is_shown_where_it_is_explained() -> None:
    body = """
def transform_event(event, meta):
    log("revenue", event["properties"]["revenue"])
    print("printed")
    for n in range(100): log(n)
    return event
"""
    answer = ask(function_work(body), explain=True)
    said = [step.value for step in answer.steps if step.path == "log"]
    assert said[:3] == ["revenue 12.5", "printed", "0"]
    assert len(said) == 26
    assert said[25].startswith("… (more was logged")
    assert answer.steps[0] == Step("global.mappings[0]", "type", "track")


def test_javascript_logs_objects_as_json() -> None:
    body = "function transform_event(e) { console.log('e', {a: [1]}, undefined); return e }"
    steps = ask(function_work(body, "javascript"), explain=True).steps
    assert [step.value for step in steps if step.path == "log"] == ['e {"a":[1]} undefined']


def test_functions_run_before_and_after_the_mappings_in_their_languages() -> None:
    before = "def transform_event(e, m): return [e, {**e, 'event': 'Copy'}]"
    after = "function transform_event(e, m) { e.js = m.event.messageId; return e }"
    tree = {
        "version": 1,
        "functions": [
            {"lang": "python", "when": "before", "body": before},
            {"lang": "javascript", "when": "after", "body": after},
        ],
        "global": {
            "mappings": [{"inputKey": "event", "outputKey": "name"}],
            "expressions": [{"lang": "lua", "name": "n", "body": "return {n = #input.event}"}],
        },
    }
    answer = ask(Work("app/crm", msgspec.json.encode(tree)))
    assert list(answer.outputs) == [
        {"name": "Order Completed", "n": 15, "js": "m-1"},
        {"name": "Copy", "n": 4, "js": "m-1"},
    ]


SPOILS = (
    "def transform_event(e, m):\n    e['properties'].clear()\n    kept.append(e)\n    %s\nkept = []"
)


@pytest.mark.parametrize("ending", ["raise ValueError('no')", "return 7", "return [7]"])
def test_what_a_function_did_to_its_event_shows_in_no_failure(ending: str) -> None:
    failure = ask(function_work(SPOILS % ending, when="before")).failure
    assert failure is not None
    assert msgspec.json.decode(failure.input) == EVENT
    assert failure.partial is None


def test_what_a_function_did_to_its_event_is_not_seen_by_those_after_the_mappings() -> None:
    after = "def transform_event(e, m): return {'is': e, 'was': m['event']}"
    spoiled = {**EVENT, "properties": {}}
    between = [
        ("python", "def transform_event(e, m): return e"),
        ("javascript", "function transform_event(e) { return e }"),
    ]
    for more in ([], between):
        tree = {
            "version": 1,
            "functions": [
                {"lang": "python", "when": "before", "body": SPOILS % "return e"},
                *[{"lang": lang, "when": "before", "body": body} for lang, body in more],
                {"lang": "python", "when": "after", "body": after},
            ],
            **WHOLE,
        }
        answer = ask(Work("app/crm", msgspec.json.encode(tree)))
        assert answer.outputs == ({"is": spoiled, "was": EVENT},)


def test_what_a_function_keeps_and_changes_later_changes_no_later_event() -> None:
    body = (
        "kept = []\n"
        "def transform_event(e, m):\n"
        "    for each in kept: each['properties']['revenue'] = 0\n"
        "    kept.append(e)\n"
        "    return e"
    )

    async def story() -> Any:
        async with workshop() as shop:
            shaper = await shop.open(function_work(body, when="before"))
            return await shaper.shape([(EVENT, moment(n)) for n in range(3)])

    assert [answer.outputs for answer in asyncio.run(story())] == [(EVENT,)] * 3


def test_params_are_filled_in() -> None:
    tree = {
        "version": 1,
        "params": [{"name": "PIXEL"}],
        "functions": [{"lang": "python", "when": "after", "body": "def transform_event(e, m): 1"}],
        **WHOLE,
    }
    work = Work("app/crm", msgspec.json.encode(tree))
    with pytest.raises(PlaybookError, match="PIXEL"):
        ask(work)
    assert ask(msgspec.structs.replace(work, params={"PIXEL": "7"})).filtered == "functions[0]"


def code(body: str, reads: tuple[str, ...] = ("request", "batch")) -> Work:
    return Work("app/crm", code={"default": CodeSource("lua", body, reads, "connection.transform")})


def call(work: Work, **values: Any) -> Any:
    async def story() -> Any:
        async with workshop() as shop:
            return await (await shop.open(work)).call("default", values)

    return asyncio.run(story())


def test_named_code_runs_over_its_values() -> None:
    body = "request.body = {events = batch, n = #batch} return request"
    request = {"url": "https://x.example", "headers": {"A": "1"}, "body": []}
    answer = call(code(body), request=request, batch=[{"a": 1}, {"a": 2}])
    assert answer == request | {"body": {"events": [{"a": 1}, {"a": 2}], "n": 2}}


def test_named_code_says_where_it_fails() -> None:
    with pytest.raises(CodeError, match="no") as caught:
        call(code("\n\nerror('no')"), request={}, batch=[])
    assert caught.value.line == 3


def test_named_code_that_loops_is_killed() -> None:
    with pytest.raises(CodeError, match=r"took longer than 0\.25 s"):
        call(code("while true do end"), request={}, batch=[])


def test_named_code_that_does_not_load_names_its_place() -> None:
    with pytest.raises(PlaybookError) as caught:
        call(code("return ("))
    (problem,) = caught.value.problems
    assert problem.path == "connection.transform"
    assert problem.message.startswith("line 1: ")


def test_a_work_without_a_playbook_passes_events_on() -> None:
    assert list(ask(code("return 1")).outputs) == [EVENT]


def test_answers_that_are_too_long_together_are_asked_for_one_by_one() -> None:
    body = "def transform_event(e, m): return {'x': 'x' * e['n']}"

    async def story() -> list[Any]:
        async with workshop(reply_bytes_max=1_000_000) as shop:
            shaper = await shop.open(function_work(body))
            sizes = [300_000, 300_000, 300_000, 300_000, 1_000_100]
            return await shape(shaper, *[{"type": "track", "n": n} for n in sizes])

    answers = asyncio.run(story())
    assert [len(answer[0]["x"]) for answer in answers[:4]] == [300_000] * 4
    assert re.fullmatch(
        r"its output has [\d,]+ bytes as JSON; at most 1,000,000 are taken", answers[4]
    )


def test_an_event_that_is_too_large_for_code_is_said_so() -> None:
    async def story() -> list[Any]:
        async with workshop() as shop:
            shaper = await shop.open(function_work("def transform_event(e, m): return {}"))
            return await shape(shaper, {"type": "track", "x": "x" * 5_000_000}, EVENT)

    first, second = asyncio.run(story())
    assert re.fullmatch(r"has [\d,]+ bytes; code is given at most 4,194,304", first)
    assert second == [{}]
