"""The reference page of transforms and functions, written from themselves.

What a person reads there is what the tests run: the same examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from trunkline.playbook.functions import FUNCTIONS, Helper, HelperExample
from trunkline.playbook.lua_values import DEPTH_MAX, VALUES_MAX
from trunkline.playbook.scalars import ARRAY_MAX
from trunkline.playbook.spec import TEXT_MAX
from trunkline.playbook.transforms import TRANSFORMS, Transform

_HEAD = f"""# Transforms and functions of playbooks

Null goes in and comes out of all of them, what does not fit becomes null, and nothing fails. Of a
text the first {TEXT_MAX:,} characters count, of a list the first {ARRAY_MAX:,} items."""

_TRANSFORMS = """## Transforms

A mapping lists them: `transforms: [{modifyString: trim}, {toHash: sha256}]`. One more,
`expression`, runs code."""

_FUNCTIONS = """## Functions

Lua expressions, Python and JavaScript functions may call these; the examples are written as JSON.
A time is RFC 3339, a date, or Unix time: seconds below 100,000,000,000, else milliseconds."""

_LAYOUTS = """## Layouts

A layout spells one moment, Monday, 2 January 2006, 15:04:05, in the zone -07:00:

| part | written |
|---|---|
| year | `2006`, `06` |
| month | `01`, `1`, `Jan`, `January` |
| day | `02`, `2`, `_2` (with a space); of the year `002` |
| weekday | `Mon`, `Monday` |
| hour | `15`; of twelve `03`, `3` with `PM` or `pm` |
| minute, second | `04`, `4`, `05`, `5` |
| fraction of a second | `.000` always, `.999` without zeros at the end |
| zone | `-07:00`, `-0700`, `-07`; `Z07:00`, `Z0700` with `Z` for UTC; `MST` its name |

Reading, a fraction may follow the seconds unasked, and a text without a zone is UTC. Writing, a
layout with a bare `Z` gets UTC. A time that the layout does not fit is read as RFC 3339, if it is
that."""

_LUA = f"""## Lua

Expressions are Lua 5.1 over `input`, with the functions above, `string`, `table`, `math` and
`os.time()`. Each call begins with fresh globals, and `math.random` and `os.time` give the same at
every attempt to deliver the event.

* nil can be indexed, joined, added to, called as a method and walked through: `input.a.b.c`,
  `input.url:match("x")`, `input.price * 2` and `tostring(nil)` are nil. It cannot be compared with
  a number: write `(input.price or 0) > 5`. A call of a function that does not exist is an error.
* null comes in as nil, and whole numbers beyond 2^53 as text. An empty list stays a list and an
  empty object an object.
* A table with the keys 1, 2, … comes out as a list, any other as an object; an empty table that
  the code made as a list. At most {DEPTH_MAX} levels and {VALUES_MAX:,} values."""


def describe_playbook_library() -> str:
    """Return a Markdown page of all transforms, functions and layouts."""
    rows = [_transform_row(transform) for transform in TRANSFORMS.values()]
    transforms = _table(("transform", "argument", "what it does", "examples"), rows)
    calls = [_function_row(helper) for helper in FUNCTIONS.values()]
    functions = _table(("function", "what it gives", "examples"), calls)
    return (
        "\n\n".join((_HEAD, _TRANSFORMS, transforms, _FUNCTIONS, functions, _LAYOUTS, _LUA)) + "\n"
    )


def _transform_row(transform: Transform) -> tuple[str, ...]:
    shown = [
        f"`{_json(e.argument)}`: `{_json(e.input)}` → `{_json(e.output)}`"
        for e in transform.examples
    ]
    return f"`{transform.name}`", transform.argument, transform.description, "<br>".join(shown)


def _function_row(helper: Helper) -> tuple[str, ...]:
    shown = [f"`{_call(helper, e)}` → `{_json(e.output)}`" for e in helper.examples]
    return f"`{helper.signature}`", helper.description, "<br>".join(shown)


def _call(helper: Helper, example: HelperExample) -> str:
    arguments = example.shown or ", ".join(_json(argument) for argument in example.arguments)
    return f"{helper.name}({arguments})"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in r) + " |" for r in lines
    )
