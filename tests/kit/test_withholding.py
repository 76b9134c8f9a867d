"""What is left of an event without its person: what goes, what stays, and the notes of it."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forwarding import destination
from tests.support.json_values import JSON
from trunkline.kit.destination import map_event
from trunkline.kit.protection import NOTES_MAX, protect_all, protection_notes, protector
from trunkline.kit.withholding import withhold
from trunkline.model.snapshot import ConsentRegions

SECRET = "of-a-person"
JANE = "8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d"
LEFT: dict[str, Any] = {
    "messageId": "m-1", "type": "track", "app": "shop", "event": "Order Completed",
    "timestamp": "2026-11-20T10:15:30.000Z", "receivedAt": "2026-11-20T10:15:31.000Z",
    "properties": {
        "order_id": "A-1001", "revenue": 29.9, "currency": "EUR", "coupon": None,
        "email_opt_in": True, "shipping": 4.5, "url": "https://shop.example/done",
        "products": [{"product_id": "sku-7", "name": "R & = tea", "price": 9.95, "quantity": 3}],
    },
    "context": {
        "location": {"country": "DE", "region": "BE"}, "locale": "de-DE",
        "timezone": "Europe/Berlin",
        "app": {"name": "Shop", "version": "1.2.0", "namespace": "com.shop.app"},
        "device": {"type": "android", "model": "Pixel 9", "adTrackingEnabled": False},
        "os": {"name": "Android", "version": "16"}, "library": {"name": "js", "version": "1"},
        "page": {"url": "https://shop.example/done", "path": "/done", "title": "Thanks"},
        "campaign": {"source": "mail", "name": "autumn"}, "consent": {"explicit": True},
    },
    "integrations": {"All": True, "Meta": {"limitedDataUse": True}, "Slack": False},
    "source": {"protocol": "tracking", "key": "web"},
}  # fmt: skip
PERSONAL: dict[str, Any] = {
    "userId": SECRET, "anonymousId": SECRET, "previousId": SECRET, "groupId": SECRET,
    "traits": {"email": SECRET, "plan": SECRET}, "loyalty": SECRET,
    "properties": {
        **dict.fromkeys(
            (
                "email", "customer_email", "Phone", "mobile_number", "firstName", "last-name",
                "customer_name", "user_id", "anonymousId", "customerId", "account_number", "ip",
                "ip_address", "user_agent", "session_id", "device_id", "idfa", "gaid", "birthday",
                "gender", "postal_code", "zip", "city", "street", "shipping_address", "latitude",
                "push_token", "gclid", "gbraid", "wbraid", "fbclid", "fbc", "fbp", "ttclid", "ttp",
                "twclid", "msclkid", "li_fat_id", "rdt_cid", "epik", "ScCid", "sc_click_id",
                "dclid", "clickId", "hashedEmail", "em", "ph", "national_code", "ایمیل", "كدملي",
            ),
            SECRET,
        ),
        "user": {"tier": SECRET}, "billing": {"vat": SECRET}, "passengers": [{"seat": SECRET}],
        "note": f"call {SECRET}@example.com", "hash": JANE, "to": "+98 (912) 000-1234",
        "search": f"?q={SECRET}", "pairs": f"a={SECRET}",
        "nested": [{"deep": {"contact_email": SECRET}}, f"{SECRET}%40example.com"],
        "x" * 200: SECRET,
    },
    "context": {
        "ip": "203.0.113.7", "userAgent": SECRET, "sessionId": SECRET, "groupId": SECRET,
        "traits": {"email": SECRET}, "clickIds": {"gclid": SECRET}, "ids": {"fbp": SECRET},
        "providers": {"appsFlyer": {"appsFlyerId": SECRET}}, "metaData": {"sim": SECRET},
        "automationUserId": SECRET, "anything": SECRET,
        "location": {"city": SECRET, "latitude": 52.52, "longitude": 13.4},
        "device": {"id": SECRET, "advertisingId": SECRET, "token": SECRET, "name": SECRET},
        "page": {"search": f"?gclid={SECRET}", "referrer": f"https://a:{SECRET}@b.example/"},
        "network": {"carrier": SECRET}, "campaign": {"content": f"{SECRET}@example.com"},
    },
    "integrations": {"Meta": {"fbc": SECRET, "n": 1}, "Adjust": {"partner_params": {"a": SECRET}}},
}  # fmt: skip
NOWHERE = ConsentRegions(("ALL",))


def joined(one: Any, other: Any) -> Any:
    """Two trees in one; lists and leaves of the first stand."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return one
    merged = {key: joined(value, other.get(key, value)) for key, value in one.items()}
    return {**merged, **{key: value for key, value in other.items() if key not in one}}


def test_what_names_nobody_stays_as_it_is() -> None:
    before = copy.deepcopy(LEFT)
    assert withhold(LEFT) == before == LEFT
    assert list(withhold(LEFT)) == list(LEFT)


