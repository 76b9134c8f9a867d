"""Kits on a real node: imported, applied with params, and delivering to a vendor on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kits import find_kits
from tests.support.vendor_server import TOKEN_PATH, Seen, VendorServer
from tests.support.whole_node import PATIENCE_SECONDS, WholeNode, workspace

pytestmark = pytest.mark.slow

SECRET = "s3cr&t-of-the-vendor"
NAMED = {"mappings": [{"inputKey": "messageId", "outputKey": "id"}]}
PARAMS = [{"name": "ENDPOINT"}, {"name": "SECRET", "isSensitive": True}]
SPLIT = """
local found = {}
for _, product in ipairs(input.properties.products) do
  table.insert(found, { id = input.messageId, sku = product.sku, n = #input.properties.products })
end
return { _metarouter_batch = found }
"""
ENVELOPE = """
request.headers["X-Count"] = #batch
request.body = { data = batch, account = '$$ACCOUNT$$' }
return request
"""


def kits() -> dict[str, Any]:
    """Return the kits of the story, by name."""
    plain = {
        "params": [*PARAMS, {"name": "REGION", "defaultValue": "eu"}],
        "default": {
            "endpoint": "$$ENDPOINT$$/$$REGION$$/events",
            "headers": [
                {"key": "X-Key", "value": "Key $$SECRET$$"},
                {"key": "X-Seen-By", "fromEventKey": "context.userAgent"},
                {"key": "Accept-Encoding", "value": "application/json"},
            ],
        },
        "eventSpecific": {"identify": {"endpoint": "$$ENDPOINT$$/people", "method": "GET"}},
    }
    batched = {
        "params": [*PARAMS, {"name": "ACCOUNT", "isOptional": True}],
        "default": {
            "endpoint": "$$ENDPOINT$$/batched",
            "batchSize": 50,
            "transform": {"lang": "lua", "body": ENVELOPE},
        },
    }
    secured = {
        "params": PARAMS,
        "default": {
            "endpoint": "$$ENDPOINT$$/secured",
            "oauth2Auth": {
                "request": {
                    "url": f"$$ENDPOINT$${TOKEN_PATH}",
                    "method": "POST",
                    "contentType": "application/x-www-form-urlencoded",
                    "body": [{"key": "client_secret", "value": "$$SECRET$$"}],
                },
                "responseAccessTokenKey": "access_token",
            },
        },
    }
    split = {"expressions": [{"lang": "lua", "name": "split", "body": SPLIT}]}
    trees = {
        "plain": (plain, {"default": NAMED}),
        "batched": (batched, {"default": split}),
        "secured": (secured, {"default": NAMED}),
    }
    return {
        name: {"format": 1, "name": name, "connection": connection, "playbook": playbook}
        for name, (connection, playbook) in trees.items()
    }


class Stage(WholeNode):
    """A node with one destination for each kit, and the vendor they all send to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home")
        self.vendor = VendorServer()
        self.kits = folder / "kits"
        self.kits.mkdir()
        for name, tree in kits().items():
            (self.kits / f"{name}.yaml").write_text(json.dumps(tree))
        told = self.say("kits", "import", str(self.kits))
        assert (told["failed"], told["without_connection"]) == ([], [])
        own = self.say("kits", "import", str(find_kits() / "build-your-own"))
        assert own["imported"] == ["build-your-own"]
        made = [
            self.made("plain", batch_events_max=1),
            self.made("batched", {"ACCOUNT": "a-1"}),
            self.made("secured"),
            self.made("build-your-own", {}, "/own"),
        ]
        self.apply(workspace(*made))
        self.node.start()

    def made(
        self, kit: str, params: dict[str, str] | None = None, path: str = "", **settings: Any
    ) -> Any:
        """Return a destination of a kit as a workspace file says it."""
        given = {"ENDPOINT": f"{self.vendor.url}{path}"}
        if kit != "build-your-own":
            given["SECRET"] = SECRET
        values = {"kit": kit, "params": {**given, **(params or {})}, **settings}
        return {"id": kit, "kind": "http_kit",
                "settings": {**values, "allow_private_addresses": True}}  # fmt: skip

    def has(self, path: str, message_id: str) -> Seen:
        """Wait for the request that carries an event, and return it."""
        mark = message_id.encode()

        def carries(seen: Seen) -> bool:
            return mark in seen.body or message_id in seen.query

        def came() -> bool:
            return any(carries(seen) for seen in self.vendor.at(path))

        assert self.vendor.wait(came, PATIENCE_SECONDS), (path, self.log()[-4000:])
        return next(seen for seen in self.vendor.at(path) if carries(seen))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("kits"))
    try:
        yield stage
    finally:
        stage.close()
        stage.vendor.close()


def test_params_stand_in_url_and_headers_and_headers_come_from_the_event(stage: Stage) -> None:
    message_id = stage.track(context={"userAgent": "Wallet/7"})
    seen = stage.has("/eu/events", message_id)
    assert (seen.method, seen.json) == ("POST", {"id": message_id})
    assert seen.headers["x-key"] == f"Key {SECRET}"
    assert seen.headers["x-seen-by"] == "Wallet/7"
    assert "application/json" not in seen.headers.get("accept-encoding", "")
    stage.until_settled("plain")


def test_an_event_of_a_request_of_its_own_goes_there(stage: Stage) -> None:
    reply = stage.post("/v1/identify", {"userId": "u-1", "messageId": "identify-1"})
    assert reply.status == 200
    seen = stage.has("/people", "identify-1")
    assert (seen.method, seen.query, seen.body) == ("GET", "id=identify-1", b"")


def test_one_event_becomes_several_in_an_envelope_of_the_kits_transform(stage: Stage) -> None:
    products = [{"sku": "a"}, {"sku": "b"}]
    message_id = stage.track(properties={"products": products})
    seen = stage.has("/batched", message_id)
    assert seen.json["account"] == "a-1"
    ours = [one for one in seen.json["data"] if one["id"] == message_id]
    assert ours == [{"id": message_id, "sku": sku, "n": 2} for sku in "ab"]
    assert int(seen.headers["x-count"]) == len(seen.json["data"])
    stage.until_settled("batched")


def test_a_token_is_fetched_once_and_again_when_it_was_revoked(stage: Stage) -> None:
    stage.has("/secured", stage.track("oauth-user"))
    stage.until_settled("secured")
    before = stage.vendor.issued
    stage.has("/secured", stage.track("oauth-user"))
    assert stage.vendor.issued == before
    stage.vendor.revoke()
    seen = stage.has("/secured", stage.track("oauth-user"))
    assert seen.headers["authorization"] == f"Bearer token-{stage.vendor.issued}"
    assert before < stage.vendor.issued
    asked = stage.vendor.at(TOKEN_PATH)[-1]
    assert asked.body == b"client_secret=s3cr%26t-of-the-vendor"
    stage.until_settled("secured")
    assert stage.line("secured").dead == {}


def test_a_public_kit_delivers_to_the_endpoint_of_its_param(stage: Stage) -> None:
    message_id = stage.track(properties={"total": 7})
    seen = stage.has("/own", message_id)
    assert seen.json["messageId"] == message_id
    stage.until_settled("build-your-own")


def test_no_secret_stands_in_trace_list_or_log(stage: Stage) -> None:
    message_id = stage.track("quiet")
    stage.has("/secured", message_id)
    stage.until_settled("secured")
    stage.until_settled("plain")
    told = [
        json.dumps(stage.say("trace", message_id)), json.dumps(stage.say("destination", "list")),
        json.dumps(stage.say("kits", "list")), stage.log(),
    ]  # fmt: skip
    for text in told:
        assert SECRET not in text
        assert "token-" not in text
