"""The simulated ad platforms: what they take, what they refuse, and what they say on bad days."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest

from trunkline.simulators.ga4 import GoogleAnalytics
from trunkline.simulators.google_ads import GoogleAds
from trunkline.simulators.linkedin import LinkedIn
from trunkline.simulators.meta import Meta
from trunkline.simulators.microsoft_uet import MicrosoftUet
from trunkline.simulators.pinterest import Pinterest
from trunkline.simulators.reddit import Reddit
from trunkline.simulators.simulator import Ask, Reply, Simulator
from trunkline.simulators.snapchat import Snapchat
from trunkline.simulators.tiktok import TikTok
from trunkline.simulators.x import X

NOW_S = 1795169760  # 2026-11-20T10:16:00Z, half a minute after the purchase
EVENT_S = 1795169730
EMAIL = "bb55843f3da2af28071cd4be7ae1e05989dc6d3ea4833906f7d8fe4be35afad8"
EMAIL_REDDIT = "c4d25e9c90ff23e9145397bc6fbd5385ca5fbe78211222ccbecd0b369ebb19a6"
GMAIL_TRIMMED = "12122421314e3c02d8acd5467f1266e839588a1ea2e4da1c2ab81036b7cd62e5"
GMAIL_GOOGLE = "3037d7b4a791c60878b60f6a2c1c3d5acef0746e4dc143c0f1ee8a3f2e94d546"
PHONE_DIGITS = "723d3c6e02d99b405c4f4770b1629b528c63e4dac775ffdab3356eef70df49e0"
PHONE_E164 = "7599f20753261a1947ade0a0d0d7fa921aafc6cbccf6fd2ea7224e1b71b7c67b"
URL = "https://shop.example/checkout/done"
MONEY = {"currency": "USD", "value": 29.9, "order_id": "A-1001"}
AGENT = "Mozilla/5.0"

Change = Callable[[dict[str, Any]], None]


def ask(
    path: str,
    body: Any,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    method: str = "POST",
) -> Ask:
    listed = {name: [value] for name, value in (query or {}).items()}
    types = {"content-type": "application/json", "user-agent": "tests"}
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Ask(method, path, listed, {**types, **(headers or {})}, raw, NOW_S * 1000)


def bearer(simulator: type[Simulator]) -> dict[str, str]:
    return {"authorization": f"Bearer {simulator.credentials['access_token']}"}


def to_meta(*events: Any, **more: Any) -> Ask:
    body = {"data": [*events], **more}
    return ask("/v26.0/1234567890/events", body, bearer(Meta))


def meta_event() -> dict[str, Any]:
    return {
        "event_name": "Purchase",
        "event_time": EVENT_S,
        "event_id": "7d0a",
        "action_source": "website",
        "event_source_url": URL,
        "user_data": {"em": [EMAIL], "ph": [PHONE_DIGITS], "client_user_agent": AGENT},
        "custom_data": dict(MONEY),
    }


def to_tiktok(*events: Any, **more: Any) -> Ask:
    body = {"event_source": "web", "event_source_id": "C4A1B2C3PIXEL", "data": [*events], **more}
    token = {"access-token": TikTok.credentials["access_token"]}
    return ask("/open_api/v1.3/event/track/", body, token)


def tiktok_event() -> dict[str, Any]:
    return {
        "event": "Purchase",
        "event_time": EVENT_S,
        "event_id": "7d0a",
        "user": {"email": [EMAIL], "phone": [PHONE_E164], "country": "ir", "city": "tehran"},
        "properties": dict(MONEY),
        "page": {"url": URL},
    }


def to_snapchat(*events: Any, path: str = "events") -> Ask:
    return ask(f"/v3/pixel-0001/{path}", {"data": [*events]}, bearer(Snapchat))


def snapchat_event() -> dict[str, Any]:
    return {**meta_event(), "event_name": "PURCHASE", "action_source": "WEB"}


def to_pinterest(*events: Any, test: str = "false") -> Ask:
    path = "/v5/ad_accounts/549755885175/events"
    return ask(path, {"data": [*events]}, bearer(Pinterest), {"test": test})


def pinterest_event() -> dict[str, Any]:
    changed = {"event_name": "checkout", "action_source": "web"}
    return {**meta_event(), **changed, "custom_data": {**MONEY, "value": "29.90"}}


def to_reddit(*events: Any, **more: Any) -> Ask:
    path = "/api/v3/pixels/a2_simulated/conversion_events"
    return ask(path, {"data": {"events": [*events], **more}}, bearer(Reddit))


def reddit_event() -> dict[str, Any]:
    return {
        "event_at": EVENT_S * 1000,
        "action_source": "WEBSITE",
        "type": {"tracking_type": "PURCHASE"},
        "metadata": {"conversion_id": "7d0a", "currency": "USD", "value": 29.9},
        "user": {"email": EMAIL_REDDIT, "phone_number": PHONE_E164},
    }


def to_linkedin(*events: Any, version: str = "202603") -> Ask:
    headers = {"linkedin-version": version, "x-restli-protocol-version": "2.0.0"}
    headers |= {"x-restli-method": "BATCH_CREATE", **bearer(LinkedIn)}
    return ask("/rest/conversionEvents", {"elements": [*events]}, headers)


def linkedin_event() -> dict[str, Any]:
    return {
        "conversion": "urn:lla:llaPartnerConversion:104012",
        "conversionHappenedAt": EVENT_S * 1000,
        "eventId": "7d0a",
        "conversionValue": {"currencyCode": "USD", "amount": "29.90"},
        "user": {"userIds": [{"idType": "SHA256_EMAIL", "idValue": EMAIL}]},
    }


def to_microsoft(*events: Any, goes_on: bool = True) -> Ask:
    body = {"continueOnValidationError": goes_on, "data": [*events]}
    return ask("/v1/97000001/events", body, bearer(MicrosoftUet))


def microsoft_event() -> dict[str, Any]:
    return {
        "eventType": "custom",
        "eventName": "purchase",
        "eventId": "7d0a",
        "eventTime": EVENT_S,
        "userData": {"em": EMAIL, "ph": PHONE_DIGITS},
        "customData": {"value": 29.9, "currency": "USD"},
    }


def to_x(*conversions: Any, secret: str = "x-consumer-secret") -> Ask:
    path = "/12/measurement/conversions/o8z6j"
    oauth = {
        "oauth_consumer_key": "x-consumer-key",
        "oauth_nonce": "n1",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(NOW_S),
        "oauth_token": "x-access-token",
        "oauth_version": "1.0",
    }
    url = quote(f"http://ads.example{path}", safe="")
    base = f"POST&{url}&{quote(urlencode(sorted(oauth.items())), safe='')}"
    digest = hmac.new(f"{secret}&x-token-secret".encode(), base.encode(), hashlib.sha1).digest()
    oauth["oauth_signature"] = quote(base64.b64encode(digest).decode(), safe="")
    signed = ", ".join(f'{name}="{value}"' for name, value in oauth.items())
    headers = {"host": "ads.example", "authorization": f"OAuth {signed}"}
    return ask(path, {"conversions": [*conversions]}, headers)


def x_event() -> dict[str, Any]:
    return {
        "conversion_time": "2026-11-20T10:15:30.000Z",
        "event_id": "tw-o8z6j-o87ne",
        "identifiers": [{"hashed_email": EMAIL}, {"hashed_phone_number": PHONE_E164}],
        "conversion_id": "7d0a",
        "price_currency": "USD",
        "value": "29.90",
    }


def to_ga4(*events: Any, secret: str = "ga4-simulated-secret", debug: str = "") -> Ask:
    body = {"client_id": "1.2", "timestamp_micros": EVENT_S * 1_000_000, "events": [*events]}
    query = {"measurement_id": "G-ABCDE12345", "api_secret": secret}
    return ask(f"{debug}/mp/collect", body, query=query)


def ga4_event() -> dict[str, Any]:
    session = {"session_id": "1", "engagement_time_msec": 100}
    money = {"transaction_id": "A-1001", "currency": "USD", "value": 29.9}
    return {"name": "purchase", "params": {**money, **session}}


def google_token(simulator: GoogleAds) -> str:
    names = ("client_id", "client_secret", "refresh_token")
    form = {name: simulator.credentials[name] for name in names}
    body = urlencode({"grant_type": "refresh_token", **form}).encode()
    type = {"content-type": "application/x-www-form-urlencoded"}
    return simulator.answer(ask("/token", body, type)).body["access_token"]


def to_google(token: str, *events: Any, **more: Any) -> Ask:
    account = {"accountType": "GOOGLE_ADS", "accountId": "1234567890"}
    destination = {"operatingAccount": account, "productDestinationId": "987654321"}
    destinations = [{"reference": "main", **destination}]
    body = {"destinations": destinations, "encoding": "HEX", "events": [*events], **more}
    return ask("/v1/events:ingest", body, {"authorization": f"Bearer {token}"})


def google_event() -> dict[str, Any]:
    people = [{"emailAddress": EMAIL}, {"phoneNumber": PHONE_E164}]
    return {
        "destinationReferences": ["main"],
        "transactionId": "A-1001",
        "eventTimestamp": "2026-11-20T10:15:30Z",
        "eventSource": "WEB",
        "currency": "USD",
        "conversionValue": 29.9,
        "adIdentifiers": {"gclid": "Cj0KCQ"},
        "userData": {"userIdentifiers": people},
    }


def sent(simulator: Simulator, *events: Any) -> Reply:
    """Send events as a right request to a vendor."""
    if isinstance(simulator, GoogleAds):
        return simulator.answer(to_google(google_token(simulator), *events))
    return simulator.answer(SENDERS[type(simulator)][0](*events))


SENDERS: dict[type[Simulator], tuple[Callable[..., Ask], Callable[[], dict[str, Any]]]] = {
    Meta: (to_meta, meta_event),
    TikTok: (to_tiktok, tiktok_event),
    Snapchat: (to_snapchat, snapchat_event),
    Pinterest: (to_pinterest, pinterest_event),
    Reddit: (to_reddit, reddit_event),
    LinkedIn: (to_linkedin, linkedin_event),
    MicrosoftUet: (to_microsoft, microsoft_event),
    X: (to_x, x_event),
    GoogleAnalytics: (to_ga4, ga4_event),
}
EVENTS = {**{kind: event for kind, (_, event) in SENDERS.items()}, GoogleAds: google_event}
IDS: dict[type[Simulator], str] = {
    Meta: "event_id",
    TikTok: "event_id",
    Snapchat: "event_id",
    Pinterest: "event_id",
    LinkedIn: "eventId",
    MicrosoftUet: "eventId",
    X: "conversion_id",
    GoogleAds: "transactionId",
}


@pytest.mark.parametrize("kind", EVENTS)
def test_a_right_event_is_taken_without_a_complaint(kind: type[Simulator]) -> None:
    simulator = kind()
    reply = sent(simulator, EVENTS[kind]())
    assert reply.status < 300, reply
    assert [len(simulator.taken), simulator.complaints] == [1, []]


@pytest.mark.parametrize("kind", EVENTS)
def test_the_same_event_again_is_a_duplicate_where_the_vendor_tells(kind: type[Simulator]) -> None:
    simulator = kind()
    for _ in range(2):
        sent(simulator, EVENTS[kind]())
    expected = [1, 1] if kind.deduplicates else [2, 0]
    assert [len(simulator.taken), simulator.duplicates] == expected


@pytest.mark.parametrize("kind", IDS)
def test_another_id_is_another_event(kind: type[Simulator]) -> None:
    simulator = kind()
    sent(simulator, EVENTS[kind](), {**EVENTS[kind](), IDS[kind]: "other"})
    assert len(simulator.taken) == 2


@pytest.mark.parametrize("kind", EVENTS)
def test_every_fault_says_what_becomes_of_the_events(kind: type[Simulator]) -> None:
    assert kind.fault_outcomes.keys() == kind.own_faults.keys()
    for fault in kind.own_faults:
        simulator = kind()
        event = EVENTS[kind]()
        if isinstance(simulator, GoogleAds):
            request = to_google(google_token(simulator), event, event)
        else:
            request = SENDERS[kind][0](event, event)
        reply = simulator.misbehave(fault, request)
        if kind.fault_outcomes[fault] in ("blocked", "retry"):
            assert simulator.taken == [] and reply.body, fault
    with pytest.raises(LookupError):
        kind().misbehave("no such fault", SENDERS[Meta][0](meta_event()))


def set_time(key: str, seconds_ago: int, factor: int = 1) -> Change:
    return lambda event: event.update({key: (NOW_S - seconds_ago) * factor})


def set_at(path: str, value: Any) -> Change:
    def change(event: dict[str, Any]) -> None:
        *above, last = path.split(".")
        for part in above:
            event = event[part]
        event[last] = value

    return change


DAY = 86_400
REFUSED: list[tuple[type[Simulator], Change, str]] = [
    (Meta, set_time("event_time", 7 * DAY + 60), "too_old"),
    (Meta, set_time("event_time", -90), "in_the_future"),
    (Meta, set_time("event_time", 0, 1000), "time_unit"),
    (Meta, set_at("custom_data", {}), "missing"),
    (Meta, set_at("custom_data.value", "29.9"), "amount"),
    (Meta, set_at("custom_data.value", -1), "negative"),
    (Meta, set_at("custom_data.contents", [{"quantity": 1}]), "missing"),
    (Meta, set_at("action_source", "WEB"), "action_source"),
    (Meta, set_at("user_data", {"client_user_agent": AGENT}), "needs_identifier"),
    (Meta, set_at("action_source", "app"), "extinfo"),
    (TikTok, set_time("event_time", 29 * DAY), "too_old"),
    (TikTok, set_at("properties", {"value": 1}), "currency"),
    (Snapchat, set_time("event_time", 38 * DAY), "too_old"),
    (Snapchat, set_at("event_name", "Purchase"), "event_name"),
    (Pinterest, set_at("custom_data.value", 29.9), "amount"),
    (Pinterest, set_at("user_data", {"ph": [PHONE_DIGITS]}), "needs_identifier"),
    (Pinterest, set_at("user_data.em", EMAIL), "not_a_list"),
    (Reddit, set_time("event_at", 169 * 3600, 1000), "too_old"),
    (Reddit, set_time("event_at", 0), "time_unit"),
    (Reddit, set_at("type", {"tracking_type": "CUSTOM"}), "missing"),
    (LinkedIn, set_at("conversionValue.amount", 29.9), "amount"),
    (LinkedIn, set_at("user", {"userInfo": {"firstName": "Jane"}}), "needs_identifier"),
    (LinkedIn, set_time("conversionHappenedAt", 91 * DAY, 1000), "too_old"),
    (MicrosoftUet, set_time("eventTime", 8 * DAY), "too_old"),
    (MicrosoftUet, set_at("eventType", "pageLoad"), "missing"),
    (X, set_at("identifiers", [{"ip_address": "203.0.113.7"}]), "needs_identifier"),
    (X, set_at("event_id", "Purchase"), "event_id"),
    (GoogleAnalytics, set_at("name", "session_start"), "reserved"),
    (GoogleAnalytics, set_at("name", "order paid"), "name"),
    (GoogleAnalytics, set_at("params.transaction_id", ""), "missing"),
    (GoogleAds, set_at("eventSource", "web"), "event_source"),
    (GoogleAds, set_at("transactionId", ""), "missing"),
    (GoogleAds, set_at("adIdentifiers.gbraid", "x"), "two_clicks"),
]


@pytest.mark.parametrize(("kind", "change", "rule"), REFUSED)
def test_a_wrong_event_is_not_taken(kind: type[Simulator], change: Change, rule: str) -> None:
    simulator, event = kind(), EVENTS[kind]()
    change(event)
    reply = sent(simulator, event)
    assert simulator.taken == []
    assert rule in {complaint.rule for complaint in simulator.complaints}
    silent = {TikTok: 200, GoogleAnalytics: 204}  # the status of which says nothing
    assert reply.status == silent[kind] if kind in silent else reply.status >= 400


WRONG_FORMS: list[tuple[type[Simulator], Change, str]] = [
    (Meta, set_at("user_data.ph", [PHONE_E164]), "phone_form"),
    (Meta, set_at("user_data.em", ["jane@example.com"]), "not_hashed"),
    (Meta, set_at("user_data.client_ip_address", EMAIL), "hashed"),
    (Meta, set_at("user_data.fbc", "IwAR0abc"), "fbc"),
    (TikTok, set_at("user.phone", [PHONE_DIGITS]), "phone_form"),
    (TikTok, set_at("user.city", "New York"), "plain_place"),
    (Reddit, set_at("user.email", EMAIL), "email_form"),
    (Snapchat, set_at("user_data.em", [hashlib.sha256(b"").hexdigest()]), "hash_of_nothing"),
    (
        GoogleAds,
        set_at("userData.userIdentifiers", [{"emailAddress": GMAIL_TRIMMED}]),
        "email_form",
    ),
]


@pytest.mark.parametrize(("kind", "change", "rule"), WRONG_FORMS)
def test_personal_data_in_a_wrong_form_is_taken_and_told(
    kind: type[Simulator], change: Change, rule: str
) -> None:
    simulator, event = kind(), EVENTS[kind]()
    change(event)
    sent(simulator, event)
    assert [c.rule for c in simulator.complaints] == [rule]
    assert len(simulator.taken) == 1


def test_the_google_form_of_an_address_is_right_for_google_alone() -> None:
    event = google_event()
    event["userData"] = {"userIdentifiers": [{"emailAddress": GMAIL_GOOGLE}]}
    google, meta = GoogleAds(), Meta()
    sent(google, event)
    changed = meta_event()
    changed["user_data"]["em"] = [GMAIL_GOOGLE]
    sent(meta, changed)
    assert google.complaints == []
    assert [c.rule for c in meta.complaints] == ["email_form"]


@pytest.mark.parametrize("kind", [Meta, TikTok, Reddit, X, LinkedIn, GoogleAds, Snapchat])
def test_one_wrong_event_refuses_the_whole_request(kind: type[Simulator]) -> None:
    simulator, (good, bad) = kind(), (EVENTS[kind](), EVENTS[kind]())
    bad.clear()
    sent(simulator, good, bad)
    assert simulator.taken == []


def test_pinterest_and_microsoft_store_the_good_ones_of_a_mixed_request() -> None:
    pinterest, microsoft = Pinterest(), MicrosoftUet()
    reply = sent(pinterest, {}, pinterest_event())
    assert (reply.status, len(pinterest.taken)) == (422, 1)
    assert [one["status"] for one in reply.body["events"]] == ["failed", "processed"]
    reply = sent(microsoft, {}, microsoft_event())
    assert (reply.status, len(microsoft.taken)) == (200, 1)
    assert {one["index"] for one in reply.body["error"]["details"]} == {0}
    strict = microsoft.answer(to_microsoft({}, microsoft_event(), goes_on=False))
    assert (strict.status, len(microsoft.taken)) == (400, 1)


def test_linkedin_names_the_place_of_every_wrong_element() -> None:
    reply = sent(LinkedIn(), {}, linkedin_event(), {})
    assert reply.status == 422
    assert "Index: 0, ERROR ::" in reply.body["message"]
    assert "Index: 2, ERROR ::" in reply.body["message"]
    retired = LinkedIn().answer(to_linkedin(linkedin_event(), version="202511"))
    assert (retired.status, retired.body["code"]) == (426, "NONEXISTENT_VERSION")


def test_meta_tells_an_old_event_by_its_own_code() -> None:
    old = meta_event()
    old["event_time"] -= 8 * DAY
    error = sent(Meta(), meta_event(), old).body["error"]
    assert (error["code"], error["error_subcode"]) == (100, 2804003)


def test_nothing_of_a_test_is_kept() -> None:
    google = GoogleAds()
    asked: list[tuple[Simulator, Ask]] = [
        (Meta(), to_meta(meta_event(), test_event_code="TEST1")),
        (TikTok(), to_tiktok(tiktok_event(), test_event_code="TEST1")),
        (Snapchat(), to_snapchat(snapchat_event(), path="events/validate")),
        (Pinterest(), to_pinterest(pinterest_event(), test="true")),
        (Reddit(), to_reddit(reddit_event(), test_id="t1")),
        (GoogleAnalytics(), to_ga4(ga4_event(), debug="/debug")),
        (google, to_google(google_token(google), google_event(), validateOnly=True)),
    ]
    for simulator, request in asked:
        assert simulator.answer(request).status == 200, simulator.vendor
        assert (simulator.taken, simulator.complaints) == ([], []), simulator.vendor


def test_wrong_credentials_are_told_in_each_vendor_s_own_way() -> None:
    meta = Meta().answer(msgspec.structs.replace(to_meta(meta_event()), headers={}))
    assert (meta.status, meta.body["error"]["code"]) == (400, 190)
    tiktok = TikTok().answer(msgspec.structs.replace(to_tiktok(tiktok_event()), headers={}))
    assert (tiktok.status, tiktok.body["code"]) == (200, 40001)
    for kind in (Snapchat, Pinterest, Reddit, LinkedIn, MicrosoftUet):
        request = SENDERS[kind][0](EVENTS[kind]())
        headers = {**request.headers, "authorization": "Bearer wrong"}
        assert kind().answer(msgspec.structs.replace(request, headers=headers)).status == 401
    assert X().answer(to_x(x_event(), secret="wrong")).status == 401
    assert GoogleAds().answer(to_google("wrong", google_event())).status == 401
    ga4 = GoogleAnalytics()
    assert ga4.answer(to_ga4(ga4_event(), secret="wrong")).status == 204
    assert (ga4.taken, [c.rule for c in ga4.complaints]) == ([], ["api_secret"])


@pytest.mark.parametrize(
    ("source", "more", "rules"),
    [
        ("crm", {}, ["missing", "missing"]),
        ("crm", {"lead": {"lead_id": "7", "lead_event_source": "salesforce"}}, []),
        ("app", {"app": {"app_id": "com.shop.app"}}, ["device"]),
        ("app", {}, ["missing", "device"]),
    ],
)
def test_tiktok_asks_more_of_a_crm_and_of_an_app(
    source: str, more: dict[str, Any], rules: list[str]
) -> None:
    vendor = TikTok()
    reply = vendor.answer(to_tiktok({**tiktok_event(), **more}, event_source=source))
    assert reply.body["code"] == (40002 if rules else 0)
    assert [complaint.rule for complaint in vendor.complaints] == rules


def test_a_conversion_outside_of_google_s_window_is_lost_after_the_answer() -> None:
    google, old = GoogleAds(), google_event()
    old["eventTimestamp"] = "2026-08-01T00:00:00Z"
    reply = sent(google, old, google_event())
    assert (reply.status, len(google.taken)) == (200, 1)
    assert [c.rule for c in google.complaints] == ["too_old"]
