"""What every refusal of every protocol tells: which event, which field, what came, what to send.

Over all golden cases. A sentence is `what is wrong; what to do`: its first half names the thing
that was judged and what it was, its second half what is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.support.golden_catalogs import Staged, stage_cases
from trunkline.model.record import Posting

CASES = list(stage_cases())

# What a sentence may be about, beside a field of what was sent.
SUBJECTS = (
    "the event", "a track event", "a group event", "an alias event", "a businessEvent",
    "the request", "the body", "a batch", "the batch", "messages", "this", "the header",
    "the metadata", "what stands beside", "the write key", "no write key", "the app id",
    "the organisation's plan", "S2S events", "no event with the slug", "the Server key",
    "objects and arrays", "a number cannot be kept: in ", "the Idempotency-Key header",
)  # fmt: skip
# A field by its path, as its sender wrote it; `eventID of the metadata`.
FIELD = re.compile(r"[A-Za-z_][\w.…]* (?:of the metadata )?(?:is|holds) \S")
HINTS = (
    "send ", "copy ", "add ", "define ", "ask ", "enable ", "restore ", "rotate ", "flatten ",
    "leave ",
)  # fmt: skip
# Codes of a value that came and was wrong: the sentence repeats it, or says that it is missing.
VALUED = {
    "invalid_field", "invalid_time", "invalid_timestamp", "invalid_message_id", "unknown_type",
    "missing_field", "invalid_number",
}  # fmt: skip
CAME = re.compile(
    r' (?:is|are|in) (?:"|missing|an? |true|false|null|-?[0-9]|under |[\w.]+, )', re.IGNORECASE
)


class Told(NamedTuple):
    """A refusal as its sender reads it."""

    code: str
    sentence: str
    index: int | None


def tell(staged: Staged) -> Iterator[Told]:
    decoded = staged.protocol.decode(staged.request, staged.snapshot)
    if decoded.answer.content_type != "application/json":
        return
    said: dict[str, Any] = msgspec.json.decode(decoded.answer.body)
    if decoded.answer.status >= 400:
        code = said["type"] if "type" in said else said["code"]
        yield Told(code, said.get("description") or said["message"], None)
    for each in said.get("rejected", ()):
        yield Told(each["code"], each["message"], each["index"])
    for kept in decoded.refused:
        yield Told(kept.code, kept.message, None)


@pytest.mark.parametrize("staged", CASES, ids=str)
def test_a_refusal_names_what_was_judged_what_came_and_what_to_send(staged: Staged) -> None:
    for told in tell(staged):
        wrong, separator, hint = told.sentence.partition("; ")
        assert separator, told
        assert hint.startswith(HINTS) or "; send" in hint or wrong.endswith("cannot be kept"), told
        assert wrong.startswith(SUBJECTS) or FIELD.match(wrong), told
        if told.code in VALUED:
            assert CAME.search(wrong), told


@pytest.mark.parametrize("staged", CASES, ids=str)
def test_the_index_is_where_the_event_stood(staged: Staged) -> None:
    indexes = [told.index for told in tell(staged) if told.index is not None]
    if not indexes:
        return
    body = msgspec.json.decode(staged.request.body) if _is_json(staged) else None
    lists = [(body or {}).get(name) for name in ("batch", "messages", "recipients")]
    events = next(filter(None, lists), [])
    assert indexes == sorted(set(indexes))
    for index in indexes:
        assert body is None or index < len(events)
    kept = staged.protocol.decode(staged.request, staged.snapshot).refused
    assert len(kept) <= len(indexes)
    for each in kept:  # what stood in an array of events is found there again by its owner
        if isinstance(each.origin, Posting):
            assert each.origin.index in indexes if each.origin.within else each.origin.index == -1


def _is_json(staged: Staged) -> bool:
    try:
        msgspec.json.decode(staged.request.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def test_refusals_of_every_protocol_are_among_the_cases() -> None:
    counts: dict[str, int] = {}
    for staged in CASES:
        name = staged.protocol.name
        counts[name] = counts.get(name, 0) + len(list(tell(staged)))
    assert all(count >= 4 for count in counts.values()), counts
    assert len(counts) == 6
