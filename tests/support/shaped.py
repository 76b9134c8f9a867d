"""Playbooks for tests of a forwarder, and a kind that keeps what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.support.forwarding import Post, PostSettings, Rig, destination, event
from tests.support.forwarding import snapshot as model_snapshot
from trunkline.kit.destination import Attempt, Call, Mapped, Request
from trunkline.kit.shaping import CodeSource, Workshop
from trunkline.model import snapshot as model
from trunkline.model.record import StoredEvent


class Keep(Post):
    """Sends what `Post` does, and keeps every body that it was given, by messageId."""

    kind = "keep"
    kept: list[tuple[str, bytes]] = []

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        Keep.kept += [(each.message_id, each.body) for each in events]
        return super().build(events, attempt)


class TransformSettings(PostSettings, frozen=True, kw_only=True):
    """`body` is Lua that reads `batch` and `request`."""

    body: str = "return request"


class Transforming(Post):
    """A connection with code of its own, as the kits have."""

    kind = "transforming"
    settings_type = TransformSettings
    built: list[Any] = []

    def code(self) -> dict[str, CodeSource]:
        return {
            "default": CodeSource("lua", self.settings.body, ("request", "batch"), "connection")
        }

    def exchange(self, events: Sequence[Mapped], attempt: Attempt) -> Any:
        batch = [each.value for each in events]
        request = yield Call("default", {"request": {"url": "u"}, "batch": batch})
        Transforming.built.append(request)
        response = yield self.build(events, attempt)
        return [self.judge(response)] * len(events)


def rig_with(
    folder: Path, *destinations: model.Destination, workshop: Workshop | None = None
) -> Rig:
    """A rig whose kinds keep what they are given."""
    rig = Rig(folder)
    rig.kinds |= {kind.kind: kind for kind in (Keep, Transforming)}
    rig.options["workshop"] = workshop
    rig.snapshot = model_snapshot(1, *destinations)
    Keep.kept, Transforming.built = [], []
    return rig


def bodies() -> dict[str, Any]:
    """What was sent last of each event, by messageId."""
    return {message_id: msgspec.json.decode(body) for message_id, body in Keep.kept}


def playbook(**sections: Any) -> bytes:
    """A playbook as JSON; `default` keeps messageId as `id` where it is left out."""
    mapping = {"inputKey": "messageId", "outputKey": "id"}
    return msgspec.json.encode({"default": {"mappings": [mapping]}, **sections})


def marked(mark: str, **sections: Any) -> bytes:
    """A playbook whose output says which one it was, first and last."""
    enrichments = [{"outputKey": key, "staticString": mark} for key in ("first", "last")]
    mapping = {"inputKey": "messageId", "outputKey": "id"}
    return playbook(default={"enrichments": enrichments, "mappings": [mapping]}, **sections)


def without(*names: str) -> dict[str, Any]:
    """A global section that drops events by name."""
    return {"filters": [{"byEventNames": {"action": "deny", "events": list(names)}}]}


def lua(body: str) -> bytes:
    """A playbook of one Lua expression whose table is the output."""
    return playbook(default={"expressions": [{"lang": "lua", "name": "all", "body": body}]})


def shaped(uid: int = 1, revision: int = 1, **changes: Any) -> model.Destination:
    """A destination of kind `keep` with a playbook."""
    values = {"kind": "keep", "playbook": marked("r1"), "revision": revision, **changes}
    return destination(uid, **values)


def secret(message_id: str, user: str = "") -> StoredEvent:
    """An event that `without("Secret")` drops."""
    return event(message_id, user, name="Secret")
