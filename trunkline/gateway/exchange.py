"""One HTTP exchange: what was asked, and the one place that answers.

Everything that stands on every answer is added here: CORS, `X-Request-Id`, `Retry-After`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from itertools import count

from trunkline.gateway.cors import Headers, cors_headers, preflight_headers
from trunkline.gateway.http1_answers import format_head, format_plain_head
from trunkline.gateway.wire import Scope, Wire
from trunkline.kit.protocol import Answer

_JSON = "application/json"
_OK = 200
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


class RequestIds:
    """Ids for requests that bring none: random for the process, then counted. 0.2 µs each."""

    def __init__(self) -> None:
        self._prefix = uuid.uuid4().hex[:12] + "-"
        self._numbers = count(1)

    def choose(self, given: str | None) -> str:
        """Return the caller's own id where it is at most 128 safe characters, else a new one."""
        if given is not None and _SANE_ID.fullmatch(given):
            return given
        return f"{self._prefix}{next(self._numbers):x}"


class Exchange:
    """A request and the way back.

    `held` are bytes of bodies that are counted as in flight. `is_gathered`: the committer has its
    events, and will have it answered.
    """

    __slots__ = (
        "headers",
        "held",
        "is_gathered",
        "method",
        "path",
        "proto",
        "request_id",
        "scope",
    )

    def __init__(self, scope: Scope, proto: Wire, ids: RequestIds) -> None:
        self.scope = scope
        self.proto = proto
        self.method = scope.method
        self.path = scope.path
        self.headers = scope.headers
        self.request_id = ids.choose(self.headers.get("x-request-id"))
        self.held = 0
        self.is_gathered = False

    def send(
        self,
        status: int,
        body: bytes,
        content_type: str = _JSON,
        more: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Answer. Never raises for a client that is gone, and only the first answer counts."""
        self.proto.response_bytes(status, self._headers(content_type, more), body)

    def prepare(self, answer: Answer) -> str:
        """Return the head of the answer, to be sent with its body by `proto.answer`."""
        if (
            answer.status == _OK
            and answer.content_type == _JSON
            and not answer.headers
            and "origin" not in self.headers
        ):
            return format_plain_head(self.request_id, len(answer.body))
        headers = self._headers(answer.content_type, answer.headers)
        return format_head(answer.status, headers, len(answer.body))

    def send_answer(self, answer: Answer, retry_after_seconds: int | None = None) -> None:
        """Answer what a protocol said, with a `Retry-After` unless it set its own."""
        more = answer.headers
        if retry_after_seconds is not None and not _has(more, "retry-after"):
            more = (*more, ("retry-after", str(retry_after_seconds)))
        if answer.file is None:
            self.send(answer.status, answer.body, answer.content_type, more)
        else:
            headers = self._headers(answer.content_type, more)
            self.proto.response_file(answer.status, headers, str(answer.file))

    def _headers(self, content_type: str, more: Sequence[tuple[str, str]]) -> Headers:
        return [
            ("content-type", content_type),
            ("x-request-id", self.request_id),
            *cors_headers(self.headers.get("origin")),
            *more,
        ]

    def send_preflight(self) -> None:
        """Answer OPTIONS: 204, whatever the path, so that the browser gets to see the real one."""
        headers = preflight_headers(
            self.headers.get("origin"), self.headers.get("access-control-request-headers", "")
        )
        self.proto.response_empty(204, [("x-request-id", self.request_id), *headers])


def _has(headers: Sequence[tuple[str, str]], name: str) -> bool:
    return any(key.lower() == name for key, _ in headers)
