"""CORS on every answer, errors and preflights included.

A browser that cannot read an answer takes it for a network error and sends again what is stored
already. So every answer says who may read it. Keys travel in the request and there are no cookies,
so any origin may read; which origins a *key* may be used from is the protocol's decision.
"""

from __future__ import annotations

import re

Headers = list[tuple[str, str]]

MAX_AGE_SECONDS = 7200  # browsers cap it at this or less

# What client libraries send beside what the Fetch standard allows by itself.
_KNOWN = (
    "authorization",
    "content-type",
    "content-encoding",
    "idempotency-key",
    "prefer",
    "x-request-id",
    "x-write-key",
    "x-api-key",
    "x-event-metadata",
    "x-retry-count",
    "anonymousid",
    "sentat",
    "rsa-retry-attempt",
    "rsa-retry-reason",
    "rsa-recovered",
    "rsa-since-first-attempt",
    "rsa-since-last-attempt",
    "x-enable-debug",
    "x-ip-policy",
    "x-application-id",
    "mtx-sdk-version",
)
_ALLOW_HEADERS = ", ".join(_KNOWN)
_METHODS = "GET, HEAD, POST, DELETE, OPTIONS"
_ASKED_MAX = 64
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")

# A caller that is no browser gets one short header: this is the path of server-to-server events.
_NO_ORIGIN: Headers = [("access-control-allow-origin", "*")]


def cors_headers(origin: str | None) -> Headers:
    """Return the CORS headers of an answer to a request from `origin`, None where it names none."""
    if origin is None:
        return _NO_ORIGIN
    return [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", _METHODS),
        ("access-control-allow-headers", _ALLOW_HEADERS),
        ("access-control-expose-headers", "x-request-id, retry-after"),
        ("vary", "Origin"),
    ]


def preflight_headers(origin: str | None, asked: str) -> Headers:
    """Return the headers of the answer to a preflight that asks for these header names."""
    names = [name.strip().lower() for name in asked.split(",", _ASKED_MAX)[:_ASKED_MAX]]
    more = [name for name in names if name not in _KNOWN and _TOKEN.fullmatch(name)]
    allowed = ", ".join([*_KNOWN, *dict.fromkeys(more)])
    return [
        ("access-control-allow-origin", origin or "*"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", _METHODS),
        ("access-control-allow-headers", allowed),
        ("access-control-max-age", str(MAX_AGE_SECONDS)),
        ("vary", "Origin, Access-Control-Request-Headers"),
    ]
