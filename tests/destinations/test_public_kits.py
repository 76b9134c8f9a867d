"""Every public kit that speaks HTTP: each event that its playbook maps becomes a request."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.kit_driving import NOW_MS, Driven, by_json, drive
from tests.support.kits import kit_names, kit_params, read_kit
from tests.support.semantic_events import BARE, FULL, named
from trunkline.destinations.http_kit import HttpKit, HttpKitSettings
from trunkline.kit.destination import Call, Request, Response, map_event
from trunkline.kits.kit import parse_kit
from trunkline.model.outcome import Delivered
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.lua_world import LuaLoader, LuaWorld
from trunkline.playbook.program import Moment

_STARTS = re.compile(r"^\$\$([A-Z_0-9]+)\$\$")


@cache
def private_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain).decode()


def params_of(tree: dict[str, Any]) -> dict[str, str]:
    """Return a value for every param, an address where a URL begins with it."""
    params = kit_params(tree)
    connection = tree["connection"]
    requests = [connection["default"], *connection.get("eventSpecific", {}).values()]
    urls = [one["endpoint"] for one in requests]
    urls += [one["oauth2Auth"]["request"]["url"] for one in requests if "oauth2Auth" in one]
    for name in (found[1] for url in urls if (found := _STARTS.match(url))):
        if not params[name].startswith("http"):
            params[name] = "https://account.vendor.example/in"
    return {name: private_key() if "PRIVATE_KEY" in name else v for name, v in params.items()}


class Vendor:
    """A kit at work: its playbook with the Lua in this process, its connection, and an answer."""

    def __init__(self, name: str) -> None:
        tree = read_kit(name)
        kit = parse_kit(tree, name)
        params = params_of(tree)
        settings = {"kit": name, "connection": kit.connection, "params": params}
        self._destination = HttpKit(msgspec.convert(settings, HttpKitSettings))
        self._program = compile_playbook(kit.book, params, LuaLoader())
        world = LuaWorld()
        code = self._destination.code()
        self._code = {key: world.expression(one.body, one.reads) for key, one in code.items()}

    def send(self, event: dict[str, Any]) -> list[Driven]:
        """Shape an event and send each output; nothing of it may fail."""
        shaped = self._program.shape(event, Moment(NOW_MS, event["messageId"]))
        assert shaped.failure is None
        plain = map_event(event)
        outputs = [msgspec.json.encode(output) for output in shaped.outputs]
        pieces = [msgspec.structs.replace(plain, body=b, origin=plain.body) for b in outputs]
        return [drive(self._destination, [piece], answer, self._run) for piece in pieces]

    def _run(self, call: Call) -> Any:
        values = call.values
        return self._code[call.name](values["request"], values["batch"], Moment(NOW_MS, "seed"))


def answer(request: Request) -> Response:
    """Give a token to whoever asks for one in a form that some kit knows, and take all else."""
    is_token = "oauth" in request.url or "token" in request.url
    keys = ("access_token", "accessToken", "access") if is_token else ()
    return by_json(dict.fromkeys(keys, "t"))


def sendable() -> list[str]:
    kits = [parse_kit(read_kit(name), name) for name in kit_names()]
    return [kit.name for kit in kits if not kit.cannot_send]


def requests_of(vendor: str, events: list[dict[str, Any]]) -> int:
    """Send events, each of which must arrive with no param left open; return the requests."""
    sender, made = Vendor(vendor), 0
    for event in events:
        for driven in sender.send(event):
            assert driven.outcomes == [Delivered()], (vendor, event)
            request = driven.requests[-1]
            told = request.url + repr(request.headers) + request.body.decode()
            assert "$$" not in told, vendor
            made += 1
    return made


@pytest.mark.slow
def test_what_a_shop_sends_becomes_a_request_of_every_kit_that_maps_it() -> None:
    names = sendable()
    assert len(names) == 103
    events = [named(name) for name in ("Order Completed", "page", "identify")]
    assert sum(requests_of(name, events) for name in names) > 180


@pytest.mark.slow
def test_every_event_whole_and_bare_becomes_a_request_of_every_kit_that_maps_it() -> None:
    assert sum(requests_of(name, [*FULL, *BARE]) for name in sendable()) > 3000


def only(vendor: str, event: dict[str, Any]) -> Request:
    (driven,) = Vendor(vendor).send(event)
    return driven.requests[-1]


def test_a_batch_envelope_of_a_transform() -> None:
    body = msgspec.json.decode(only("facebook-pixel", named("Order Completed")).body)
    assert body.keys() == {"data", "partner_agent"}
    assert [one["event_name"] for one in body["data"]] == ["Purchase"]


def test_a_transform_that_builds_the_path_and_the_credentials() -> None:
    request = only("customer-io", named("identify"))
    assert (request.method, request.url) == (
        "PUT", "https://track.customer.io/api/v1/customers/u-42",
    )  # fmt: skip
    assert dict(request.headers)["Authorization"] == "Basic bXktc2l0ZS1pZDpteS1hcGkta2V5"
    assert msgspec.json.decode(request.body)["id"] == "u-42"


def test_a_transform_that_puts_a_query_in_order() -> None:
    query = urlsplit(only("rakuten-conversions", named("Order Completed")).url).query
    assert [name for name, _ in parse_qsl(query)][:5] == ["mid", "ord", "tr", "land", "date"]


def test_a_transform_that_writes_separators_of_its_own() -> None:
    event = named("page")
    event["context"]["providers"] = {"adobe": {"aam_uuid": "a-1", "fire_sync_chain": True}}
    event["context"]["providers"]["XXXXXXXX"] = {"YYY": "c-1"}
    url = only("adobe-id", event).url
    assert url == "https://dpm.demdex.net/ibs:d_uuid=a-1&d_cid=partner_id%01c-1"


def test_a_body_that_a_transform_empties_is_none() -> None:
    request = only("rtb-house", named("Order Completed"))
    assert (request.method, request.body) == ("POST", b"")
    assert "tag=pr_my-tagging-hash_conversion_order" in request.url


def test_a_token_is_signed_for_with_a_private_key() -> None:
    (driven,) = Vendor("google-ads").send(named("Order Completed"))
    asked, request = driven.requests
    assert asked.url == "https://oauth2.googleapis.com/token"
    assertion = dict(parse_qsl(asked.body.decode()))["assertion"]
    assert len(assertion.split(".")) == 3
    assert dict(request.headers)["Authorization"] == "Bearer t"


def test_oauth_1_signs_what_is_sent() -> None:
    header = dict(only("x-ads", named("Order Completed")).headers)["Authorization"]
    assert header.startswith('OAuth oauth_consumer_key="my-consumer-key", ')
    assert "oauth_signature=" in header
