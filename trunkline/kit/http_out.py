"""What kinds over plain HTTP share: where to send, which headers, how a body is signed and packed.

The signature is over the bytes as sent, after gzip, so a receiver checks it before it unpacks or
parses anything. Our own headers cannot be set by an operator: a receiver must be able to believe
them.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from trunkline.kit.destination import Attempt, Mapped, Request, SecretText, Settings

HEADERS_MAX = 64
HEADER_BYTES_MAX = 8192
GZIP_LEVEL = 3  # 100 events: 0.7 ms and 15.4 KB; level 6 takes 1.2 ms for 14.4 KB

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
OWN_HEADERS = frozenset(
    {
        "content-type",
        "content-encoding",
        "idempotency-key",
        "x-trunkline-delivery",
        "x-trunkline-signature",
    }
)
CONNECTION_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class HttpSettings(Settings, frozen=True, kw_only=True):
    """The settings of a kind that sends HTTP requests to a URL of the operator's."""

    url: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4096,
            description="Where to send: an http or https URL without user name and password.",
        ),
    ]
    headers: Annotated[
        dict[str, SecretText],
        Meta(
            description="Headers to send with every request, name to value. Values count as "
            "secrets, for `Authorization` belongs here. Content-Type, Idempotency-Key and "
            "X-Trunkline-… are ours."
        ),
    ] = {}
    secret: Annotated[
        SecretText | None,
        Meta(
            description="Signs every request: `X-Trunkline-Signature: t=<Unix seconds>,v1=<hex "
            "HMAC-SHA256 of t, a dot and the body as sent>`. Left out: no signature."
        ),
    ] = None
    gzip: Annotated[
        bool,
        Meta(description="Compress the body, with `Content-Encoding: gzip`."),
    ] = False

    def __post_init__(self) -> None:
        check_url(self.url)
        _check_headers(self.headers)


def http_request(
    settings: HttpSettings,
    attempt: Attempt,
    *,
    method: str,
    url: str,
    content_type: str = "",
    body: bytes = b"",
    signed: bytes | None = None,
) -> Request:
    """Return a request with our headers, the operator's, the packed body and its signature.

    `signed` is what the signature covers where the events are not in the body.
    """
    headers = [
        ("Idempotency-Key", attempt.delivery_id),
        ("X-Trunkline-Delivery", attempt.delivery_id),
        *settings.headers.items(),
    ]
    if body:
        headers.insert(0, ("Content-Type", content_type))
    if settings.gzip and body:
        body = gzip.compress(body, GZIP_LEVEL, mtime=0)
        headers.append(("Content-Encoding", "gzip"))
    if settings.secret is not None:
        covered = body if signed is None else signed
        headers.append(
            ("X-Trunkline-Signature", sign(settings.secret, attempt.now_ms // 1000, covered))
        )
    return Request(method, url, tuple(headers), body)


def sign(secret: str, unix_seconds: int, body: bytes) -> str:
    """Return the value of `X-Trunkline-Signature` (delivery contract)."""
    signed = str(unix_seconds).encode() + b"." + body
    return f"t={unix_seconds},v1={hmac.digest(secret.encode(), signed, hashlib.sha256).hex()}"


def json_body(events: Sequence[Mapped], batch_events_max: int) -> bytes:
    """Return canonical events as a JSON array, or the one event where batches hold no more."""
    if batch_events_max == 1 and len(events) == 1:
        return events[0].body
    return b"[" + b",".join([event.body for event in events]) + b"]"


def check_url(url: str) -> None:
    """Raise `ValueError` for what is no URL that events can be sent to."""
    if not url.isprintable() or any(ch in url for ch in ' \\"<>'):
        raise ValueError("url holds a space, a control character or one that no URL has")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("url has no valid host and port; write https://host:port/path") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("url must start with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise ValueError(
            "url holds a user name or password, and URLs are shown; "
            "send it as an Authorization header instead (headers)"
        )
    if parts.fragment:
        raise ValueError("url has a part behind #, which is never sent; leave it out")


def _check_headers(headers: dict[str, str]) -> None:
    if len(headers) > HEADERS_MAX:
        raise ValueError(f"headers has {len(headers)} entries; at most {HEADERS_MAX} are sent")
    if len({name.lower() for name in headers}) != len(headers):
        raise ValueError("headers names one header twice, in different case; keep one")
    for name, value in headers.items():
        _check_own_header(name, value)


def _check_own_header(name: str, value: str) -> None:
    check_header(name, value)
    lower = name.lower()
    if lower in OWN_HEADERS or lower.startswith("x-trunkline-"):
        raise ValueError(f"headers: {name} is set by Trunkline on every request; leave it out")


def check_header(name: str, value: str) -> None:
    """Raise `ValueError` for a header that no request can carry."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"headers: {name[:128]!r} is no header name")
    if name.lower() in CONNECTION_HEADERS:
        raise ValueError(f"headers: {name} belongs to the connection; leave it out")
    if len(value) > HEADER_BYTES_MAX or not _HEADER_VALUE.fullmatch(value):
        raise ValueError(
            f"headers: the value of {name} must be at most {HEADER_BYTES_MAX} visible ASCII "
            "characters, without line breaks"
        )
