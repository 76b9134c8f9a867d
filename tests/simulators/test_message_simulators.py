"""FCM, Slack and Metrix as they judge requests."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.simulated_vendor import NOW_MS, ask
from trunkline.kits.auth import sign_jwt
from trunkline.simulators.fcm import PROJECT, SCOPE, FcmSimulator
from trunkline.simulators.google_sign_in import AUDIENCE, CLIENT_EMAIL, private_key_pem
from trunkline.simulators.metrix_rest import MetrixRestSimulator
from trunkline.simulators.metrix_s2s import MetrixS2sSimulator
from trunkline.simulators.simulator import Ask, Reply
from trunkline.simulators.slack import SlackSimulator

MESSAGE = {
    "token": "device-1",
    "notification": {"title": "Order paid", "body": "Thanks"},
    "data": {"order_id": "A-1"},
    "android": {"priority": "HIGH", "ttl": "86400s"},
}
EVENT = {
    "metrixUserId": "u-42", "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d",
    "eventSlug": "taqsq", "eventTime": "1795169730000", "deviceIp": "203.0.113.7",
    "customAttributes": {"_currency": "IRR"}, "customMetrics": {"_revenue": 1250000.0},
}  # fmt: skip
ACTION = {"type": "action", "id": "m-1", "time": 1795169730000, "customName": "order_paid"}


class Fcm:
    """A simulator with a token."""

    def __init__(self) -> None:
        self.vendor = FcmSimulator()
        seconds = NOW_MS // 1000
        claims = {"iss": CLIENT_EMAIL, "aud": AUDIENCE, "scope": SCOPE, "iat": seconds}
        assertion = sign_jwt(claims | {"exp": seconds + 3600}, "RS256", private_key_pem())
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        body = urlencode({"grant_type": grant, "assertion": assertion}).encode()
        form = "application/x-www-form-urlencoded"
        told = self.vendor.answer(ask("/token", body, content_type=form))
        self.token = told.body["access_token"]

    def ask(self, body: Any, project: str = PROJECT) -> Ask:
        path = f"/v1/projects/{project}/messages:send"
        return ask(path, body, authorization=f"Bearer {self.token}")

    def send(self, **changes: Any) -> Reply:
        return self.vendor.answer(self.ask({"message": MESSAGE | changes}))


def code_of(reply: Reply) -> str:
    return reply.body["error"]["details"][0]["errorCode"]


def test_fcm_takes_a_message_and_names_it() -> None:
    fcm = Fcm()
    reply = fcm.send()
    assert reply.body["name"].startswith(f"projects/{PROJECT}/messages/")
    assert [one.name for one in fcm.vendor.taken] == ["Order paid"]
    assert fcm.vendor.complaints == []


def test_fcm_takes_nothing_that_is_only_to_be_checked() -> None:
    fcm = Fcm()
    assert fcm.vendor.answer(fcm.ask({"validate_only": True, "message": MESSAGE})).status == 200
    assert fcm.vendor.taken == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"topic": "news"}, "message"),
        ({"token": ""}, "message"),
        ({"token": "not a token"}, "message.token"),
        ({"data": {"items": 1}}, "message.data.items"),
        ({"data": {"google.x": "1"}}, "message.data.google.x"),
        ({"data": {"from": "1"}}, "message.data.from"),
        ({"data": ["a"]}, "message.data"),
        ({"data": {"a": "x" * 5000}}, "message"),
        ({"android": {"ttl": "2419201s"}}, "message.android.ttl"),
        ({"android": {"ttl": 60}}, "message.android.ttl"),
        ({"android": {"priority": "urgent"}}, "message.android.priority"),
        ({"notification": {"text": "x"}}, "message.notification.text"),
        ({"to": "x"}, "message.to"),
    ],
)
def test_fcm_names_the_field_that_is_wrong(changes: dict[str, Any], field: str) -> None:
    fcm = Fcm()
    reply = fcm.send(**changes)
    assert (reply.status, code_of(reply)) == (400, "INVALID_ARGUMENT")
    told = reply.body["error"]["details"][1]["fieldViolations"]
    assert [one["field"] for one in told] == [field]
    assert fcm.vendor.taken == []


def test_fcm_tells_what_became_of_a_device() -> None:
    fcm = Fcm()
    gone = fcm.send(token="unregistered-1")
    assert (gone.status, code_of(gone)) == (404, "UNREGISTERED")
    other = fcm.send(token="other-project-1")
    assert (other.status, code_of(other)) == (403, "SENDER_ID_MISMATCH")
    assert fcm.vendor.answer(fcm.ask({"message": MESSAGE}, "another")).status == 404
    fcm.token = "wrong"
    assert fcm.send().status == 401


def test_fcm_lets_a_token_run_out_once() -> None:
    fcm = Fcm()
    asked = fcm.ask({"message": MESSAGE})
    assert fcm.vendor.misbehave("token_ran_out", asked).status == 401
    assert Fcm().vendor.answer(asked).status == 200


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"text": "hello"}, "ok"),
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "hi"}}]}, "ok"),
        ({}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"blocks": [{"type": "paragraph"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": {"text": "x" * 151}}]}, "invalid_blocks"),
        (b"text=hello", "invalid_payload"),
    ],
)
def test_slacks_webhook_answers_with_a_word(body: Any, text: str) -> None:
    slack = SlackSimulator()
    reply = slack.answer(ask(slack.credentials["webhook_path"], body))
    assert (reply.status, reply.body) == (200 if text == "ok" else 400, text.encode())
    assert bool(slack.taken) == (text == "ok")
    assert bool(slack.complaints) == (text != "ok")


def test_slacks_api_says_errors_in_a_200() -> None:
    slack = SlackSimulator()
    path, token = "/api/chat.postMessage", f"Bearer {slack.credentials['bot_token']}"
    body = {"channel": slack.credentials["channel"], "text": "hello"}
    assert slack.answer(ask(path, body)).body == {"ok": False, "error": "not_authed"}
    wrong = slack.answer(ask(path, {**body, "channel": "C1"}, authorization=token))
    assert (wrong.status, wrong.body["error"]) == (200, "channel_not_found")
    assert slack.answer(ask(path, body, authorization=token)).body["ok"] is True
    assert len(slack.taken) == 1
    assert slack.answer(ask("/services/T0/B0/other", body)).status == 403


def s2s(key: str = "simulated-dev-key", app: str = "simulatedappids", **changes: Any) -> Any:
    vendor = MetrixS2sSimulator()
    body = {name: value for name, value in (EVENT | changes).items() if value is not None}
    reply = vendor.answer(ask(f"/inappevent/{app}", body, authorization=key))
    return reply.status, reply.body.get("type", ""), len(vendor.taken), len(vendor.complaints)


def test_metrix_s2s_takes_an_event() -> None:
    assert s2s() == (200, "", 1, 0)
    assert s2s(eventTime=1795169730000) == (200, "", 1, 0)


@pytest.mark.parametrize(
    ("changes", "status", "type", "complaints"),
    [
        ({"key": "wrong"}, 403, "INVALID_PARAMETERS", 0),
        ({"key": "Bearer simulated-dev-key"}, 403, "INVALID_PARAMETERS", 1),
        ({"app": "another"}, 403, "INVALID_PARAMETERS", 0),
        ({"advertisingId": None}, 400, "IDFA_AND_ADVERTISING_ID_SHOULD_NOT_BE_NULL", 1),
        ({"idfa": "X"}, 400, "ONLY_ONE_OF_IDFA_AND_ADVERTISING_ID_SHOULD_BE_SET", 1),
        ({"eventSlug": "zzzzz"}, 404, "EVENT_TYPE_DOES_NOT_EXIST", 0),
        ({"eventSlug": "Order"}, 404, "EVENT_TYPE_DOES_NOT_EXIST", 0),
        ({"metrixUserId": None}, 400, "INVALID_PARAMETERS", 1),
        ({"eventTime": 1795169730}, 400, "INVALID_PARAMETERS", 1),
        ({"eventTime": "2026-11-20"}, 400, "INVALID_PARAMETERS", 1),
        ({"customAttributes": {"items": 1}}, 400, "INVALID_PARAMETERS", 2),
        ({"customMetrics": {"items": "1"}}, 400, "INVALID_PARAMETERS", 1),
        ({"customAttributes": {"_currency": "GBP"}}, 400, "INVALID_PARAMETERS", 1),
        ({"customMetrics": {f"m{n}": 1 for n in range(51)}}, 400, "INVALID_PARAMETERS", 1),
        ({"properties": {}}, 400, "INVALID_PARAMETERS", 1),
    ],
)
def test_metrix_s2s_refuses(
    changes: dict[str, Any], status: int, type: str, complaints: int
) -> None:
    assert s2s(**changes) == (status, type, 0, complaints)


class Rest:
    """A simulator that is asked with the right key."""

    def __init__(self) -> None:
        self.vendor = MetrixRestSimulator()

    def send(
        self, *messages: dict[str, Any], key: str = "simulated-server-key", **user: Any
    ) -> int:
        body = {"customUserId": "u-42", **user, "messages": [*messages]}
        asked = ask("/", body, x_application_id="simulatedappids", x_api_key=key)
        return self.vendor.answer(asked).status


def test_metrix_rest_takes_messages_once() -> None:
    rest = Rest()
    second = {**ACTION, "id": "m-2", "time": 1795169730001}
    assert rest.send(ACTION, second) == 200
    assert rest.send(ACTION) == 200
    assert ([one.id for one in rest.vendor.taken], rest.vendor.duplicates) == (["m-1", "m-2"], 1)
    assert rest.vendor.complaints == []


def test_metrix_rest_drops_a_second_message_of_a_millisecond() -> None:
    rest = Rest()
    assert rest.send(ACTION, {**ACTION, "id": "m-2"}) == 200
    assert rest.send({**ACTION, "id": "m-3"}, customUserId="u-43") == 200
    assert [one.id for one in rest.vendor.taken] == ["m-1", "m-3"]
    assert [one.rule for one in rest.vendor.complaints] == ["same_millisecond"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"type": "track"}, "messages.0.type"),
        ({"id": ""}, "messages.0.id"),
        ({"time": 1795169730}, "messages.0.time"),
        ({"name": "taqsq"}, "messages.0.name"),
        ({"customName": None}, "messages.0.name"),
        ({"type": "revenue"}, "messages.0.revenue"),
        ({"type": "revenue", "revenue": 1, "currency": "TOMAN"}, "messages.0.currency"),
        ({"attributes": []}, "messages.0.attributes"),
    ],
)
def test_metrix_rest_answers_200_and_drops_what_is_wrong(
    changes: dict[str, Any], where: str
) -> None:
    rest = Rest()
    assert rest.send({**ACTION, **changes}) == 200
    assert rest.vendor.taken == []
    assert [one.where for one in rest.vendor.complaints] == [where]


def test_metrix_rest_refuses_keys_and_envelopes() -> None:
    rest = Rest()
    assert rest.send(ACTION, key="wrong") == 403
    assert rest.send() == 400
    assert rest.send(ACTION, customUserId="") == 400
    assert rest.send(ACTION, user="u-42") == 400
    assert rest.vendor.taken == []
