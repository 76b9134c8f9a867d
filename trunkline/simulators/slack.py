"""Slack: incoming webhooks, whose URL is the secret, and `chat.postMessage`, which answers 200."""

from __future__ import annotations

from typing import Any

from trunkline.simulators.checks import at, bearer_of, is_text, json_object_of, list_at
from trunkline.simulators.simulator import Ask, Reply, Simulator

TEXT_CHARACTERS_MAX = 40_000
BLOCKS_MAX = 50
SECTION_CHARACTERS_MAX = 3_000
HEADER_CHARACTERS_MAX = 150

_BLOCKS = (
    "section", "divider", "image", "actions", "context", "input", "file", "header", "video",
    "rich_text", "markdown", "table",
)  # fmt: skip


class SlackSimulator(Simulator):
    """What a webhook and `chat.postMessage` take. Slack does not tell duplicates."""

    vendor = "slack"
    title = "Slack"
    docs = "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"
    credentials = {
        "webhook_path": "/services/T00000000/B00000000/simulatedwebhooksecret00",
        "bot_token": "xoxb-simulated-token",
        "channel": "C0SIMULATED",
    }
    own_faults = {
        "archived": "410 channel_is_archived",
        "no_service": "404 no_service: the webhook was removed",
        "invalid_payload": "400 invalid_payload",
        "rollback": "500 rollback_error",
    }
    fault_outcomes = {
        "archived": "blocked",
        "no_service": "blocked",
        "invalid_payload": "rejected",
        "rollback": "retry",
    }
    _faults = {
        "archived": (410, "channel_is_archived"),
        "no_service": (404, "no_service"),
        "invalid_payload": (400, "invalid_payload"),
        "rollback": (500, "rollback_error"),
    }

    def answer(self, ask: Ask) -> Reply:
        """Take a message."""
        if ask.path == "/api/chat.postMessage":
            return self._call(ask)
        if ask.path != self.credentials["webhook_path"]:
            return _said(403 if ask.path.startswith("/services/") else 404, "invalid_token")
        body = self._body(ask)
        fault = "invalid_payload" if body is None else self._fault_of(body)
        if body is None or fault:
            return _said(400, fault)
        self.take("", "webhook", body)
        return _said(200, "ok")

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as the webhook does, or as the API does: there the error stands in a 200."""
        status, error = self._faults[fault]
        if ask.path.startswith("/api/"):
            return Reply(200, {"ok": False, "error": error})
        return _said(status, error)

    def throttled(self, ask: Ask, after_seconds: int | None) -> Reply:
        """Return the 429, which the API writes as JSON and the webhook as text."""
        headers = {} if after_seconds is None else {"Retry-After": str(after_seconds)}
        if ask.path.startswith("/api/"):
            return Reply(429, {"ok": False, "error": "ratelimited"}, headers)
        return _said(429, "rate_limited", headers)

    def _call(self, ask: Ask) -> Reply:
        if bearer_of(ask) != self.credentials["bot_token"]:
            error = "invalid_auth" if bearer_of(ask) else "not_authed"
            return Reply(200, {"ok": False, "error": error})
        body = self._body(ask)
        error = "invalid_json" if body is None else self._fault_of(body)
        if body is not None and not error and body.get("channel") != self.credentials["channel"]:
            error = "channel_not_found"
        if body is None or error:
            return Reply(200, {"ok": False, "error": error})
        self.take("", "chat.postMessage", body)
        moment = f"{ask.now_ms // 1000}.{len(self.taken):06}"
        return Reply(200, {"ok": True, "channel": body["channel"], "ts": moment})

    def _body(self, ask: Ask) -> dict[str, Any] | None:
        body = json_object_of(ask)
        if isinstance(body, str):
            self.complain("json", "body", body)
            return None
        return body

    def _fault_of(self, body: dict[str, Any]) -> str:
        """Return Slack's word for what is wrong with a message, or nothing."""
        text, blocks = body.get("text"), list_at(body, "blocks")
        if not is_text(text) and not blocks and not list_at(body, "attachments"):
            self.complain("text", "text", "a text, blocks or attachments are expected")
            return "no_text"
        if isinstance(text, str) and len(text) > TEXT_CHARACTERS_MAX:
            self.complain("text", "text", f"{len(text)} characters of {TEXT_CHARACTERS_MAX}")
            return "msg_too_long"
        if len(blocks) > BLOCKS_MAX:
            self.complain("blocks", "blocks", f"{len(blocks)} blocks of {BLOCKS_MAX}")
            return "invalid_blocks"
        for position, block in enumerate(blocks):
            if fault := _fault_of_block(block):
                self.complain("blocks", f"blocks.{position}", fault)
                return "invalid_blocks"
        return ""


def _fault_of_block(block: Any) -> str:
    kind, text = at(block, "type"), at(block, "text")
    if kind not in _BLOCKS:
        return "an object with a known type is expected"
    if kind not in ("section", "header") or (text is None and list_at(block, "fields")):
        return ""
    most = HEADER_CHARACTERS_MAX if kind == "header" else SECTION_CHARACTERS_MAX
    if not is_text(at(text, "text"), most):
        return f"a text object of at most {most} characters is expected"
    return ""


def _said(status: int, text: str, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, text.encode(), {"Content-Type": "text/html", **(headers or {})})
