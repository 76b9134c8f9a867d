"""Who is suppressed, and that nothing of them can be read from what is kept."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given

from tests.support.forwarding import APP, destination, snapshot
from tests.support.json_values import JSON
from trunkline.kit.suppression import (
    DIGEST_BYTES,
    PersonKind,
    Suppressed,
    normal_person,
    person_digest,
    suppressed_of,
)
from trunkline.model.snapshot import Snapshot

KEY = bytes(range(32))
HASHED = hashlib.sha256(b"jane@example.com").hexdigest()


def suppressed(*people: tuple[PersonKind, str], app: str = "shop", key: bytes = KEY) -> Suppressed:
    digests = [person_digest(key, app, kind, normal_person(kind, text)) for kind, text in people]
    return Suppressed(key, "shop", b"".join(digests))


def holds(people: Suppressed, **event: Any) -> bool:
    return people.holds(msgspec.json.encode({"messageId": "m", "type": "track", **event}))


def test_a_person_is_known_by_every_id_that_was_named() -> None:
    people = suppressed(("user", "u-42"), ("anonymous", "a-7"), ("email", " Jane@Example.com"))
    assert holds(people, userId="u-42")
    assert holds(people, anonymousId="a-7", userId="u-1")
    for holder in (
        {"traits": {"email": "JANE@example.com "}},
        {"context": {"traits": {"email": "jane@example.com"}}},
        {"properties": {"email": HASHED.upper()}},
        {"userId": "jane@example.com"},
    ):
        assert holds(people, **holder)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"userId": "u-43"},
        {"userId": "a-7"},
        {"anonymousId": "u-42"},
        {"userId": "U-42"},
        {"userId": 42, "traits": [], "context": None, "properties": "u-42"},
        {"properties": {"userId": "u-42", "email": "joe@example.com"}},
    ],
)
def test_nobody_else_is(event: dict[str, Any]) -> None:
    people = suppressed(("user", "u-42"), ("anonymous", "a-7"), ("email", "jane@example.com"))
    assert not holds(people, **event)


def test_people_belong_to_their_app_and_their_key() -> None:
    assert not holds(suppressed(("user", "u-42"), app="other"), userId="u-42")
    other = Suppressed(b"another key", "shop", person_digest(KEY, "shop", "user", "u-42"))
    assert not holds(other, userId="u-42")


def test_one_event_after_the_other_gets_its_own_answer() -> None:
    people = suppressed(("user", "u-42"))
    first, second = (
        msgspec.json.encode({"userId": "u-42"}), msgspec.json.encode({"userId": "u-43"}),
    )  # fmt: skip
    answers = [people.holds(event) for event in (first, first, second, first, second)]
    assert answers == [True, True, False, True, False]


def test_the_same_people_are_taken_over_from_the_snapshot_before() -> None:
    digest = person_digest(KEY, APP, "user", "u-42")

    def made(packed: bytes, version: int) -> Snapshot:
        found = snapshot(version, destination())
        apps = tuple(msgspec.structs.replace(app, suppressed=packed) for app in found.apps)
        return msgspec.structs.replace(found, apps=apps, suppression_key=KEY)

    before = suppressed_of(made(digest, 1))
    assert suppressed_of(made(bytes([*digest]), 2), before)[APP] is before[APP]
    assert suppressed_of(made(digest * 2, 2), before)[APP] is not before[APP]
    assert suppressed_of(made(b"", 2), before) == {}


def test_a_digest_says_nothing_of_the_id() -> None:
    digest = person_digest(KEY, "shop", "user", "u-42")
    assert len(digest) == DIGEST_BYTES and b"u-42" not in digest
    assert digest != hashlib.blake2b(b"u-42", digest_size=DIGEST_BYTES).digest()


@pytest.mark.parametrize(("kind", "text"), [("email", "nobody"), ("email", ""), ("user", " ")])
def test_what_is_no_person_is_none(kind: PersonKind, text: str) -> None:
    assert normal_person(kind, text) == ""


@given(JSON)
def test_no_event_makes_it_fail(value: Any) -> None:
    people = suppressed(("user", "u-42"))
    event = {"userId": value, "traits": value, "context": {"traits": value}, "properties": value}
    assert people.holds(msgspec.json.encode(event)) is False
    assert people.holds(msgspec.json.encode(value)) is False
    assert people.holds(b"{") is False
