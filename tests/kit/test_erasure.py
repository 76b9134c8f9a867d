"""Whose an event is, what is looked for, and what is left of records."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from trunkline.kit.erasure import Person, mentions, rest_of_accepted, rest_of_stored
from trunkline.kit.identifiers import Identifier
from trunkline.model.record import (
    AcceptedEvent,
    AcceptedRefusal,
    StoredEvent,
    decode_accepted,
    decode_stored,
)

JANE = Person(
    "shop",
    frozenset(
        {
            Identifier("userId", "jane"),
            Identifier("anonymousId", "browser-1"),
            Identifier("device", "ios:ab-12"),
        }
    ),
    100,
)


def canonical(**fields: Any) -> bytes:
    return msgspec.json.encode({"messageId": "m", "type": "track", **fields})


@pytest.mark.parametrize(
    ("event", "is_hers"),
    [
        ({"userId": "jane"}, True),
        ({"userId": "jane", "anonymousId": "elsewhere"}, True),
        ({"anonymousId": "browser-1"}, True),
        ({"userId": "joe", "anonymousId": "browser-1"}, False),  # a shared computer
        ({"userId": "joe", "properties": {"friend": "jane"}}, False),
        ({"userId": "browser-1"}, False),  # an account that is called as her browser is
        ({"type": "alias", "userId": "jane-2", "previousId": "jane"}, True),
        ({"context": {"device": {"type": "ios", "advertisingId": "AB-12"}}}, True),
        ({"userId": "browser-1", "anonymousId": "browser-1", "source": {"protocol": "s2s"}}, True),
        ({}, False),
    ],
)
def test_the_surest_identifier_says_whose_an_event_is(event: dict[str, Any], is_hers: bool) -> None:
    body = canonical(**event)
    assert JANE.owns(body) == is_hers
    assert mentions(body, JANE.hints()) or not is_hers


@pytest.mark.parametrize("user", ["jane", 'a "quoted" \\ name', "مریم", "tab\there", "😀"])
@pytest.mark.parametrize("is_escaped", [True, False])
def test_hints_find_an_id_however_it_is_written(user: str, is_escaped: bool) -> None:
    person = Person("shop", frozenset({Identifier("userId", user)}), 1)
    body = json.dumps({"userId": user}, ensure_ascii=is_escaped).encode()
    assert mentions(body, person.hints())
    assert mentions(msgspec.msgpack.encode({"user": user}), person.hints())


def test_what_is_no_event_is_nobodys() -> None:
    assert not JANE.owns(b"") and not JANE.owns(b"[1]") and not JANE.owns(b"{}")


SECRETS = (b"jane", b"browser-1", b"192.0.2.7", b"a-request", b"agent", b"private")
STORED = StoredEvent(
    3, 17, "shop", "m-1", "u:jane", "track", "Bought", 4, 1000, "tracking", "web", "192.0.2.7",
    "a-request", True, None, canonical(userId="jane", properties={"x": "private"}), b"private",
    ("private",),
)  # fmt: skip


def test_what_is_left_of_an_event_is_what_counts_and_duplicates_need() -> None:
    record = rest_of_stored(STORED, 99, 5000)
    assert not mentions(record.key + record.value, SECRETS)
    left = decode_stored(record.value)
    kept = ("origin_partition", "origin_offset", "app", "message_id", "type", "name", "snapshot",
            "received_ms", "protocol", "key", "historical")  # fmt: skip
    assert [getattr(left, name) for name in kept] == [getattr(STORED, name) for name in kept]
    assert (left.erased_ms, left.event, record.stamp) == (5000, b"{}", 99)
    # Only a track event is counted by its name; that of a page may hold anything.
    page = rest_of_stored(msgspec.structs.replace(STORED, type="page", name="private"), 1, 1)
    assert decode_stored(page.value).name == ""


def test_what_is_left_of_what_came_in_has_its_place_in_the_counts() -> None:
    event = AcceptedEvent(
        "shop", "m-1", "u:jane", "tracking", "track", "web", True, 4, 1000, "192.0.2.7", "agent",
        "a-request", b'{"sentAt":"private"}', b'{"userId":"jane"}', ("private",), True,
    )  # fmt: skip
    refusal = AcceptedRefusal(
        "shop", "tracking", "web", 4, 1000, "192.0.2.7", "a-request", "invalid_field",
        "userId is jane", "jane-1", b"private", 7,
    )  # fmt: skip
    for record in (rest_of_accepted(event, 9), rest_of_accepted(refusal, 9)):
        assert not mentions(record.key + record.value, SECRETS)
        assert record.stamp == 9
    left = decode_accepted(rest_of_accepted(event, 9).value)
    assert isinstance(left, AcceptedEvent)
    assert (left.app, left.message_id, left.received_ms, left.historical) == (
        "shop", "m-1", 1000, True,
    )  # fmt: skip
    refused = decode_accepted(rest_of_accepted(refusal, 9).value)
    assert isinstance(refused, AcceptedRefusal)
    assert (refused.code, refused.count) == ("invalid_field", 7)