def test_everything_of_a_person_goes_wherever_it_stands() -> None:
    made = withhold(joined(LEFT, PERSONAL))
    expected = joined(
        LEFT, {"properties": {"nested": [{"deep": {}}]}, "integrations": {"Adjust": {}}}
    )
    assert made == expected
    assert SECRET.encode() not in msgspec.json.encode(made)


@pytest.mark.parametrize("name", sorted(PERSONAL["properties"]))
def test_each_personal_property_goes_by_itself(name: str) -> None:
    made = withhold({**LEFT, "properties": {name: PERSONAL["properties"][name], "n": 1}})
    assert SECRET not in msgspec.json.encode(made).decode()
    assert set(made["properties"]) - {"nested"} == {"n"}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://shop.example/p?gclid=abc&x=1#top", "https://shop.example/p"),
        ("/reset?email=jane%40example.com", "/reset"),
        ("shop.example/p?fbclid=abc", "shop.example/p"),
        ("see https://shop.example/p?gclid=abc", "see https://shop.example/p"),
        ("2 > 1 ? yes : no", "2 > 1 ? yes : no"),
        ("R&D", "R&D"),
        ("+1", "+1"),
        ("1.2.3", "1.2.3"),
        ("100% @ home", "100% @ home"),
        ("", ""),
    ],
)
def test_an_address_loses_what_stands_behind_its_path(text: str, left: str) -> None:
    event = {**LEFT, "properties": {"link": text, "in": [text]}, "context": {"page": {"url": text}}}
    made = withhold(event)
    assert (made["properties"], made["context"]["page"]) == (
        {"link": left, "in": [left]},
        {"url": left},
    )


def test_an_event_whose_name_names_a_person_keeps_none_of_it() -> None:
    made = withhold({**LEFT, "event": "Mail to jane@example.com", "name": "/done?email=x"})
    assert (made["event"], made["name"]) == ("withheld", "/done")


def test_a_destination_sees_it_by_region_and_the_notes_say_so() -> None:
    event = joined(LEFT, {**PERSONAL, "properties": {"email": SECRET, "seat": "7A", "tax": 1}})
    regions = ConsentRegions(("DE",), personal_fields=("properties.seat",))
    config = destination(
        consent_regions=regions, deny_fields=("context.os",), hash_fields=("properties.order_id",)
    )
    whole = map_event(event)
    (seen,) = protect_all(config, [whole])
    assert SECRET.encode() not in seen.body
    assert (seen.user, seen.name) == ("", "Order Completed")
    assert seen.value["properties"]["tax"] == 1 and "seat" not in seen.value["properties"]
    told = protection_notes(config, whole)
    assert told[0] == (
        "consent: needed where the event comes from, and not given; personal fields withheld"
    )
    assert "withheld: userId was taken out" in told
    assert "withheld: properties.seat was taken out" in told
    assert "withheld: context.ip was taken out" in told
    assert "denied: context.os was taken out" in told
    assert "hashed: properties.order_id (sha256, by hash_fields)" in told
    assert not [line for line in told if SECRET in line or "203.0.113.7" in line]
    assert len(told) <= NOTES_MAX
    # In another country, or with a consent, nothing of it.
    abroad = joined({"context": {"location": {"country": "IR"}}}, event)
    agreed = joined({"context": {"consent": {"ads": "granted"}}}, event)
    for free in (abroad, agreed):
        kept = protect_all(destination(consent_regions=regions), [map_event(free)])[0]
        assert kept.value == free
        assert protection_notes(destination(consent_regions=regions), map_event(free)) == []


def test_an_event_of_nobody_is_given_as_it_is_and_leaves_no_note() -> None:
    config = destination(consent_regions=NOWHERE)
    mapped, protect = map_event(LEFT), protector(config)
    assert protect is not None and protect(mapped) is mapped
    assert protection_notes(config, mapped) == []


PIECES = st.text(st.sampled_from("ab=?&#/@.%+40 :;"), max_size=20)
NAMES = st.sampled_from(
    ["email", "name", "x", "url", "user", "Meta", "ip", "page", "device", "type", "consent", "city"]
)
VALUES = st.recursive(
    JSON | PIECES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | PIECES, inner, max_size=4),
    max_leaves=12,
)
EVENTS = st.fixed_dictionaries(
    {"messageId": st.just("m"), "type": st.just("track"), "app": st.just("shop")},
    optional={
        "properties": VALUES, "context": VALUES, "traits": VALUES, "integrations": VALUES,
        "userId": PIECES, "name": PIECES, "event": PIECES, "extra": VALUES,
    },
)  # fmt: skip


@given(EVENTS)
def test_any_event_can_be_withheld_and_twice_is_once(event: dict[str, Any]) -> None:
    before = copy.deepcopy(event)
    made = withhold(event)
    assert event == before
    assert withhold(made) == made
    assert {"userId", "traits", "extra"}.isdisjoint(made)
    assert list(made) == [key for key in event if key in made]
    config = destination(consent_regions=NOWHERE)
    assert len(protection_notes(config, map_event(event))) <= NOTES_MAX
