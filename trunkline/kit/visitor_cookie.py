"""The anonymous id of a visitor, in a cookie that the server sets beside the page's own.

Browsers forget what scripts wrote sooner than what a server set. So each stored event of a page
renews this cookie, for one year, with the id that the event has: what comes in the event wins. It
gives the id back to a page whose own storage was cleared, and to an event that comes without one.

There is one cookie for each app; Server keys, which are for no browser, have none. It belongs to
the host that events go to, and is `HttpOnly` and `SameSite=Lax`: no script reads it, and no page of
another site has it sent. A request from another site sets none, for no browser would keep it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from trunkline.model.snapshot import App, Key

MAX_AGE_SECONDS = 365 * 24 * 3600
ID_CHARS_MAX = 200
HEADER_CHARS_MAX = 16_384

_ABOUT_ORIGIN = ("origin", "sec-fetch-site")
# Of names that were repeated the gateway makes one value with commas; cookies use semicolons.
_BETWEEN = re.compile(r"[;,]")


def read_visitor(headers: Mapping[str, str], app: App, key: Key) -> str:
    """Return the anonymous id of a request's cookie, or ""."""
    text = headers.get("cookie", "")
    if not text or len(text) > HEADER_CHARS_MAX:
        return ""
    if not _is_kept(app, key) or not _is_same_site(headers):
        return ""
    start = _name_of(app) + "="
    for part in _BETWEEN.split(text):
        if part.strip().startswith(start):
            visitor = unquote(part.strip()[len(start) :])
            return visitor if len(visitor) <= ID_CHARS_MAX else ""
    return ""


def set_visitor(
    headers: Mapping[str, str], app: App, key: Key, visitor: str
) -> tuple[tuple[str, str], ...]:
    """Return the header that sets or renews the cookie, as the headers of an answer.

    None of them where the request is no page's of this site, or the id too long for a cookie.
    """
    if not _is_kept(app, key) or not any(name in headers for name in _ABOUT_ORIGIN):
        return ()
    if not _is_same_site(headers) or not 0 < len(visitor) <= ID_CHARS_MAX:
        return ()
    fields = [
        f"{_name_of(app)}={quote(visitor, safe='', errors='replace')}",
        f"Max-Age={MAX_AGE_SECONDS}",
        "Path=/",
        "HttpOnly",
        "SameSite=Lax",
        *(("Secure",) if _is_https(headers) else ()),
    ]
    return (("Set-Cookie", "; ".join(fields)),)


def _is_kept(app: App, key: Key) -> bool:
    return key.type == "client" and app.analytics_js.enabled and app.analytics_js.cookie


def _name_of(app: App) -> str:
    return f"trunkline_{app.id}"


def _is_same_site(headers: Mapping[str, str]) -> bool:
    return headers.get("sec-fetch-site") != "cross-site"


def _is_https(headers: Mapping[str, str]) -> bool:
    """Say whether the page came by https. A page of https sends by nothing else.

    The headers need no proof: who makes them up gets a cookie of his own that is more strict.
    """
    scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    return scheme == "https" or headers.get("origin", "").startswith("https://")
