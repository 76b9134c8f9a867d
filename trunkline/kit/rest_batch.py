"""Reading a REST request so that one unreadable message costs the others nothing.

The request is cut into its messages without decoding them. What stands beside them, who the user
is and what is known of the device, becomes one envelope that all messages of the request share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from trunkline.kit.batch_body import ENVELOPE_BYTES_MAX, decode_again, explain_json
from trunkline.kit.json_repair import JsonError, read_json
from trunkline.kit.tracking_checks import Problem, describe, problem, read_id
from trunkline.model import refusal, refusal_rest
from trunkline.model.event import JsonObject

USER_FIELDS = ("customUserId", "metrixUserId", "automationUserId")
ABSENT_IDS = ("", "null")  # back ends forward the text
_SDK_VERSION = re.compile(r"[A-Za-z0-9._+-]{1,40}")

_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_messages = msgspec.json.Decoder(list[Raw]).decode


class Parts(Struct):
    """A request cut open: its messages, and the fields beside them, all of them as they came."""

    messages: list[Raw]
    beside: dict[str, Raw]


class Sender(Struct):
    """Whose messages they are. `envelope` is JSON: `ids`, `metaData`, `sdk`, `more`."""

    user_id: str
    anonymous_id: str
    envelope: bytes


def cut_request(body: bytes) -> Parts | Problem:
    """Cut a request into its messages; a problem only where no message could be found."""
    try:
        return _cut(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return decode_again(body, _cut, _explain)


def _cut(body: bytes) -> Parts:
    beside = _decode_fields(body)
    messages = _decode_messages(beside.pop("messages", Raw(b"null")))
    return Parts(messages, beside)


def _explain(value: Any) -> Problem:
    came = describe(value)
    if isinstance(value, dict):
        messages = cast("JsonObject", value).get("messages")
        what = "no messages" if messages is None else f"messages that are {describe(messages)}"
        came = f"an object with {what}"
    return problem(refusal_rest.REST_ENVELOPE, came=came)


def read_sender(parts: Parts, headers: Mapping[str, str]) -> Sender | Problem:
    """Return whose messages they are, or why nobody can say."""
    fields: JsonObject = {}
    for name, raw in parts.beside.items():
        try:
            fields[name] = read_json(bytes(raw))[0]
        except JsonError as error:
            return explain_json(error)
    ids = _take_ids(fields)
    if isinstance(ids, Problem):
        return ids
    envelope: JsonObject = {"ids": ids}
    meta = fields.pop("metaData", None)
    if isinstance(meta, dict) and meta:
        envelope["metaData"] = meta
    elif meta:
        fields["metaData"] = meta  # unfit, and kept among what is unknown
    version = headers.get("mtx-sdk-version", "")
    if _SDK_VERSION.fullmatch(version):
        envelope["sdk"] = version
    more = {name: value for name, value in fields.items() if value is not None}
    if more:
        envelope["more"] = more
    return _seal(ids, envelope)


def _take_ids(fields: JsonObject) -> dict[str, str] | Problem:
    ids: dict[str, str] = {}
    for name in USER_FIELDS:
        came = fields.pop(name, None)
        text = read_id(came)
        if text is None:
            expected = "a string or a number, or leave it out"
            return problem(
                refusal_rest.REST_FIELD, field=name, came=describe(came), expected=expected
            )
        if text not in ABSENT_IDS:
            ids[name] = text
    return ids or problem(refusal_rest.REST_NO_USER)


def _seal(ids: dict[str, str], envelope: JsonObject) -> Sender | Problem:
    data = _encode(envelope)
    if len(data) > ENVELOPE_BYTES_MAX:
        return problem(
            refusal.TRACKING_TOO_LARGE,
            what="what stands beside the messages",
            size=str(len(data)),
            limit=str(ENVELOPE_BYTES_MAX),
        )
    return Sender(choose_user(ids), ids.get("metrixUserId", ""), data)


def choose_user(ids: Mapping[str, str]) -> str:
    """Return the user's id: the customer's own before the platform's."""
    return next(ids[name] for name in USER_FIELDS if name in ids)
