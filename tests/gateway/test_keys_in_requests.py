"""Keys in real requests of every protocol: rates in its own shape, last uses, leaks."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.gateway_rig import PlainProtocol, Reply, Rig, running_gateway
from tests.support.tracking_apps import make_app, make_key
from trunkline.gateway.key_uses import WRITE_SECONDS, KeyUses
from trunkline.kit.clock import FakeClock
from trunkline.kit.protocol import Answer, Decoded
from trunkline.kit.settings import GatewaySettings
from trunkline.model.snapshot import S2S, Plan, Rate, Secret, Snapshot, digest
from trunkline.node import protocol_shelf
from trunkline.state.key_uses import KeyUse, read_uses, use_id

SLOWLY = Rate(events_per_second_max=0.5, burst=1)
SHOP = "shop"


def snapshot_of(**rates: Any) -> Snapshot:
    """Return the shop with a dev key and a key of each type, which have these rates."""
    app = make_app(
        SHOP,
        make_key("backend", "wk_backend", **rates),
        make_key("web", "wk_web", "client", **rates),
        s2s=S2S(enabled=True, dev_keys=(Secret(digest("dev_shop")),)),
    )
    return Snapshot(version=1, organisation="Acme", plan=Plan(), apps=(app,))


def gateway(**rates: Any) -> Any:
    """Serve every protocol, behind a proxy on this machine."""
    return running_gateway(
        clock=FakeClock(),
        snapshot=snapshot_of(**rates),
        settings=GatewaySettings(trusted_proxies=("127.0.0.1",)),
        protocols=[PlainProtocol(), *protocol_shelf().values()],
    )


def write_key(key: str) -> str:
    return "Authorization: Basic " + b64encode(f"{key}:".encode()).decode()


TRACK = msgspec.json.encode({"userId": "u-1", "event": "Order Completed"})
ACTION = {"type": "action", "customName": "a", "id": "1", "time": 1_800_000_000_000}
MESSAGES = msgspec.json.encode({"customUserId": "u-1", "messages": [ACTION]})
EVENT = msgspec.json.encode({"eventSlug": "ordrc", "metrixUserId": "u-1", "idfa": "0" * 36})


def track(rig: Rig, key: str = "wk_web", *headers: str) -> Reply:
    return rig.post("/v1/track", TRACK, write_key(key), *headers)


def say(rig: Rig, key: str = "wk_web", *headers: str) -> Reply:
    more = ("X-Application-Id: shop", f"X-API-Key: {key}", *headers)
    return rig.post("/v1/messages", MESSAGES, *more)


def from_(address: str) -> str:
    return f"X-Forwarded-For: {address}"


# Rates


@pytest.mark.parametrize("send", [track, say])
@pytest.mark.parametrize("key", ["wk_web", "wk_backend"])
def test_a_key_s_rate_is_429_in_the_shape_of_its_protocol(send: Any, key: str) -> None:
    with gateway(rate=SLOWLY) as rig:
        assert send(rig, key).status == 200
        reply = send(rig, key)
        assert (reply.status, reply.headers["retry-after"]) == (429, "2")
        assert reply.json["code"] == "rate_limited"
        told = "The rate limit of this key is reached; send again in 2 s."
        assert reply.json["message"] == told
        assert reply.json["error"]["message"] == told
        assert reply.headers["x-request-id"]
        rig.advance(2)
        assert send(rig, key).status == 200


@pytest.mark.parametrize("send", [track, say])
@pytest.mark.parametrize("key", ["wk_web", "wk_backend"])
def test_an_address_s_rate_is_of_the_caller_behind_the_proxy(send: Any, key: str) -> None:
    with gateway(rate_per_ip=SLOWLY) as rig:
        assert send(rig, key, from_("203.0.113.1")).status == 200
        reply = send(rig, key, from_("203.0.113.1"))
        assert (reply.status, reply.headers["retry-after"]) == (429, "2")
        assert reply.json["message"].startswith("The rate limit of this key for one address is")
        assert send(rig, key, from_("203.0.113.2")).status == 200


def test_who_asks_for_its_address_to_be_hidden_is_counted_by_it_all_the_same() -> None:
    with gateway(rate_per_ip=SLOWLY) as rig:
        hidden = "X-IP-Policy: remove"
        assert track(rig, "wk_web", from_("203.0.113.1"), hidden).status == 200
        assert track(rig, "wk_web", from_("203.0.113.2"), hidden).status == 200
        assert track(rig, "wk_web", from_("203.0.113.1"), hidden).status == 429


def test_a_batch_takes_a_token_for_each_of_its_events() -> None:
    with gateway(rate=Rate(1, 10)) as rig:
        event = {"userId": "u-1", "event": "Seen"}
        events = [{**event, "type": "track"} for _ in range(10)]
        body = msgspec.json.encode({"batch": events})
        assert rig.post("/v1/batch", body, write_key("wk_web")).status == 200
        reply = rig.post("/v1/batch", body, write_key("wk_web"))
        assert (reply.status, reply.headers["retry-after"]) == (429, "10")


def test_what_a_rate_refused_is_among_the_refused_of_the_app() -> None:
    with gateway(rate=SLOWLY) as rig:
        track(rig)
        assert track(rig).status == 429
        rig.until(lambda: rig.appender.stored == 2, "the refusal is written")
        [_, refusal] = rig.appender.decoded()
        assert (refusal.app, refusal.key) == (SHOP, "web")
        assert getattr(refusal, "code", "") == "rate_limited"


def test_s2s_has_the_rate_of_its_app_in_its_own_shape() -> None:
    with gateway() as rig:
        app = msgspec.structs.replace(snapshot_of().apps[0], rate=SLOWLY)
        rig.snapshot = msgspec.structs.replace(snapshot_of(), apps=(app,))
        replies = [rig.post("/inappevent/shop", EVENT, "Authorization: dev_shop") for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 429], [r.body for r in replies]
        assert replies[1].headers["retry-after"] == "2"
        assert replies[1].json["status"] == 429


# Uses


def uses_of(rig: Rig) -> dict[str, KeyUse]:
    """Return what the gateway remembers, by secret."""
    names = {use_id(SHOP, digest(text)): text for text in ("wk_backend", "wk_web", "dev_shop")}
    return {names[name]: use for name, use in rig.gateway.key_uses.items()}


def test_a_use_is_remembered_by_the_minute_in_every_protocol() -> None:
    with gateway() as rig:
        minute = rig.clock.now_ms() // 60_000 * 60_000
        assert track(rig, "wk_web").status == 200
        assert say(rig, "wk_backend").status == 200
        rig.post("/inappevent/shop", b"{}", "Authorization: dev_shop")  # refused, but used
        assert uses_of(rig) == dict.fromkeys(("wk_web", "wk_backend", "dev_shop"), KeyUse(minute))
        rig.advance(180)
        assert rig.ask("GET", "/v1/projects/wk_web/settings").status == 200
        assert uses_of(rig)["wk_web"] == KeyUse(minute + 180_000)


def test_what_may_not_be_used_from_there_is_no_use() -> None:
    with gateway() as rig:
        app = snapshot_of().apps[0]
        fenced = msgspec.structs.replace(app.s2s, allowed_ips=("198.51.100.0/24",))
        app = msgspec.structs.replace(app, s2s=fenced)
        rig.snapshot = msgspec.structs.replace(snapshot_of(), apps=(app,))
        assert rig.post("/inappevent/shop", EVENT, "Authorization: dev_shop").status == 403
        assert track(rig, "wk_backend").status == 403
        assert say(rig, "wk_unknown").status == 403
        assert uses_of(rig) == {}


def test_head_uses_nothing() -> None:
    with gateway() as rig:
        assert rig.ask("HEAD", "/v1/projects/wk_web/settings").status == 200
        assert uses_of(rig) == {}


@pytest.mark.parametrize("send", [track, say])
@pytest.mark.parametrize(
    ("header", "origin"),
    [
        ("Origin: https://shop.example", "https://shop.example"),
        ("Sec-Fetch-Site: cross-site", ""),
        ("Origin: " + "x" * 5000, "x" * 200),
    ],
)
def test_a_server_key_from_a_browser_is_counted_as_one_leak_of_that_key(
    send: Any, header: str, origin: str
) -> None:
    with gateway() as rig:
        for _ in range(3):
            assert send(rig, "wk_backend", header).status in (401, 403)
        now = rig.clock.now_ms()
        assert uses_of(rig) == {"wk_backend": KeyUse(0, 3, now, origin)}


def test_a_leak_is_seen_where_no_event_is_sent_too() -> None:
    with gateway() as rig:
        origin = "Origin: https://shop.example"
        assert rig.ask("GET", "/v1/projects/wk_backend/settings", origin).status == 403
        assert rig.ask("GET", "/sourceConfig?writeKey=wk_backend", origin).status == 403
        assert uses_of(rig)["wk_backend"].leaks == 2


def test_a_client_key_in_a_browser_is_no_leak() -> None:
    with gateway() as rig:
        assert track(rig, "wk_web", "Origin: https://shop.example").status == 200
        assert uses_of(rig)["wk_web"].leaks == 0


# The file


def seen(*secrets: str, leaked: bool = False) -> Decoded:
    presented = [(SHOP, digest(secret)) for secret in secrets]
    used, leaks = ([], presented) if leaked else (presented, [])
    return Decoded(Answer(200, b""), used=used, leaked=leaks)


async def settle(uses: KeyUses) -> None:
    """Wait for a write that was begun."""
    assert uses.writing is not None
    await asyncio.wait({uses.writing})


def test_a_change_is_written_every_few_seconds_at_most_and_read_at_the_next_start(
    tmp_path: Path,
) -> None:
    file, clock, snapshot = tmp_path / "keys" / "g.json", FakeClock(), snapshot_of()
    web = use_id(SHOP, digest("wk_web"))

    async def story() -> None:
        uses = KeyUses(file, clock)
        uses.write_soon(snapshot)
        assert uses.writing is None  # nothing to say
        uses.note(seen("wk_web"), {})
        uses.write_soon(snapshot)
        await settle(uses)
        first = read_uses(file)[web]
        clock.pause(60)
        uses.note(seen("wk_web"), {})
        uses.write_soon(snapshot)
        await settle(uses)
        second = read_uses(file)[web]
        assert second.last_ms == first.last_ms + 60_000
        uses.note(seen("wk_web", leaked=True), {"origin": "https://a.example"})
        uses.write_soon(snapshot)
        assert uses.writing is None  # too soon
        clock.pause(WRITE_SECONDS)
        for _ in range(1000):
            uses.note(seen("wk_web", leaked=True), {"origin": "https://b.example"})
        uses.write_soon(snapshot)
        await settle(uses)
        assert read_uses(file)[web].leaks == 1001
        again = KeyUses(file, clock)
        again.note(seen("wk_web", leaked=True), {})
        await again.close(snapshot)
        assert read_uses(file)[web].leaks == 1002

    asyncio.run(story())


def test_secrets_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    file, snapshot = tmp_path / "g.json", snapshot_of()

    async def story() -> None:
        uses = KeyUses(file, FakeClock())
        uses.note(seen("wk_web", "dev_shop", "wk_old"), {})
        assert len(uses.uses) == 3
        await uses.close(snapshot)

    asyncio.run(story())
    assert set(read_uses(file)) == {use_id(SHOP, digest(text)) for text in ("wk_web", "dev_shop")}


def test_a_file_that_cannot_be_written_costs_nothing_and_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("in the way")
    file, clock, snapshot = tmp_path / "keys" / "g.json", FakeClock(), snapshot_of()

    async def story() -> None:
        uses = KeyUses(file, clock)
        uses.note(seen("wk_web"), {})
        uses.write_soon(snapshot)
        await settle(uses)
        assert not file.exists()
        (tmp_path / "keys").unlink()
        clock.pause(WRITE_SECONDS)
        uses.write_soon(snapshot)
        await settle(uses)
        assert file.exists()

    asyncio.run(story())


def test_an_origin_is_kept_as_what_a_terminal_may_show(tmp_path: Path) -> None:
    uses = KeyUses(tmp_path / "g.json", FakeClock())
    uses.note(seen("wk_web", leaked=True), {"origin": "https://a\x1b[31m.example\n"})
    [use] = uses.uses.values()
    assert use.leaked_from == "https://a?[31m.example?"
