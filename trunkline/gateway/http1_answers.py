"""The bytes of an answer: status line and headers, without the lines that close the head.

Whether a connection goes on is known only when the answer leaves, so its last lines (`date`, and
perhaps `connection: close`) are added then. What an answer is made of comes from our own code and
from what a request echoes; a line break in a value would let a sender write headers of its own, so
it is refused here, whoever made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_BODILESS = (204, 304)


def format_head(status: int, headers: Sequence[tuple[str, str]], length: int) -> str:
    """Return status line and headers. Raises `ValueError` for a value with a line break."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header of an answer holds a line break")
    first = _LINES.get(status) or f"HTTP/1.1 {status} Status\r\n"
    if status in _BODILESS:
        return first + lines
    return f"{first}{lines}content-length: {length}\r\n"


def format_plain_head(request_id: str, length: int) -> str:
    """Return what `format_head` makes of the yes that senders without an origin are told.

    0.3 µs instead of 1.1, for nearly every answer. `request_id` holds no line break.
    """
    return (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        f"x-request-id: {request_id}\r\naccess-control-allow-origin: *\r\n"
        f"content-length: {length}\r\n"
    )


class Closings:
    """The last lines of a head, made once a second."""

    def __init__(self) -> None:
        self.staying = ""
        self.staying_old = ""  # to a client of HTTP/1.0
        self.closing = ""

    def renew(self, unix_seconds: float) -> None:
        """Take the time."""
        date = f"date: {formatdate(unix_seconds, usegmt=True)}\r\n"
        self.staying = f"{date}\r\n"
        self.staying_old = f"{date}connection: keep-alive\r\n\r\n"
        self.closing = f"{date}connection: close\r\n\r\n"
