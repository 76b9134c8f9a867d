"""Access tokens of OAuth 2, kept until they run out. The time is always the caller's."""

from __future__ import annotations

from msgspec import Struct

from trunkline.kits.auth import read_token, token_fault
from trunkline.kits.auth_spec import OAuth2
from trunkline.model.outcome import Blocked, Outcome, Retry, outcome_of_status

TOKENS_MAX = 64
SPARE_SECONDS = 60.0  # a token is not used in its last minute: a request takes a while
UNTOLD_SECONDS = 1800.0  # how long one is kept whose answer says not how long it holds


class _Token(Struct, frozen=True):
    text: str
    until_ms: float


class Tokens:
    """The tokens of one destination, by what they are asked with."""

    def __init__(self) -> None:
        self._tokens: dict[OAuth2, _Token] = {}
        self._asked = 0

    def next_id(self, delivery_id: str) -> str:
        """Return an id for an assertion: each may be used once."""
        self._asked += 1
        return f"{delivery_id}-{self._asked}"

    def find(self, auth: OAuth2, now_ms: int) -> str:
        """Return a token that still holds, or an empty text."""
        token = self._tokens.get(auth)
        return token.text if token is not None and now_ms < token.until_ms else ""

    def forget(self, auth: OAuth2, text: str) -> None:
        """Let go of a token that was refused, unless another took its place."""
        token = self._tokens.get(auth)
        if token is not None and token.text == text:
            del self._tokens[auth]

    def take(
        self, auth: OAuth2, status: int, after_seconds: float, body: bytes, now_ms: int
    ) -> str | Outcome:
        """Keep the token of an answer and return it; or what the answer means for the events."""
        if not 200 <= status < 300:
            return _refusal(status, after_seconds, body)
        text, seconds = read_token(body, auth.token_key)
        if not text:
            return Blocked(f"the token request was answered without `{auth.token_key}`")
        seconds = seconds or UNTOLD_SECONDS
        spare = min(SPARE_SECONDS, seconds / 2)
        if len(self._tokens) >= TOKENS_MAX:
            self._tokens.clear()
        self._tokens[auth] = _Token(text, now_ms + 1000 * (seconds - spare))
        return text


def _refusal(status: int, after_seconds: float, body: bytes) -> Outcome:
    """Judge an answer that gives no token: what condemns the request is for a person to mend."""
    outcome = outcome_of_status(status, after_seconds)
    reason = f"the token request was answered HTTP {status}{token_fault(body)}"
    return Retry(reason, after_seconds) if isinstance(outcome, Retry) else Blocked(reason)
