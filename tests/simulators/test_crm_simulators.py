"""Product and CRM simulators: what these vendors take, refuse and drop, request by request."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from trunkline.simulators.amplitude import Amplitude
from trunkline.simulators.braze import Braze
from trunkline.simulators.customer_io import CustomerIo
from trunkline.simulators.hubspot import HubSpot
from trunkline.simulators.iterable import Iterable
from trunkline.simulators.klaviyo import Klaviyo
from trunkline.simulators.mixpanel import Mixpanel
from trunkline.simulators.onesignal import OneSignal
from trunkline.simulators.posthog import PostHog
from trunkline.simulators.rudderstack import RudderStack
from trunkline.simulators.segment import Segment
from trunkline.simulators.simulator import Ask, Reply

NOW_MS = 1_795_169_731_000
AT = "2026-11-20T10:15:30.000Z"
UUID = "7d0a2e2f-0f2a-4a0f-9a53-0a6d3f6f5b11"
MESSAGE = {"type": "track", "event": "Paid", "userId": "u-42", "messageId": "m-1"}


def ask(path: str, body: Any, method: str = "POST", **headers: str) -> Ask:
    told = {"content-type": "application/json"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    path, _, query = path.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    values = {name: [value] for name, _, value in pairs}
    return Ask(method, path, values, told, msgspec.json.encode(body), NOW_MS)


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def body_of(reply: Reply) -> Any:
    assert reply.body is not None
    return reply.body


def amplitude(*events: dict[str, Any], key: str = Amplitude.credentials["api_key"]) -> Ask:
    return ask("/2/httpapi", {"api_key": key, "events": list(events)})


PAID = {"user_id": "user-42", "event_type": "paid", "time": NOW_MS, "insert_id": "m-1"}


def test_amplitude_stores_nothing_of_a_batch_with_one_bad_event() -> None:
    vendor = Amplitude()
    reply = vendor.answer(amplitude(PAID, {**PAID, "user_id": "u-4"}, {"user_id": "user-43"}))
    assert reply.status == 400
    assert body_of(reply)["events_with_invalid_fields"] == {"user_id": [1]}
    assert body_of(reply)["events_with_missing_fields"] == {"event_type": [2]}
    assert vendor.taken == []


def test_amplitude_tells_duplicates_within_a_device_and_knows_its_key() -> None:
    vendor = Amplitude()
    assert vendor.answer(amplitude(PAID, PAID, {**PAID, "device_id": "phone-1"})).status == 200
    assert (len(vendor.taken), vendor.duplicates) == (2, 1)
    assert "Invalid API key" in body_of(vendor.answer(amplitude(PAID, key="wrong")))["error"]
    assert vendor.answer(amplitude({**PAID, "ip": "$remote"})).status == 200
    assert [c.rule for c in vendor.complaints] == ["ip_remote"]
    assert vendor.answer(amplitude(*[PAID] * 2001)).status == 413


@pytest.mark.parametrize(("fault", "status"), [("invalid_first", 400), ("throttled_users", 429)])
def test_amplitude_names_positions_on_bad_days(fault: str, status: int) -> None:
    vendor = Amplitude()
    assert vendor.misbehave(fault, amplitude(PAID)).status == status
    assert vendor.taken == []


def mixpanel(*events: dict[str, Any], user: str = Mixpanel.credentials["service_account"]) -> Ask:
    login = basic(user, Mixpanel.credentials["secret"])
    project = Mixpanel.credentials["project_id"]
    return ask(f"/import?strict=1&project_id={project}", list(events), authorization=login)


def imported(**told: Any) -> dict[str, Any]:
    own = {"time": NOW_MS, "distinct_id": "u-42", "$insert_id": "m-1"}
    return {"event": "paid", "properties": {**own, **told}}


def test_mixpanel_stores_the_good_events_of_a_400() -> None:
    vendor = Mixpanel()
    bad = [imported(time=10), imported(distinct_id="anonymous"), imported(**{"$insert_id": "a b"})]
    reply = vendor.answer(mixpanel(*bad, imported(), imported()))
    assert reply.status == 400
    assert [one["index"] for one in body_of(reply)["failed_records"]] == [0, 1, 2]
    assert body_of(reply)["num_records_imported"] == 2
    assert (len(vendor.taken), vendor.duplicates) == (1, 1)
    assert vendor.answer(mixpanel(imported(), user="someone")).status == 401


def test_a_profile_of_mixpanel_that_changes_nothing_leaves_nothing() -> None:
    vendor, probe = Mixpanel(), {"$token": Mixpanel.credentials["token"], "$distinct_id": "probe"}
    assert vendor.answer(ask("/engage", [{**probe, "$set": {}}])).status == 200
    assert vendor.taken == []
    assert vendor.answer(ask("/engage", [{**probe, "$set": {"plan": "gold"}}])).status == 200
    assert len(vendor.taken) == 1
    assert vendor.answer(ask("/engage", [{**probe, "$token": "x"}])).status == 401


def test_posthog_is_silent_about_events_and_not_about_the_key() -> None:
    vendor, key = PostHog(), PostHog.credentials["api_key"]
    event = {"event": "paid", "distinct_id": "u-42", "uuid": UUID, "timestamp": AT}
    batch = [event, event, {"event": "lost"}, {**event, "uuid": "m-1"}]
    assert vendor.answer(ask("/batch/", {"api_key": key, "batch": batch})).status == 200
    assert (len(vendor.taken), vendor.duplicates) == (2, 1)
    assert [c.rule for c in vendor.complaints] == ["no_distinct_id", "uuid"]
    assert vendor.answer(ask("/batch/", {"api_key": "phc_x", "batch": batch})).status == 401


def test_segment_answers_200_to_a_wrong_key_and_keeps_nothing() -> None:
    vendor = Segment()
    good = basic(Segment.credentials["write_key"])
    batch = {"batch": [MESSAGE, MESSAGE, {**MESSAGE, "event": ""}]}
    assert vendor.answer(ask("/v1/batch", batch, authorization=basic("x"))).status == 200
    assert vendor.taken == []
    assert vendor.answer(ask("/v1/batch", batch, authorization=good)).status == 200
    assert (len(vendor.taken), vendor.duplicates) == (1, 1)
    assert [c.rule for c in vendor.complaints] == ["write_key", "dropped"]
    large = {"batch": [{**MESSAGE, "properties": {"x": "x" * 600_000}}]}
    assert vendor.answer(ask("/v1/batch", large, authorization=good)).status == 400


def test_one_event_without_a_user_fails_a_batch_of_rudderstack() -> None:
    vendor, good = RudderStack(), basic(RudderStack.credentials["write_key"])
    nobody = {"type": "track", "event": "Paid", "messageId": "m-2"}
    reply = vendor.answer(ask("/v1/batch", {"batch": [MESSAGE, nobody]}, authorization=good))
    assert (reply.status, reply.body) == (400, b"Request neither has anonymousId nor userId")
    assert vendor.taken == []
    assert vendor.answer(ask("/v1/batch", {"batch": [MESSAGE]}, authorization=good)).status == 200
    assert [taken.id for taken in vendor.taken] == ["m-1"]
    assert vendor.answer(ask("/v1/batch", {}, authorization=basic("x"))).status == 401


def braze(**arrays: Any) -> Ask:
    key = Braze.credentials["api_key"]
    return ask("/users/track", arrays, authorization=f"Bearer {key}")


def test_braze_takes_the_good_objects_and_counts_doubles() -> None:
    vendor = Braze()
    event = {"external_id": "u-42", "name": "paid", "time": AT}
    buy = {"external_id": "u-42", "product_id": "sku", "currency": "USD", "price": 1, "time": AT}
    reply = vendor.answer(braze(events=[event, event, {"name": "x"}], purchases=[buy]))
    assert reply.status == 201
    assert [(e["input_array"], e["index"]) for e in body_of(reply)["errors"]] == [("events", 2)]
    assert len(vendor.taken) == 3
    assert vendor.answer(braze(events=[event] * 40, purchases=[buy] * 36)).status == 400
    assert vendor.answer(ask("/users/track", {}, authorization="Bearer x")).status == 401
    limited = vendor.throttled(braze(), 5)
    assert "Retry-After" not in limited.headers
    assert limited.headers["X-Ratelimit-Retry-After"] == "5"


def klaviyo(attributes: dict[str, Any], path: str = "/api/events", **headers: str) -> Ask:
    key = Klaviyo.credentials["private_key"]
    told = {"authorization": f"Klaviyo-API-Key {key}", "revision": "2026-07-15", **headers}
    return ask(path, {"data": {"type": "event", "attributes": attributes}}, **told)


def test_klaviyo_counts_a_unique_id_once_for_a_person_and_says_where_a_fault_is() -> None:
    vendor = Klaviyo()
    profile = {"data": {"type": "profile", "attributes": {"external_id": "u-42"}}}
    metric = {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}}
    event = {"properties": {}, "metric": metric, "profile": profile, "unique_id": "m-1"}
    assert [vendor.answer(klaviyo(event)).status for _ in range(2)] == [202, 202]
    assert (len(vendor.taken), vendor.duplicates) == (1, 1)
    who = {"data": {"type": "profile", "attributes": {"phone_number": "0912 000 1234"}}}
    reply = vendor.answer(klaviyo({**event, "profile": who}))
    pointer = body_of(reply)["errors"][0]["source"]["pointer"]
    assert (reply.status, pointer) == (
        400,
        "/data/attributes/profile/data/attributes/phone_number",
    )
    assert vendor.answer(klaviyo(event, authorization="Klaviyo-API-Key x")).status == 401
    assert vendor.answer(klaviyo(event, revision="")).status == 400
    retired = {"revision": "2022-01-01"}
    assert vendor.answer(klaviyo(event, **retired)).status == 202
    assert [c.rule for c in vendor.complaints] == ["revision"]
    no_other = {"x-klaviyo-revision-fall-forward-opt-out": "1"}
    assert vendor.answer(klaviyo(event, **retired, **no_other)).status == 410
    assert vendor.answer(klaviyo({"external_id": "u-42"}, "/api/profile-import")).status == 200


def customer_io(path: str, body: Any, method: str = "POST") -> Ask:
    own = CustomerIo.credentials
    return ask(path, body, method, authorization=basic(own["site_id"], own["api_key"]))


def test_customer_io_takes_a_part_of_a_batch_and_tells_duplicates_by_a_ulid() -> None:
    vendor = CustomerIo()
    event = {"type": "person", "action": "event", "identifiers": {"id": "u-42"}, "name": "paid"}
    event |= {"id": "01KAG3M4X2V6R7S8T9W0Y1Z2A3", "timestamp": NOW_MS // 1000}
    batch = [event, event, {**event, "timestamp": NOW_MS}, {**event, "id": "m-1"}]
    reply = vendor.answer(customer_io("/api/v2/batch", {"batch": batch}))
    assert reply.status == 207
    assert [(e["batch_index"], e["field"]) for e in body_of(reply)["errors"]] == [(2, "timestamp")]
    assert (len(vendor.taken), vendor.duplicates) == (2, 1)
    assert [c.rule for c in vendor.complaints] == ["ulid"]
    person = customer_io("/api/v1/customers/u%2F42", {"email": "a@b.example"}, "PUT")
    assert vendor.answer(person).status == 200
    assert vendor.taken[-1].value["identifiers"] == {"id": "u/42"}
    assert vendor.answer(ask("/api/v2/batch", {"batch": batch})).status == 401


def test_customer_io_takes_anonymous_events_by_themselves_and_not_in_batches() -> None:
    vendor = CustomerIo()
    event = {"anonymous_id": "a-1", "name": "/", "type": "page", "data": {"a": 1}}
    event |= {"id": "01KAG3M4X2V6R7S8T9W0Y1Z2A3", "timestamp": NOW_MS // 1000}
    for _ in range(2):
        assert vendor.answer(customer_io("/api/v1/events", event)).status == 200
    assert (len(vendor.taken), vendor.duplicates, vendor.complaints) == (1, 1, [])
    for wrong in (
        {"type": "identify"}, {"name": ""}, {"timestamp": NOW_MS}, {"data": [1]},
        {"identifiers": {}}, {"anonymous_id": "a" * 151},
    ):  # fmt: skip
        assert vendor.answer(customer_io("/api/v1/events", {**event, **wrong})).status == 400, wrong
    nobody = {key: value for key, value in event.items() if key != "anonymous_id"}
    assert vendor.answer(customer_io("/api/v1/events", nobody)).status == 200
    assert [c.rule for c in vendor.complaints] == ["anonymous_id"]
    visitor = {"type": "person", "action": "page", "identifiers": {"anonymous_id": "a-1"}}
    batch = {"batch": [{**event, **visitor}]}
    assert vendor.answer(customer_io("/api/v2/batch", batch)).status == 207


def onesignal(*events: dict[str, Any], key: str = OneSignal.credentials["app_api_key"]) -> Ask:
    path = f"/apps/{OneSignal.credentials['app_id']}/custom_events"
    return ask(path, {"events": list(events)}, authorization=f"Key {key}")


def test_onesignal_names_the_people_it_does_not_know() -> None:
    vendor = OneSignal()
    event = {"name": "paid", "external_id": "u-42", "timestamp": AT, "idempotency_key": UUID}
    other = {**event, "idempotency_key": UUID.replace("7d0a", "8d0a")}
    reply = vendor.misbehave("first_unknown", onesignal(event, other, other))
    assert reply.status == 202
    assert [error["event_id"] for error in body_of(reply)["errors"]] == [UUID]
    assert (len(vendor.taken), vendor.duplicates) == (1, 1)
    assert vendor.answer(onesignal({**event, "properties": {"x": "x" * 2100}})).status == 400
    assert vendor.answer(onesignal(event, key="x")).status == 403


def hubspot(path: str, body: Any, method: str = "POST") -> Ask:
    return ask(path, body, method, authorization="Bearer " + HubSpot.credentials["access_token"])


def test_hubspot_wants_full_names_and_flat_properties() -> None:
    vendor = HubSpot()
    event = {"eventName": "pe123_paid", "email": "jane@b.example", "occurredAt": AT}
    assert vendor.answer(hubspot("/events/v3/send", event)).status == 204
    faults: list[dict[str, Any]] = [
        {"eventName": "paid"},
        {"email": ""},
        {"properties": {"items": []}},
    ]
    for bad in faults:
        assert vendor.answer(hubspot("/events/v3/send", {**event, **bad})).status == 400
    contact = {"id": "jane@b.example", "idProperty": "email", "properties": {"firstname": "Jane"}}
    upsert = hubspot("/crm/v3/objects/contacts/batch/upsert", {"inputs": [contact]})
    assert vendor.answer(upsert).status == 200
    assert [taken.name for taken in vendor.taken] == ["pe123_paid", "identify"]
    assert vendor.answer(ask("/events/v3/send", event, authorization="Bearer x")).status == 401


def iterable(path: str, body: Any) -> Ask:
    return ask(path, body, api_key=Iterable.credentials["api_key"])


def test_iterable_counts_the_failures_of_a_bulk_request_by_address() -> None:
    vendor = Iterable()
    event = {"email": "a@b.example", "eventName": "paid", "createdAt": 1, "id": "m-1"}
    bad = {**event, "email": "nobody", "id": "m-2"}
    reply = vendor.answer(iterable("/api/events/trackBulk", {"events": [event, bad, event]}))
    assert (reply.status, body_of(reply)["successCount"], body_of(reply)["failCount"]) == (
        200,
        2,
        1,
    )
    assert body_of(reply)["invalidEmails"] == ["nobody"]
    assert (len(vendor.taken), vendor.duplicates) == (1, 1)
    item = {"id": "sku", "name": "Mug", "price": 2, "quantity": 1}
    purchase = {"user": {"userId": "u-42"}, "items": [item], "total": 2, "id": "m-3"}
    assert vendor.answer(iterable("/api/commerce/trackPurchase", purchase)).status == 200
    broken = {**purchase, "items": [{**item, "price": "2"}]}
    assert vendor.answer(iterable("/api/commerce/trackPurchase", broken)).status == 400
    assert vendor.answer(ask("/api/events/track", event, api_key="x")).status == 401
