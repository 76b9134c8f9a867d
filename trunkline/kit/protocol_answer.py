"""What a client gets: said by protocols, sent by the gateway."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class Answer(Struct, frozen=True):
    """What the client gets. CORS, `X-Request-Id` and `Content-Length` are the gateway's.

    Where `file` is set, its bytes are sent instead of `body`.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    file: Path | None = None
