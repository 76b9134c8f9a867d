"""What the tests of the REST API share: headers, messages, requests."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.tracking_apps import RECEIVED_MS, SNAPSHOT, make_request
from trunkline.kit.protocol import Decoded
from trunkline.model.snapshot import Snapshot
from trunkline.protocols.rest import RestProtocol

PROTOCOL = RestProtocol()
TIME = RECEIVED_MS - 1200


def headers_of(key: str = "wk_backend", app: str = "shop", **more: str) -> dict[str, str]:
    """Return the headers of a request; `sec_fetch_site` stands for sec-fetch-site."""
    own = {"x-application-id": app, "x-api-key": key}
    return own | {name.replace("_", "-"): value for name, value in more.items()}


def message(kind: str = "action", **fields: Any) -> dict[str, Any]:
    """Return a good message of a type, with these fields beside it."""
    own: dict[str, dict[str, Any]] = {
        "action": {"name": "ordrc"},
        "revenue": {"name": "ordrc", "revenue": 5},
        "businessEvent": {"name": "ordrc"},
        "user": {"city": "Tehran"},
        "systemEvent": {"name": "Session Started"},
        "pushSubscription": {"subscription": {"endpoint": "https://push.example/1"}},
        "pushToken": {"token": "fcm-1"},
    }
    return {"type": kind, "id": "m-1", "time": TIME, **own.get(kind, {}), **fields}


def body_of(*messages: Any, **beside: Any) -> bytes:
    """Return a request's body."""
    return msgspec.json.encode({"customUserId": "u-42", "messages": messages, **beside})


def send(
    body: bytes,
    headers: dict[str, str] | None = None,
    path: str = "/v1/messages",
    snapshot: Snapshot = SNAPSHOT,
    **more: Any,
) -> Decoded:
    """Decode a request as the backend of the shop sends it."""
    given = headers_of() if headers is None else headers
    return PROTOCOL.decode(make_request(PROTOCOL, path, body, headers=given, **more), snapshot)


def answer_of(decoded: Decoded) -> Any:
    """Return the answer's JSON."""
    return msgspec.json.decode(decoded.answer.body)
