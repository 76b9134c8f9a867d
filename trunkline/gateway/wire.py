"""What the engine uses of the server below it, as types.

Structural, so that the engine can be driven by anything that has these. `http1_request.py` is what
is below it in a node.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

__all__ = ["Scope", "Wire", "WireClosed"]


class WireClosed(Exception):
    """A body broke off: its sender is gone, or sent what is no HTTP."""


class Scope(Protocol):
    """A request's head. `path` is percent-decoded; `client` is `address:port`.

    `headers` have lower-case names; a name that came twice has its values joined by `, `, and a
    value that is not ASCII is left out.
    """

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query_string(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def headers(self) -> dict[str, str]: ...


class Wire(Protocol):
    """A request's body and the way back."""

    def __call__(self) -> Awaitable[bytes]:
        """Collect what is left of the body. Raises `WireClosed` where it breaks off."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the body in pieces, or go on reading it."""
        ...

    def __anext__(self) -> Awaitable[bytes]:
        """Return the next piece. Raises `WireClosed` where the body broke off."""
        ...

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Answer without a body. Only the first answer counts."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer. Only the first answer counts; a client that is gone is no error."""

    def response_file(self, status: int, headers: list[tuple[str, str]], file: str) -> None:
        """Answer with the bytes of a file. Raises `OSError` where it cannot be read."""

    def answer(self, head: str, body: bytes) -> None:
        """Answer with a head that `http1_answers.format_head` made before."""

    def end_after(self) -> None:
        """End the connection after the answer; call it before."""
