"""A request as a kit describes it, made of what the playbook made of events.

URL, headers and body are built as text and bytes; nothing an event holds may break out of its
place: what a URL cannot hold is percent-encoded, what a header cannot hold is left out, and neither
can move the request to another host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from trunkline.kit.http_out import CONNECTION_HEADERS, HEADER_BYTES_MAX, check_header, check_url
from trunkline.kits.answers import find
from trunkline.kits.request_spec import Encoding, Header

URL_BYTES_MAX = 8000  # RFC 9110 4.1 asks that at least as much be supported
Headers = tuple[tuple[str, str], ...]
CONTENT_TYPES: Mapping[Encoding, str] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "query": "",
}
# Kits name them as a browser would; the client that sends decides what it can unpack.
_UNSENT = CONNECTION_HEADERS | {"accept-encoding"}
_PATH_SAFE = "$=:@"
_URL_SAFE = "%/:?#[]@!$&'()*+,;=~-._"


def event_pairs(output: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the keys of an output as fields of a form or query. null leaves a field out.

    An object or a list goes as its JSON.
    """
    return [(name, text_of(value)) for name, value in output.items() if value is not None]


def text_of(value: Any) -> str:
    """Return a JSON value as a field holds it: a text as it is, all else as JSON writes it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def add_query(url: str, pairs: Sequence[tuple[str, str]], *, is_path_encoded: bool) -> str:
    """Return a URL with fields behind those it has.

    Path encoded: a space is `%20`, not `+`, and what may stand in a path stays as it is, but for
    what would end a field.
    """
    if is_path_encoded:
        query = urlencode(pairs, safe=_PATH_SAFE, quote_via=quote)
    else:
        query = urlencode(pairs)
    if not query:
        return url
    if "?" not in url:
        return f"{url}?{query}"
    return url + query if url[-1] in "?&" else f"{url}&{query}"


def clean_url(url: str) -> str:
    """Return a URL that can be sent: no fragment, what no URL holds percent-encoded.

    Raises `ValueError` where it is none.
    """
    cleaned = quote(url.strip().partition("#")[0], safe=_URL_SAFE)
    check_url(cleaned)
    return cleaned


def check_same_host(url: str, endpoint: str) -> None:
    """Raise `ValueError` where a URL leads elsewhere than the endpoint that the kit names."""
    was, now = urlsplit(endpoint), urlsplit(url)
    if (was.scheme, was.netloc.lower()) != (now.scheme, now.netloc.lower()):
        raise ValueError(
            f"the connection's transform leads to {now.scheme}://{now.netloc[:200]}, and the kit "
            f"to {was.scheme}://{was.netloc}; only its path and query may change"
        )


def fixed_headers(headers: Sequence[Header]) -> Headers:
    """Return the headers that no event decides. Raises `ValueError` for one that cannot be sent."""
    found = [(h.key, h.value) for h in headers if not h.event_key and _is_sent(h.key)]
    for name, value in found:
        check_header(name, value)
    return tuple(found)


def event_headers(headers: Sequence[Header], event: Mapping[str, Any]) -> Headers:
    """Return the headers that an event decides; one whose value it lacks is left out."""
    pairs = [(h.key, find(event, h.event_key)) for h in headers if h.event_key and _is_sent(h.key)]
    texts = [(name, header_text(value)) for name, value in pairs]
    return tuple((name, text) for name, text in texts if text)


def transformed_headers(told: Any) -> Headers:
    """Return the headers of a request that a transform returned. `ValueError` for a bad one."""
    if told is None or told == []:
        return ()
    if not isinstance(told, dict):
        raise ValueError("the connection's transform made request.headers no table of names")
    pairs = [(str(k), header_text(v)) for k, v in cast("dict[Any, Any]", told).items()]
    found = [(name, text) for name, text in pairs if _is_sent(name) and text]
    for name, text in found:
        check_header(name, text)
    return tuple(found)


def header_text(value: Any) -> str:
    """Return a value as a header can hold it, or an empty text."""
    if value is None or isinstance(value, dict | list):
        return ""
    text = "".join(ch for ch in text_of(value).strip() if ch >= " " and ch != "\x7f")
    if not text.isascii():
        text = quote(text, safe="".join(map(chr, range(0x20, 0x7F))), errors="replace")
    return text if len(text) <= HEADER_BYTES_MAX else ""


def merge_headers(*lists: Headers) -> Headers:
    """Return the headers of several lists, each once whatever its case; the last one counts."""
    merged: dict[str, tuple[str, str]] = {}
    for name, value in (pair for headers in lists for pair in headers):
        merged[name.lower()] = (name, value)
    return tuple(merged.values())


def _is_sent(name: str) -> bool:
    lower = name.lower()
    return lower not in _UNSENT and not lower.startswith("x-trunkline-")


def body_of(value: Any, encoding: Encoding) -> bytes:
    """Return a body: a text as it is, a form of an object's keys, or JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if encoding == "form" and isinstance(value, dict):
        return urlencode(event_pairs(cast("dict[str, Any]", value))).encode()
    return msgspec.json.encode(value)
