"""Finding calls of functions that do not exist before a body runs.

In a world where nil can be read without harm a misspelt name would go unseen until its line is
reached. A name counts as known if the world has it, or if it stands in the body anywhere but in
front of an argument list: that is where it is made.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from trunkline.playbook.program import CodeError

_TOKEN = re.compile(
    r"(?P<comment>--\[(?P<level>=*)\[.*?(?:\](?P=level)\]|\Z)|--[^\n]*)"
    r"|(?P<text>\[(?P<deep>=*)\[.*?(?:\](?P=deep)\]|\Z)"
    r'|"(?:\\.|[^"\\\n])*+"?|\'(?:\\.|[^\'\\\n])*+\'?)'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*+)|(?P<dots>\.\.+)|(?P<other>[^\s])",
    re.DOTALL,
)
_KEYWORDS = frozenset(
    {
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in",
        "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
    }
)  # fmt: skip
_KINDS = ("text", "name", "dots", "other")


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def check_calls(body: str, known: Collection[str]) -> None:
    """Raise `CodeError` for the first call of a name that is neither known nor made in the body."""
    tokens = list(_tokens(body))
    called: dict[str, int] = {}
    made: set[str] = set()
    for number, token in enumerate(tokens):
        if token.kind != "name" or token.text in _KEYWORDS:
            continue
        before = tokens[number - 1].text if number else ""
        if before in (".", ":"):
            continue
        after = tokens[number + 1] if number + 1 < len(tokens) else _Token("", "", 0)
        if before != "function" and (after.kind == "text" or after.text in ("(", "{")):
            called.setdefault(token.text, token.at)
        else:
            made.add(token.text)
    for name, at in called.items():
        if name not in known and name not in made:
            raise CodeError(_complaint(name, known), body.count("\n", 0, at) + 1)


def _tokens(body: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(body):
        if match["comment"] is None:
            kind = next(kind for kind in _KINDS if match[kind] is not None)
            yield _Token(kind, match[0], match.start())


def _complaint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), 1, 0.6)
    hint = f"did you mean `{close[0]}`?" if close else "the reference of playbooks lists them all"
    return f"there is no function `{name[:100]}`; {hint}"
