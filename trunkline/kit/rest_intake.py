"""One request of the REST API on its way in: what was taken of it, what was refused, the answer.

Its paths have other items in their bodies (messages, recipients, or none at all); who asks, what is
kept of a refusal and what is answered is the same for all.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from trunkline.kit.json_repair import mend_text
from trunkline.kit.posting import PostedAs
from trunkline.kit.protocol import Answer, Decoded, Request
from trunkline.kit.redact import redact
from trunkline.kit.rest_access import error_answer
from trunkline.kit.tracking_checks import EVENT_BYTES_MAX, Problem
from trunkline.kit.write_keys import Grant
from trunkline.model.record import AcceptedEvent, AcceptedRefusal
from trunkline.model.snapshot import Snapshot

USER_AGENT_MAX = 512  # characters

_SHOWN_MAX = 100  # refused items of one request whose bodies are kept; the rest are counted
_SHOWN_BYTES_MAX = 8192  # of a refused body that is larger than any event

_encode = msgspec.json.Encoder().encode


class Rejected(Struct):
    """What the answer says of an item that was refused."""

    index: int
    code: str
    message: str


class _Success(Struct):
    status: str
    accepted: int
    rejected: list[Rejected]


class RestIntake:
    """A request under a known key. `accepted` and `posted_as` are its protocol's to fill."""

    def __init__(self, protocol: str, request: Request, snapshot: Snapshot, grant: Grant) -> None:
        self.protocol = protocol
        self.request = request
        self.snapshot = snapshot
        self.grant = grant
        self.posted_as = PostedAs(request)
        self.accepted: list[AcceptedEvent] = []
        agent = request.headers.get("user-agent", "")[:USER_AGENT_MAX]
        self.user_agent = agent if agent.isascii() else mend_text(agent)
        self._refused: list[AcceptedRefusal] = []
        self._rejected: list[Rejected] = []

    def reject(self, index: int, found: Problem, data: bytes, message_id: str = "") -> None:
        """Refuse one item, whose JSON is `data`; the others go on."""
        self._rejected.append(Rejected(index, found.code, found.message))
        shown = data if len(self._refused) < _SHOWN_MAX else b""
        self._refused.append(self._tell(found, shown, message_id, 1, index))

    def answer(self) -> Decoded:
        """Say what was taken, and which items were not."""
        success = _Success("success", len(self.accepted), self._rejected)
        used = (self.grant.presented,)
        return Decoded(Answer(200, _encode(success)), self.accepted, self._refused, used)

    def refuse(self, found: Problem, count: int = 1) -> Decoded:
        """Refuse all of the request; its owner sees it once, counted as its items."""
        body, grant = self.request.body, self.grant
        data = body if len(body) <= EVENT_BYTES_MAX else body[:_SHOWN_BYTES_MAX]
        used = (grant.presented,) if grant.problem is None else ()
        leaked = (grant.presented,) if grant.is_leak else ()
        refused = (self._tell(found, data, "", count),)
        return Decoded(error_answer(found), (), refused, used, leaked)

    def _tell(
        self, found: Problem, data: bytes, message_id: str, count: int, index: int = -1
    ) -> AcceptedRefusal:
        shown = redact(data) if data else b""
        return AcceptedRefusal(
            app=self.grant.app.id,
            protocol=self.protocol,
            key=self.grant.key.name,
            snapshot=self.snapshot.version,
            received_ms=self.request.received_ms,
            address=self.request.address,
            request_id=self.request.request_id,
            code=found.code,
            message=found.message,
            message_id=message_id,
            body=shown,
            count=count,
            origin=self.posted_as.note(data, shown, index) if data else None,
        )
