"""What the gateway uses of the server below it (RSGI), as types; and its two exceptions.

Structural, so that the engine can be driven by anything that has these, and so that the server's
own loosely typed classes stay in one place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

from granian._granian import RSGIProtocolClosed as WireClosed
from granian._granian import RSGIProtocolError as WireMisused

__all__ = ["Scope", "Wire", "WireClosed", "WireHeaders", "WireMisused"]


class WireHeaders(Protocol):
    """Headers as received: lower-case names; values that are not ASCII are left out below us."""

    def items(self) -> list[tuple[str, str]]:
        """Return all, a repeated name as often as it came."""
        ...


class Scope(Protocol):
    """A request's head. `path` is percent-decoded; `client` is `address:port`."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query_string(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def headers(self) -> WireHeaders: ...


class Wire(Protocol):
    """A request's body and the way back."""

    def __call__(self) -> Awaitable[bytes]:
        """Collect the whole body. Raises `WireClosed` where it breaks off."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the body in pieces. Raises `WireMisused` the second time."""
        ...

    def __anext__(self) -> Awaitable[bytes]:
        """Return the next piece; an empty one at the end, two where it broke off."""
        ...

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Answer without a body. Only the first answer counts."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer. Only the first answer counts; a client that is gone is no error."""

    def response_file(self, status: int, headers: list[tuple[str, str]], file: str) -> None:
        """Answer with the bytes of a file."""
