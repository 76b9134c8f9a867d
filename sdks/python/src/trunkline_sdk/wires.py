"""The three APIs of a node as one contract: how entries become a request, what an answer means.

Pure: no sockets and no clock here, so that every answer can be tried.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Union, cast
from urllib.parse import quote

from trunkline_sdk.clock import format_ms
from trunkline_sdk.entry import Waiting, tracking_route
from trunkline_sdk.errors import InvalidSetting
from trunkline_sdk.transport import Answer, Request

BATCH_BYTES_MAX = 500_000  # the node takes 512 KiB; the rest is for what stands beside the events
BATCH_EVENTS_MAX = 2_500
LATER = frozenset({408, 425, 429})
WRONG = frozenset({400, 413, 422})


@dataclass(frozen=True)
class Refusal:
    """What a node says of one event: its place in the request, code and sentence."""

    index: int
    code: str
    message: str


@dataclass(frozen=True)
class Stored:
    """All is stored but what was refused."""

    refused: Sequence[Refusal] = ()


@dataclass(frozen=True)
class Wrong:
    """The request cannot be taken: one event is at fault, or there are too many."""

    code: str
    message: str


@dataclass(frozen=True)
class Suspect:
    """Either this event or the key is at fault; another event tells which."""

    code: str
    message: str


@dataclass(frozen=True)
class NotNow:
    """Nothing is at fault. `after_seconds` is what the node asked for, else 0."""

    message: str
    after_seconds: float = 0.0


@dataclass(frozen=True)
class Held:
    """A person must mend something: a key, an address. The events wait for it."""

    message: str


Verdict = Union[Stored, Wrong, Suspect, NotNow, Held]


class Wire(ABC):
    """One API, with the key of one app."""

    route: str

    @abstractmethod
    def pack(self, waiting: Sequence[Waiting], now: int) -> Request:
        """Return the request that carries these entries."""

    def parts(self, waiting: Sequence[Waiting]) -> list[list[Waiting]]:
        """Cut entries into those that may share a request, in their order."""
        return [list(waiting)]

    def judge(self, answer: Answer, now: int) -> Verdict:
        """Return what an answer means."""
        said = _read(answer.body)
        code, message = _reason(answer, said)
        if answer.status == 200:
            return _stored(said, answer)
        if answer.status in LATER or answer.status >= 500:
            return NotNow(message, answer.retry_after_seconds(now))
        return self._judge_refusal(answer.status, code, message)

    def _judge_refusal(self, status: int, code: str, message: str) -> Verdict:
        is_node = code != str(status)  # a proxy's own 400 says nothing about an event
        is_wrong = status == 413 or (status in WRONG and is_node)
        return Wrong(code, message) if is_wrong else Held(message)


class TrackingWire(Wire):
    """The tracking API, `POST /v1/batch`."""

    def __init__(self, write_key: str, route: str = "") -> None:
        check_key(write_key, "write_key")
        self.route = route or tracking_route(write_key)
        login = b64encode(f"{write_key}:".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}

    def pack(self, waiting: Sequence[Waiting], now: int) -> Request:
        events = b",".join(one.entry.body for one in waiting)
        body = b'{"sentAt":"%s","batch":[%s]}' % (format_ms(now).encode(), events)
        return Request("/v1/batch", self._headers, body)


class S2SWire(Wire):
    """The S2S API, `POST /inappevent/{appId}`: one event a request."""

    def __init__(self, app_id: str, dev_key: str) -> None:
        check_key(app_id, "app_id")
        check_key(dev_key, "dev_key")
        self.route = f"s2s:{app_id}"
        self._path = f"/inappevent/{quote(app_id, safe='')}"
        self._headers = {"Authorization": dev_key}

    def parts(self, waiting: Sequence[Waiting]) -> list[list[Waiting]]:
        return [[one] for one in waiting]

    def pack(self, waiting: Sequence[Waiting], now: int) -> Request:  # noqa: ARG002
        return Request(self._path, self._headers, waiting[0].entry.body)

    def _judge_refusal(self, status: int, code: str, message: str) -> Verdict:
        if code == "EVENT_TYPE_DOES_NOT_EXIST":
            return Wrong(code, message)
        if code == "INVALID_PARAMETERS":  # said of a wrong key and of a wrong field alike
            return Suspect(code, message)
        return super()._judge_refusal(status, code, message)


class RestWire(Wire):
    """The REST API, `POST /v1/messages`: messages of one user a request."""

    def __init__(self, app_id: str, api_key: str) -> None:
        check_key(app_id, "app_id")
        check_key(api_key, "api_key")
        self.route = f"rest:{app_id}"
        self._headers = {"X-Application-Id": app_id, "X-API-Key": api_key}

    def parts(self, waiting: Sequence[Waiting]) -> list[list[Waiting]]:
        return [list(part) for _, part in groupby(waiting, lambda one: one.entry.group)]

    def pack(self, waiting: Sequence[Waiting], now: int) -> Request:  # noqa: ARG002
        user = waiting[0].entry.group.encode()
        messages = b",".join(one.entry.body for one in waiting)
        body = b'%s,"messages":[%s]}' % (user[:-1], messages)
        return Request("/v1/messages", self._headers, body)


def check_key(value: object, what: str) -> None:
    """Raise `InvalidSetting` unless a key or id is text that can stand in a header."""
    if not isinstance(value, str):
        raise InvalidSetting(f"{what} is {value!r}; give text, copied from the app's settings")
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise InvalidSetting(
            f"{what} must be text of visible ASCII characters, without spaces around; copy it "
            "from the app's settings"
        )


def _stored(said: dict[str, Any], answer: Answer) -> Verdict:
    if said.get("success") is not True and said.get("status") != "success":
        return NotNow(
            f"the answer 200 is none of a Trunkline node: {answer.body[:80]!r}; check the host"
        )
    rows = cast("list[dict[str, Any]]", said.get("rejected") or [])
    return Stored([Refusal(int(r["index"]), str(r["code"]), str(r["message"])) for r in rows])


def _read(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _reason(answer: Answer, said: dict[str, Any]) -> tuple[str, str]:
    code = said.get("type") or said.get("code") or str(answer.status)
    sentence = said.get("description") or said.get("message") or ""
    return str(code), f"HTTP {answer.status} {sentence}".strip()
