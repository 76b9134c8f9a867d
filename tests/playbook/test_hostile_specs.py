"""Whatever stands in a playbook is data: it comes out again as it went in, or is refused."""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Hashable
from typing import Any

import pytest

from tests.support.playbook_fuzz import MOMENT
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.closures import closures_of
from trunkline.playbook.code import CodeShelf
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.plan import plan_filters, plan_parts
from trunkline.playbook.program import PlaybookError
from trunkline.playbook.source import ForeignSource, compile_route, write_route

CANARY = "TRUNKLINE_TEST_CANARY"
RUN = f"__import__('os').environ.__setitem__('{CANARY}', '1')"
TEXTS: tuple[str, ...] = (
    "'", '"', '"""', "'''", "\\", "\\'", "\n", "\r\n", "\t", "\0", "\x1b[2J", "\u2028", "\x85", " ",
    "{}", "{0}", "{event}", "%s", "${x}", "`x`", "$(x)", "#", ";", ":", "(", ")", "[", "]", "*",
    RUN, f"'); {RUN}; ('", f'"]; {RUN}; x["', f"\n {RUN}\n", f"\\n{RUN}#", f"{{{RUN}}}",
    "__class__", "__init__", "__globals__", "__builtins__", "__proto__", "constructor", "self",
    "event", "out", "moment", "run", "k1", "v2", "None", "True", "def", "lambda", "import", "exec",
    "format", "items", "get", "keys", "clear", "pop",
    "ü", "ﬀ", "İ", "ß", "٣", "۰", "①", "²", "\u200b", "\u202e", "\ufeff", "😀", "e\u0301",
    "0", "-1", "1e309", "9" * 5000, "0x10", "1_000", "+1", "NaN", "inf", "00", "1.0",
    "$$", "$$X", "$$X$$", "$$$$", "x" * 65_536, "x" * 65_537, "", "a.b", ".", "..", ".a", "a.",
    "input", "input.a", "_metarouter_batch",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, -1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400, 1e308, 5e-324, -0.0, True, None,
    float("inf"), float("nan"), [], {}, b"bytes", {1, 2}, object(),
)  # fmt: skip

SPOTS = {
    "output key": lambda x: rule("mappings", inputKey="type", outputKey=x),
    "input key": lambda x: rule("mappings", inputKey=x, outputKey="a"),
    "default": lambda x: rule("mappings", inputKey="a", outputKey="a", defaultString=x),
    "constant": lambda x: rule("enrichments", outputKey="a", staticString=x),
    "id": lambda x: rule("enrichments", outputKey=x, uuid="v4"),
    "prefix": lambda x: rule(
        "spreadings", inputKey="properties", flatten={"separator": x, "prefix": x}
    ),
    "transform": lambda x: rule(
        "mappings", inputKey="type", outputKey="a",
        transforms=[{"mapEnum": {"values": {"page": x}}}],
    ),
    "filter": lambda x: rule("filters", byConditions={"action": "deny", "when": {
        "stringEqual": {"inputPath": "type", "value": x}}}),
    "pattern": lambda x: rule("filters", byConditions={"action": "deny", "when": {
        "stringMatches": {"inputPath": "type", "value": x}}}),
    "event": lambda x: {"eventSpecific": {x: {"mappings": [MAPPING]}}, "default": {}},
    "names": lambda x: rule("filters", byEventNames={"action": "deny", "events": [x]}),
    "operator": lambda x: rule("filters", byConditions={"action": "deny", "when": {x: {}}}),
    "name of a transform": lambda x: rule("mappings", **MAPPING, transforms=[{x: {}}]),
    "section": lambda x: {x: {}},
    "param": lambda x: {"params": [{"name": x, "defaultValue": "v"}]},
    "whole number": lambda x: rule("enrichments", outputKey="a", staticInt=x),
    "float": lambda x: rule("mappings", inputKey="a", outputKey="a", defaultFloat=x),
    "limit": lambda x: rule("filters", byConditions={"action": "deny", "when": {
        "numberLess": {"inputPath": "type", "value": x}}}),
}  # fmt: skip
KEYED = ("event", "operator", "name of a transform", "section")  # there it is the key of an object
MAPPING = {"inputKey": "type", "outputKey": "a"}
EVENT = {"type": "page", "properties": {"a": 1, "__class__": {"b": [1]}}}


def rule(part: str, **fields: Any) -> dict[str, Any]:
    return {"global": {part: [fields]}}


def becomes(tree: Any) -> str:
    """Return what a playbook became: refused, or data."""
    try:
        playbook = parse_playbook(tree)
        program = compile_playbook(playbook, {})
    except PlaybookError as error:
        assert all(problem.message for problem in error.problems)
        return "refused"
    told = program.explain(EVENT, MOMENT)
    assert told == closures_of(playbook, {}).explain(EVENT, MOMENT)
    assert program.shape(EVENT, MOMENT).outputs == told.outputs
    return "data"


@pytest.mark.parametrize("spot", SPOTS)
def test_hostile_texts_and_numbers_are_data_or_refused(
    spot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CANARY, raising=False)
    values = [x for x in (*TEXTS, *NUMBERS) if spot not in KEYED or isinstance(x, Hashable)]
    found = Counter(becomes(SPOTS[spot](value)) for value in values)
    assert CANARY not in os.environ
    assert found.total() == len(values) > 100
    assert found["refused"], "no spot takes everything"


def test_hostile_texts_come_out_as_they_went_in() -> None:
    for text in TEXTS:
        if len(text) > 65_536 or text == "$$X$$":
            continue
        for spot in ("default", "constant", "transform"):
            program = compile_playbook(parse_playbook(SPOTS[spot](text)), {})
            assert program.shape(EVENT, MOMENT).outputs == ({"a": text},), (spot, text)


def test_a_source_holds_no_text_of_the_playbook() -> None:
    """Every name and number in it is the generator's; every text is in the table."""
    for spot, build in SPOTS.items():
        for text in TEXTS:
            try:
                section = parse_playbook(build(text)).every
                makes = tuple(plan_parts("global", section, CodeShelf(None)))
                drops = tuple(plan_filters("global", section))
            except (PlaybookError, ValueError):
                continue
            for is_noting in (False, True):
                source, _ = write_route(drops, makes, is_noting=is_noting)
                nodes = list(ast.walk(ast.parse(source)))
                constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
                assert all(c is None or type(c) is int for c in constants), (spot, text)
                attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
                assert attributes <= {"get", "now_ms"}


@pytest.mark.parametrize(
    "source",
    [
        "def run(event, name, out, moment):\n return 'text'\n",
        "def run(event, name, out, moment):\n return __import__\n",
        "def run(event, name, out, moment):\n return event.clear()\n",
        "def run(event, name, out, moment):\n return k1; k2\n",
        "def run(event, name, out, moment):\n return k1 + k2\n",
        "import os\n",
        "def run(event, name, out, moment):\n return ｋ1\n",
    ],
)
def test_a_source_with_anything_foreign_in_it_does_not_run(source: str) -> None:
    with pytest.raises(ForeignSource, match="no generated source has this in it"):
        compile_route(source, {"k1": 1, "k2": 2})
