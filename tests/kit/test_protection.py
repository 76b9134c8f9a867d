"""What a destination may see of an event: fields removed and hashed, and nothing else changed."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forwarding import destination
from tests.support.json_values import JSON
from trunkline.kit.destination import Mapped, map_event
from trunkline.kit.protection import (
    NOTES_MAX,
    path_problem,
    protect_all,
    protection_notes,
    protector,
)

EVENT: dict[str, Any] = {
    "messageId": "m-1", "type": "track", "app": "shop", "event": "Order Completed",
    "userId": "u-42", "anonymousId": "a-7",
    "traits": {"email": " Jane@Example.com ", "phone": "+98 (912) 000-1234", "plan": "gold"},
    "context": {"ip": "203.0.113.7", "traits": {"emailAddress": "x@y.z"}, "page": {"url": "u"}},
    "properties": {
        "push_token": "t1", "web_token": "t2", "tokens": 3, "note": None,
        "products": [{"id": 1, "coupon": "A"}, {"id": 2, "coupon": "B"}, "odd"],
        "items": [["x", {"coupon": "C"}]],
    },
}  # fmt: skip
JANE = "8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d"
PHONE = "7599f20753261a1947ade0a0d0d7fa921aafc6cbccf6fd2ea7224e1b71b7c67b"


def seen(event: Any = EVENT, deny: Any = (), hashed: Any = ()) -> dict[str, Any]:
    config = destination(deny_fields=tuple(deny), hash_fields=tuple(hashed))
    (made,) = protect_all(config, [map_event(event)])
    return made.value


def without(*paths: tuple[Any, ...]) -> dict[str, Any]:
    event = copy.deepcopy(EVENT)
    for *way, last in paths:
        place: Any = event
        for step in way:
            place = place[step]
        del place[last]
    return event


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("context.ip", [("context", "ip")]),
        ("context", [("context",)]),
        ("properties.*_token", [("properties", "push_token"), ("properties", "web_token")]),
        ("properties.t*s", [("properties", "tokens")]),
        ("*.traits", [("context", "traits")]),
        ("properties.products.coupon",
         [("properties", "products", 0, "coupon"), ("properties", "products", 1, "coupon")]),
        ("properties.products.1.coupon", [("properties", "products", 1, "coupon")]),
        ("properties.products.2", [("properties", "products", 2)]),
        ("properties.items.coupon", [("properties", "items", 0, 1, "coupon")]),
        ("properties.note", [("properties", "note")]),
        ("properties.nothing", []),
        ("event.name", []),
        ("Context.ip", []),
    ],
)  # fmt: skip
def test_a_denied_field_is_gone_and_the_rest_stays(path: str, gone: list[Any]) -> None:
    before = copy.deepcopy(EVENT)
    assert seen(deny=[path]) == without(*gone)
    assert before == EVENT


def test_all_items_of_a_list_can_be_denied() -> None:
    assert seen(deny=["properties.products.*"])["properties"]["products"] == []
    assert seen(deny=["properties.products.*.id"])["properties"]["products"] == [
        {"coupon": "A"}, {"coupon": "B"}, "odd",
    ]  # fmt: skip


def test_what_makes_an_event_one_stays() -> None:
    assert seen(deny=["*"]) == {"messageId": "m-1", "type": "track", "app": "shop"}


def test_the_default_hashes_addresses_and_numbers_wherever_they_stand() -> None:
    made = seen(hashed=["default"])
    assert made["traits"] == {"email": JANE, "phone": PHONE, "plan": "gold"}
    hashed = hashlib.sha256(b"x@y.z").hexdigest()
    assert made["context"]["traits"] == {"emailAddress": hashed}
    assert made["userId"] == "u-42"
    properties = {"Email": "no address", "mobile": 9120001234, "email_sent": True, "phone": None}
    made = seen({**EVENT, "properties": properties}, hashed=["default"])["properties"]
    # What is no address and no number does not go out as it stands all the same.
    assert made["Email"] == hashlib.sha256(b"no address").hexdigest()
    assert made["mobile"] == hashlib.sha256(b"9120001234").hexdigest()
    assert (made["email_sent"], made["phone"]) == (True, None)


def test_the_default_finds_contacts_however_deep_and_whatever_stands_before_the_word() -> None:
    address = hashlib.sha256(b"x@y.z").hexdigest()
    properties: dict[str, Any] = {
        "customer": {"contact-Email": "X@y.z", "tier": 1}, "billing_e_mail": "x@y.z",
        "guests": [{"mobile_number": "+98 912 000 1234"}, "x@y.z"], "emails_sent": 3,
    }  # fmt: skip
    made = seen({**EVENT, "properties": properties}, hashed=["default"])["properties"]
    assert made == {
        "customer": {"contact-Email": address, "tier": 1}, "billing_e_mail": address,
        "guests": [{"mobile_number": PHONE}, "x@y.z"], "emails_sent": 3,
    }  # fmt: skip


def test_a_path_hashes_what_stands_there_by_its_name() -> None:
    def sha(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    event = {**EVENT, "properties": {"cardEmail": " A@B.co", "who": {"a": [" x ", 5, True, ""]}}}
    made = seen(event, hashed=["properties.cardEmail", "properties.who", "userId", "context.ip"])
    assert made["properties"]["cardEmail"] == sha("a@b.co")
    assert made["properties"]["who"] == {"a": [sha("x"), sha("5"), True, ""]}
    assert made["userId"] == sha("u-42")
    assert made["context"]["ip"] == sha("203.0.113.7")


def test_what_is_hashed_already_stays() -> None:
    event = {**EVENT, "traits": {"email": JANE.upper(), "phone": PHONE}}
    assert seen(event, hashed=["default"])["traits"] == {"email": JANE, "phone": PHONE}


def test_the_event_says_of_itself_what_is_left() -> None:
    def mapped(*deny: str) -> Mapped:
        return protect_all(destination(deny_fields=deny), [map_event(EVENT)])[0]

    assert (mapped("context").user, mapped("context").name) == ("u:u-42", "Order Completed")
    assert mapped("userId").user == "a:a-7"
    assert mapped("userId", "anonymousId").user == ""
    assert mapped("event").name == ""
    assert mapped("event").message_id == "m-1"


def test_who_may_see_everything_is_given_the_event_itself() -> None:
    assert protector(destination()) is None
    event = map_event(EVENT)
    protect = protector(destination(deny_fields=("traits.nothing",)))
    assert protect is not None and protect(event) is event


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("context..ip", "one dot between two"),
        ("", "one dot between two"),
        ("a\nb", "one dot between two"),
        ("a" * 201, "at most 200 characters"),
        (".".join("a" * 13), "at most 12 names"),
        ("a.****b*c*d", "at most 3 `*`"),
        ("messageId", "an event is none without"),
        ("*", "an event is none without"),
        ("t*e", "an event is none without"),
        ("context.type", ""),
        ("userId", ""),
    ],
)
def test_a_path_that_cannot_be_is_told(path: str, problem: str) -> None:
    said = path_problem(path)
    assert problem in said and bool(said) is bool(problem)


PATHS = st.lists(
    st.sampled_from(["*", "id", "price", "name", "1", "0", "traits", "email", "properties", "p*"]),
    min_size=1, max_size=4,
).map(".".join)  # fmt: skip


@given(JSON, st.lists(PATHS, max_size=3), st.lists(PATHS | st.just("default"), max_size=3))
def test_no_event_makes_it_fail_and_twice_is_as_once(
    value: Any, deny: list[str], hashed: list[str]
) -> None:
    event = {"messageId": "m", "type": "track", "app": "a", "properties": value, "traits": value}
    config = destination(deny_fields=tuple(deny), hash_fields=tuple(hashed))
    mapped = map_event(event)
    before = mapped.body
    (once,) = protect_all(config, [mapped])
    assert mapped.body == before == msgspec.json.encode(mapped.value)
    # Items that are removed by their number make place for others.
    if not any(part.isdigit() or "*" in part for path in deny for part in path.split(".")):
        (twice,) = protect_all(config, [once])
        assert twice.body == once.body


# What is told of it


def notes(event: Any = EVENT, deny: Any = (), hashed: Any = ()) -> list[str]:
    whole = map_event(event)
    config = destination(deny_fields=tuple(deny), hash_fields=tuple(hashed))
    return protection_notes(config, whole)


def test_each_field_that_is_taken_out_or_hashed_leaves_a_note_and_no_value() -> None:
    told = notes(deny=["context.ip", "properties.*_token", "nowhere"], hashed=["userId"])
    assert told == [
        "hashed: userId (sha256, by hash_fields)", "denied: context.ip was taken out",
        "denied: properties.push_token was taken out", "denied: properties.web_token was taken out",
    ]  # fmt: skip
    assert notes(deny=["properties.products.coupon"], hashed=["default"]) == [
        "hashed: traits.email (sha256, by hash_fields)",
        "hashed: traits.phone (sha256, by hash_fields)",
        "hashed: context.traits.emailAddress (sha256, by hash_fields)",
        "denied: properties.products.0.coupon was taken out",
        "denied: properties.products.1.coupon was taken out",
    ]
    assert notes(deny=["properties.products.0"]) == [
        "denied: 1 items of properties.products were taken out"
    ]
    assert notes() == []


def test_the_notes_of_an_event_are_bounded() -> None:
    many = {**EVENT, "properties": {f"k{number}": 1 for number in range(3 * NOTES_MAX)}}
    assert len(notes(many, deny=["properties.*"])) == NOTES_MAX


@pytest.mark.slow
@given(st.dictionaries(st.text(min_size=1), JSON), st.sampled_from(["a", "*", "a.b", "*.*"]))
def test_there_is_a_note_where_something_was_changed_and_only_there(
    properties: dict[str, Any], path: str
) -> None:
    event = {**EVENT, "properties": properties}
    is_changed = seen(event, [f"properties.{path}"]) != event
    assert bool(notes(event, [f"properties.{path}"])) == is_changed
