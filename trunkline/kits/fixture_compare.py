"""What differs between the requests that a fixture has and those that its events made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from trunkline.kit.destination import Request
from trunkline.kits.fixture_spec import ExpectedRequest
from trunkline.playbook.comparing import ABSENT, changes

_CHANGES_MAX = 30
_MORE = "…"


def compare_requests(expected: Sequence[ExpectedRequest], found: Sequence[Request]) -> list[str]:
    """Return a line for each difference; none where all is as expected."""
    problems: list[str] = []
    if len(expected) != len(found):
        urls = ", ".join(f"{one.method} {one.url[:200]}" for one in found)
        problems.append(f"made {len(found)} requests ({urls or 'none'}); expected {len(expected)}")
    for number, (want, got) in enumerate(zip(expected, found, strict=False), 1):
        problems += [f"request {number}: {line}" for line in _compare(want, got)]
    return problems


def _compare(want: ExpectedRequest, got: Request) -> Iterator[str]:
    if want.method and want.method != got.method:
        yield f"method is {got.method}; expected {want.method}"
    if want.url and not _is_same_url(want.url, got.url):
        yield f"url is {got.url}; expected {want.url}"
    headers = {name.lower(): value for name, value in got.headers}
    for name, value in want.headers.items():
        found = headers.get(name.lower(), ABSENT)
        if found != value:
            yield f"header {name} is {found!r}; expected {value!r}"
    yield from _compare_body(want.body, got.body)


def _is_same_url(want: str, got: str) -> bool:
    """Compare two URLs; the order of the query's fields does not count."""
    first, second = urlsplit(want), urlsplit(got)
    if first[:3] != second[:3]:
        return False
    one, other = (parse_qsl(each.query, keep_blank_values=True) for each in (first, second))
    return sorted(one) == sorted(other)


def _compare_body(want: Any, got: bytes) -> Iterator[str]:
    body = _read(want, got)
    if want is None and not got:
        return
    for change in changes(want, body)[:_CHANGES_MAX]:
        path = f"body.{change.path}" if change.path else "body"
        yield f"{path} is {_shown(change.after)}; expected {_shown(change.before)}"


def _read(want: Any, got: bytes) -> Any:
    """Return a body as its fixture writes it: JSON, the fields of a form, or text."""
    text = got.decode("utf-8", "replace")
    if isinstance(want, str):
        return text
    try:
        return msgspec.json.decode(got)
    except msgspec.DecodeError:
        return dict(parse_qsl(text, keep_blank_values=True)) if isinstance(want, dict) else text


def _shown(value: Any) -> str:
    return value if value == ABSENT else msgspec.json.encode(value).decode()[:300]


def compare_notes(expected: Sequence[str], found: Sequence[str]) -> list[str]:
    """Compare notes. One that ends in `…` stands for all that begin so; none given: not compared.

    Notes that a fixture does not name are no fault of it.
    """
    return [
        f"no note {note!r}; there are: {'; '.join(found) or 'none'}"
        for note in expected
        if not any(_is_note(note, one) for one in found)
    ]


def _is_note(expected: str, found: str) -> bool:
    if expected.endswith(_MORE):
        return found.startswith(expected.removesuffix(_MORE).rstrip())
    return found == expected
