"""What the simulated attribution platforms take, refuse, and drop without a word."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec
import pytest

from trunkline.simulators.adjust import Adjust
from trunkline.simulators.airbridge import Airbridge
from trunkline.simulators.appsflyer import AppsFlyer
from trunkline.simulators.branch import Branch
from trunkline.simulators.kochava import Kochava
from trunkline.simulators.simulator import Ask, Reply, Simulator
from trunkline.simulators.singular import Singular
from trunkline.simulators.tenjin import Tenjin

NOW_MS = 1_795_170_000_000
GAID = "38400000-8cf0-11bd-b23e-10b96e40000d"
DAY_SECONDS = 86_400


def ask_json(path: str, body: Any, **headers: str) -> Ask:
    told = {"content-type": "application/json", **headers}
    return Ask("POST", path, {}, told, msgspec.json.encode(body), NOW_MS)


def ask_form(path: str, fields: dict[str, Any], **headers: str) -> Ask:
    told = {"content-type": "application/x-www-form-urlencoded", **headers}
    return Ask("POST", path, {}, told, urlencode(fields).encode(), NOW_MS)


def rules_of(simulator: Simulator) -> list[str]:
    return [complaint.rule for complaint in simulator.complaints]


# AppsFlyer


def appsflyer(path: str = "/inappevent/com.shop.app", token: str = "af-s2s-token-1", **over: Any):
    body = {
        "appsflyer_id": "1795160000000-1234567890123456789",
        "eventName": "af_purchase",
        "eventTime": "2026-11-20 10:15:30.000",
        "eventCurrency": "USD",
        "eventValue": '{"af_revenue":29.9}',
        **over,
    }
    return ask_json(path, body, authentication=token)


def test_appsflyer_takes_an_event_and_counts_a_second_one() -> None:
    vendor = AppsFlyer()
    assert vendor.answer(appsflyer()).status == 200
    assert vendor.answer(appsflyer(eventValue="")).status == 200
    assert [one.name for one in vendor.taken] == ["af_purchase", "af_purchase"]
    assert not vendor.complaints


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (appsflyer(token="wrong"), 401),
        (appsflyer(appsflyer_id=None), 400),
        (appsflyer(eventValue={"af_revenue": 1}), 500),
        (appsflyer(eventValue="{"), 500),
        (appsflyer(custom_data="x" * 1024), 400),
    ],
)
def test_appsflyer_refuses(ask: Ask, status: int) -> None:
    vendor = AppsFlyer()
    assert vendor.answer(ask).status == status
    assert not vendor.taken


MANUAL = {"gdpr_applies": True, "ad_user_data_enabled": False}
TCF = {"policy_version": 4, "cmp_sdk_id": 300, "gdpr_applies": 1, "tcstring": "CP0d"}


@pytest.mark.parametrize(
    ("consent", "is_good"),
    [
        ({"manual": MANUAL}, True),
        ({"tcf": TCF}, True),
        ({"manual": MANUAL, "tcf": TCF}, False),
        ({"tcf": {**TCF, "gdpr_applies": True}}, False),
        ({"tcf": {**TCF, "tcstring": ""}}, False),
        ({"tcf": {"gdpr_applies": 1}}, False),
        ({"manual": {"gdpr_applies": 1}}, False),
        ({"manual": {**MANUAL, "ads": True}}, False),
        ({"gpp": {}}, False),
        ("granted", False),
    ],
)
def test_appsflyer_takes_consent_in_one_of_two_forms(consent: Any, is_good: bool) -> None:
    vendor = AppsFlyer()
    assert vendor.answer(appsflyer(consent_data=consent)).status == 200
    assert rules_of(vendor) == ([] if is_good else ["form"])


def test_appsflyer_drops_an_ios_app_without_its_prefix_and_answers_200() -> None:
    vendor = AppsFlyer()
    assert vendor.answer(appsflyer("/inappevent/123456789")).status == 200
    assert not vendor.taken
    assert rules_of(vendor) == ["dropped_with_200"]


def test_appsflyer_says_nothing_of_a_wrong_form() -> None:
    vendor = AppsFlyer()
    wrong = appsflyer(eventTime="2026-11-20T10:15:30Z", idfa="abc-def", email_hashed="a@b.example")
    assert vendor.answer(wrong).status == 200
    assert rules_of(vendor) == ["form"] * 3


# Adjust


def adjust(token: str = "adjust-s2s-token-1", **over: Any) -> Ask:
    fields = {
        "s2s": "1",
        "app_token": "abc123def456",
        "event_token": "f0ob4r",
        "gps_adid": GAID,
        "created_at_unix": "1795169730",
        "revenue": "29.9",
        "currency": "USD",
        "callback_params": '{"order":"A-1001"}',
        **over,
    }
    return ask_form("/event", fields, authorization=f"Bearer {token}")


def test_adjust_takes_events_of_a_device_in_their_order_alone() -> None:
    vendor = Adjust()
    assert vendor.answer(adjust()) == Reply(200, {"status": "OK"})
    assert vendor.answer(adjust()).status == 200
    assert not vendor.complaints
    assert vendor.answer(adjust(created_at_unix="1795169729")).status == 400
    assert vendor.answer(adjust(created_at_unix="1795169729", event_token="abc123")).status == 200
    assert len(vendor.taken) == 3
    assert rules_of(vendor) == ["order"]


@pytest.mark.parametrize(
    ("ask", "status", "words"),
    [
        (adjust(token="wrong"), 202, "S2S token"),
        (adjust(app_token="other"), 404, "App token"),
        (adjust(event_token="Order Completed"), 400, "event token"),
        (adjust(revenue="-5"), 400, "revenue"),
        (adjust(callback_params='{"a":1}'), 400, "callback"),
        (adjust(gps_adid=""), 400, "device"),
        (adjust(created_at_unix=str(1795169730 - 59 * DAY_SECONDS)), 400, "days old"),
        (adjust(created_at_unix="1795169730000"), 400, "unit"),
    ],
)
def test_adjust_refuses(ask: Ask, status: int, words: str) -> None:
    vendor = Adjust()
    reply = vendor.answer(ask)
    assert reply.status == status
    assert words in reply.body["error"]
    assert not vendor.taken


def test_adjust_drops_revenue_without_a_currency_in_silence() -> None:
    vendor = Adjust()
    ask = adjust()
    fields = {name: values[0] for name, values in parse_qs(ask.body.decode()).items()}
    del fields["currency"]
    assert vendor.answer(ask_form("/event", fields, **ask.headers)).status == 200
    assert rules_of(vendor) == ["revenue_dropped"]


# Branch


def branch(address: str = "standard", **over: Any) -> Ask:
    body = {
        "branch_key": "key_live_abcdefghijklmnop",
        "name": "PURCHASE",
        "user_data": {"os": "Android", "aaid": GAID},
        "custom_data": {"channel": "web"},
        **over,
    }
    return ask_json(f"/v2/event/{address}", body)


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (branch(), 200),
        (branch(event_data={"revenue": 29.9, "currency": "USD"}), 200),
        (branch("custom", name="order_paid", user_data={"developer_identity": "u-42"}), 200),
        (branch(name="order_paid"), 400),
        (branch(user_data={"os": "iOS", "aaid": GAID}), 400),
        (branch(event_data={"revenue": -1, "currency": "USD"}), 400),
        (branch(branch_key="key_live_other"), 401),
        (branch("other"), 404),
    ],
)
def test_branch_judges_by_the_address(ask: Ask, status: int) -> None:
    vendor = Branch()
    assert vendor.answer(ask).status == status
    assert len(vendor.taken) == (status == 200)
    assert not vendor.complaints


def test_branch_ignores_what_a_custom_event_has_no_key_for() -> None:
    vendor = Branch()
    items = [{"price": 1}, {"$price": "1"}]
    vendor.answer(branch("custom", name="x", event_data={}, content_items=items))
    vendor.answer(branch(custom_data={"n": 1}, event_data={"revenue": 1}))
    assert rules_of(vendor) == [
        "unknown_key", "unknown_key", "item", "item", "custom_data", "currency",
    ]  # fmt: skip


# Singular


def singular(path: str = "/api/v1/evt", method: str = "GET", **over: Any) -> Ask:
    fields = {
        "a": "singular_sdk_key_1",
        "n": "order_paid",
        "p": "Android",
        "i": "com.shop.app",
        "aifa": GAID,
        "ip": "203.0.113.7",
        "utime": "1795169730",
        "amt": "29.9",
        "cur": "USD",
        "e": '{"sku":"sku-7"}',
        **over,
    }
    if method == "POST":
        return ask_form(path, fields)
    return Ask("GET", path, {name: [value] for name, value in fields.items()}, {}, b"", NOW_MS)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_singular_takes_a_query_and_a_form(method: str) -> None:
    vendor = Singular()
    assert vendor.answer(singular(method=method)) == Reply(200, {"status": "ok"})
    assert vendor.taken[0].name == "order_paid"
    assert not vendor.complaints


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (singular(a="other"), "invalid argument: a"),
        (singular(n=""), "missing argument: n"),
        (singular(p="android"), "invalid platform: android"),
        (singular(aifa=""), "no device ID supplied"),
        (singular("/api/v2/evt"), "no device ID supplied"),
        (singular(ip=""), "missing argument: ip"),
        (singular(amt="many"), "invalid argument: amt"),
        (singular(e="[]"), "invalid argument: e"),
    ],
)
def test_singular_answers_200_and_says_in_the_body_what_is_wrong(ask: Ask, reason: str) -> None:
    vendor = Singular()
    assert vendor.answer(ask) == Reply(200, {"status": "error", "reason": reason})
    assert not vendor.taken


def test_singular_says_nothing_of_an_amount_without_a_currency() -> None:
    vendor = Singular()
    vendor.answer(singular(cur="toman", utime="1795169730000"))
    assert rules_of(vendor) == ["currency", "time"]


# Kochava


def kochava(app: str = "koshop-android-abc1", **over: Any) -> Ask:
    told = {
        "event_name": "Purchase",
        "event_data": {"sum": 29.9},
        "currency": "USD",
        "device_ids": {"adid": GAID},
        "origination_ip": "203.0.113.7",
        "device_ua": "Mozilla/5.0",
        "device_ver": "",
        "usertime": 1795169730,
        **over,
    }
    body = {"action": "event", "kochava_app_id": app, "kochava_device_id": "", "data": told}
    return ask_json("/track/json", body)


@pytest.mark.parametrize(
    ("ask", "status", "words"),
    [
        (kochava("other"), 401, "not known"),
        (kochava(device_ids={}), 400, "at least one"),
        (kochava(device_ua=""), 400, "device_ua"),
        (kochava(event_name=None), 400, "event_name"),
    ],
)
def test_kochava_refuses(ask: Ask, status: int, words: str) -> None:
    vendor = Kochava()
    reply = vendor.answer(ask)
    assert (reply.status, words in reply.body["error"], vendor.taken) == (status, True, [])


def test_kochava_takes_an_event_and_says_nothing_of_wrong_forms() -> None:
    vendor = Kochava()
    assert vendor.answer(kochava()) == Reply(200, {"success": "1"})
    assert not vendor.complaints
    vendor.answer(kochava(usertime=1795169730000, currency="usd", event_data={"sum": "1"}, x=1))
    assert rules_of(vendor) == ["unknown_key", "time", "currency", "number"]
    assert len(vendor.taken) == 2


# Airbridge


def airbridge(app: str = "koshop", token: str = "airbridge-api-token-1", **over: Any) -> Ask:
    body = {
        "eventUUID": "7d0a2e2f-0f2a-4a0f-9a53-0a6d3f6f5b11",
        "eventTimestamp": 1795169730000,
        "user": {"externalUserID": "u-42"},
        "device": {"clientIP": "203.0.113.7"},
        "eventData": {"goal": {"category": "airbridge.ecommerce.order.completed", "value": 29.9}},
        **over,
    }
    path = f"/events/v2/apps/{app}/mobile-app/9360"
    return ask_json(path, body, authorization=f"Bearer {token}")


def test_airbridge_has_an_event_once() -> None:
    vendor = Airbridge()
    assert [vendor.answer(airbridge()).status for _ in range(2)] == [200, 200]
    assert (len(vendor.taken), vendor.duplicates, vendor.complaints) == (1, 1, [])


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (airbridge(token="other"), 401),
        (airbridge("other"), 403),
        (airbridge(eventUUID="m-1"), 400),
        (airbridge(eventTimestamp="1795169730000"), 400),
        (airbridge(user={}), 400),
        (airbridge(eventData={"goal": {}}), 400),
    ],
)
def test_airbridge_refuses(ask: Ask, status: int) -> None:
    vendor = Airbridge()
    assert vendor.answer(ask).status == status
    assert not vendor.taken


def test_airbridge_drops_what_is_older_than_a_day_and_answers_200() -> None:
    vendor = Airbridge()
    old = airbridge(eventTimestamp=NOW_MS - 25 * 3_600_000, device={"gaid": GAID})
    assert vendor.answer(old).status == 200
    assert not vendor.taken
    assert rules_of(vendor) == ["ip", "dropped_with_200"]


# Tenjin


def tenjin(address: str = "event", **over: Any) -> Ask:
    fields = {
        "api_key": "TENJINSDKKEY1",
        "bundle_id": "com.shop.app",
        "platform": "android",
        "advertising_id": GAID,
        "analytics_installation_id": "i-1",
        "os_version": "14",
        "sdk_version": "server",
        "event": "order_paid",
        **over,
    }
    return ask_form(f"/v0/{address}", fields)


PURCHASE = {"product_id": "sku-7", "price": "29.9", "quantity": "1", "currency": "USD"}


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (tenjin(), 200),
        (tenjin("purchase", **PURCHASE), 200),
        (tenjin("purchase"), 400),
        (tenjin("purchase", **{**PURCHASE, "price": "-1"}), 400),
        (tenjin(platform="ios"), 400),
        (tenjin(platform="Android"), 400),
        (tenjin(sdk_version="1"), 400),
        (tenjin(api_key="other"), 401),
        (tenjin(bundle_id="other"), 404),
    ],
)
def test_tenjin_judges_events_and_purchases(ask: Ask, status: int) -> None:
    vendor = Tenjin()
    assert vendor.answer(ask).status == status
    assert len(vendor.taken) == (status == 200)
    assert not vendor.complaints


def test_tenjin_signs_in_by_the_user_name_of_basic_authentication() -> None:
    vendor = Tenjin()
    ask = tenjin(api_key="")
    assert vendor.answer(ask).status == 401
    basic = {**ask.headers, "authorization": "Basic VEVOSklOU0RLS0VZMTo="}
    assert vendor.answer(ask_form("/v0/event", {"api_key": ""}, **basic)).status == 404


@pytest.mark.parametrize("kind", [AppsFlyer, Adjust, Branch, Singular, Kochava, Airbridge, Tenjin])
def test_own_faults_take_nothing(kind: type[Simulator]) -> None:
    vendor = kind()
    ask = ask_json("/", {})
    replies = {fault: vendor.misbehave(fault, ask) for fault in kind.own_faults}
    assert replies
    assert replies.keys() == kind.fault_outcomes.keys()
    assert not vendor.taken
    with pytest.raises(LookupError, match="no_such_fault"):
        vendor.misbehave("no_such_fault", ask)
