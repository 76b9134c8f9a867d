"""The table of the REST contract: what a Server key and a Client key may do, cell by cell."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.rest import PROTOCOL, answer_of, body_of, headers_of, message, send
from tests.support.tracking_apps import RECEIVED_MS, SNAPSHOT
from trunkline.kit.rest_checks import MESSAGE_TYPES
from trunkline.model.snapshot import Plan

SERVER, CLIENT = "wk_backend", "wk_phone"
BROWSERS = [
    {"origin": "https://shop.example"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_dest": "empty"},
]


def taken(key: str, *messages: object, **more: str) -> tuple[int, list[str]]:
    """Send messages; return the status and the codes of what was refused."""
    decoded = send(body_of(*messages), headers_of(key, **more))
    answer = answer_of(decoded)
    codes = [item["code"] for item in answer["rejected"]] if "rejected" in answer else []
    return decoded.answer.status, codes or ([answer["code"]] if "code" in answer else [])


# may send


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_a_server_key_may_send_everything(kind: str) -> None:
    assert taken(SERVER, message(kind)) == (200, [])


@pytest.mark.parametrize("kind", [kind for kind in MESSAGE_TYPES if kind != "businessEvent"])
def test_a_client_key_may_send_events_and_its_users_data(kind: str) -> None:
    assert taken(CLIENT, message(kind)) == (200, [])


def test_a_client_key_may_not_say_what_the_business_confirmed() -> None:
    sent = [message("businessEvent"), message()]
    assert taken(CLIENT, *sent) == (200, ["server_only_event"])


@pytest.mark.parametrize("kind", ["action", "revenue"])
@pytest.mark.parametrize(
    "name", [{"name": "prchs"}, {"name": None, "customName": "purchase-completed"}]
)
def test_an_event_marked_server_only_is_for_server_keys(
    kind: str, name: dict[str, str | None]
) -> None:
    assert taken(SERVER, message(kind, **name)) == (200, [])
    assert taken(CLIENT, message(kind, **name)) == (200, ["server_only_event"])


# checked by


def test_a_server_key_is_checked_by_the_allowed_ips_that_s2s_has() -> None:
    def ask(key: str, address: str) -> int:
        sent = send(body_of(message()), headers_of(key, "fenced"), address=address)
        return sent.answer.status

    assert ask("wk_fenced", "198.51.100.7") == ask("wk_fenced", "2001:db8::1") == 200
    assert ask("wk_fenced", "203.0.113.9") == ask("wk_fenced", "") == 403
    assert ask("wk_fenced_web", "203.0.113.9") == 200


def test_a_client_key_is_checked_by_its_allowed_origins() -> None:
    assert taken("wk_web", message(), origin="https://shop.example") == (200, [])
    assert taken("wk_web", message(), origin="https://evil.example") == (
        403,
        ["origin_not_allowed"],
    )
    assert taken("wk_phone", message(), origin="https://any.example") == (200, [])


# seen in a browser


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_server_key_seen_in_a_browser_is_refused_and_its_owner_told(
    browser: dict[str, str],
) -> None:
    assert taken(SERVER, message(), **browser) == (403, ["server_key_in_browser"])
    [kept] = send(body_of(message(), message()), headers_of(SERVER, **browser)).refused
    assert (kept.key, kept.code, kept.count) == ("backend", "server_key_in_browser", 2)
    assert "rotate that key" in kept.message


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_client_key_is_normal_in_a_browser(browser: dict[str, str]) -> None:
    assert taken("wk_web", message(), **browser) == (200, [])


def test_sec_fetch_mode_alone_is_no_browser() -> None:
    assert taken(SERVER, message(), sec_fetch_mode="cors") == (200, [])


def test_without_an_origin_a_client_keys_origins_are_not_judged() -> None:
    assert taken("wk_web", message()) == (200, [])


# whose it is, and until when


@pytest.mark.parametrize(
    ("key", "app", "status"),
    [
        ("wk_backend", "shop", 200),
        (" wk_backend ", " shop ", 200),
        ("wk_new", "shop", 200),
        ("wk_old", "shop", 200),
        ("wk_expired", "shop", 403),
        ("wk_backend", "flagged", 403),
        ("wk_backend", "SHOP", 403),
        ("wk_backend", "", 403),
        ("", "shop", 403),
        ("WK_BACKEND", "shop", 403),
        ("k" * 5000, "shop", 403),
        ("کلید", "shop", 403),
    ],
)
def test_a_key_opens_its_own_app_until_its_time_is_over(key: str, app: str, status: int) -> None:
    decoded = send(body_of(message()), headers_of(key, app))
    assert decoded.answer.status == status
    assert not decoded.refused


def test_a_rotated_key_holds_to_the_end_of_its_overlap() -> None:
    sent = [
        send(body_of(message()), headers_of("wk_old"), received_ms=at).answer.status
        for at in (RECEIVED_MS + 999, RECEIVED_MS + 1000)
    ]
    assert sent == [200, 403]


def test_without_rest_in_the_plan_no_key_is_of_use() -> None:
    without = msgspec.structs.replace(SNAPSHOT, plan=Plan(features=("s2s", "bulk", "push")))
    for key in (SERVER, CLIENT):
        decoded = send(body_of(message()), headers_of(key), snapshot=without)
        assert decoded.answer.status == 403
        assert [kept.code for kept in decoded.refused] == ["feature_not_available"]


def test_an_event_says_which_key_it_came_with_and_only_a_client_adds_its_address() -> None:
    seen = {}
    for key in (SERVER, CLIENT):
        [record] = send(body_of(message()), headers_of(key, user_agent="Agent/1")).accepted
        event = PROTOCOL.normalise(record, SNAPSHOT.apps_by_id["shop"]).event
        seen[event.source.key] = (record.is_client, event.context or {})
    assert seen["backend"] == (False, {})
    assert seen["phone"] == (True, {"ip": "203.0.113.9", "userAgent": "Agent/1"})
