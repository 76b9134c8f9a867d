"""A request of a kit on its way: a draft, which the transform may change, then finished, signed.

The transform sees `request` (url, headers, body) and `batch` (what the playbook made, one value an
event) and returns the request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from msgspec import Struct

from trunkline.kit.destination import Attempt, Request
from trunkline.kits.auth import basic_header, oauth1_header
from trunkline.kits.filled import FilledRequest
from trunkline.kits.request import (
    CONTENT_TYPES,
    URL_BYTES_MAX,
    Headers,
    add_query,
    body_of,
    check_same_host,
    clean_url,
    event_pairs,
    merge_headers,
    transformed_headers,
)


class Draft(Struct, frozen=True):
    """A request whose body is still a value, or None. The URL can be sent as it is."""

    url: str
    headers: Headers
    body: Any


def draft_of(
    made: FilledRequest, headers: Headers, batch: Sequence[Mapping[str, Any]], url: str = ""
) -> Draft:
    """Return the draft for what was made of events.

    `headers` are those that the events decide, and `url` is, where they decide that.
    """
    spec = made.spec
    url = url or made.url
    merged = merge_headers(made.headers, headers)
    body: Any = batch[0] if spec.batch_max == 1 else [*batch]
    if made.envelope is not None:
        body = made.envelope(batch)
    if spec.encoding == "query":
        named = cast("dict[str, Any]", body) if isinstance(body, dict) else batch[0]
        pairs = event_pairs(named)
        return Draft(add_query(url, pairs, is_path_encoded=spec.is_path_encoded), merged, None)
    return Draft(url, merged, body)


def transform_values(draft: Draft, batch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the kit's transform is given."""
    body: Any = {} if draft.body is None else draft.body
    request = {"url": draft.url, "headers": dict(draft.headers), "body": body}
    return {"request": request, "batch": [*batch]}


def read_draft(told: Any, made: FilledRequest) -> Draft:
    """Return the request that a transform gave back. Raises `ValueError` for what is none."""
    if not isinstance(told, dict):
        raise ValueError("the connection's transform returned no request; end it with its return")
    request = cast("dict[str, Any]", told)
    url = request.get("url")
    if not isinstance(url, str):
        raise ValueError("the connection's transform made request.url no text")
    url = clean_url(url)
    check_same_host(url, made.url)
    # An empty table is how the kits say that there is no body.
    has_body = made.spec.encoding != "query" and request.get("body") not in (None, [], {})
    headers = transformed_headers(request.get("headers"))
    return Draft(url, headers, request["body"] if has_body else None)


def finish(draft: Draft, made: FilledRequest, key: str) -> Request:
    """Return the request as it is sent, but for the signature. `ValueError` for too long a URL."""
    if len(draft.url) > URL_BYTES_MAX:
        size = len(draft.url)
        raise ValueError(f"as a URL the event has {size} bytes; at most {URL_BYTES_MAX} go")
    own: list[tuple[str, str]] = []
    body = b""
    if draft.body is not None:
        body = body_of(draft.body, made.spec.encoding)
        own.append(("Content-Type", CONTENT_TYPES[made.spec.encoding]))
    own += [("Idempotency-Key", key), ("X-Trunkline-Delivery", key)]
    return Request(made.spec.method, draft.url, merge_headers(tuple(own), draft.headers), body)


def sign(
    request: Request, made: FilledRequest, draft: Draft, attempt: Attempt, token: str
) -> Request:
    """Return the request signed in as the kit says; `token` is that of OAuth 2."""
    auth = made.spec.auth
    if auth.oauth2 is not None:
        value = f"Bearer {token}"
    elif auth.oauth1 is not None:
        is_form = made.spec.encoding == "form" and isinstance(draft.body, dict)
        pairs = event_pairs(cast("dict[str, Any]", draft.body)) if is_form else []
        seconds = attempt.now_ms // 1000
        value = oauth1_header(auth.oauth1, request, pairs, seconds, _nonce(request, attempt))
    elif auth.basic is not None:
        value = basic_header(auth.basic)
    else:
        return request
    headers = merge_headers(request.headers, (("Authorization", value),))
    return Request(request.method, request.url, headers, request.body)


def _nonce(request: Request, attempt: Attempt) -> str:
    told = f"{attempt.delivery_id}\0{attempt.number}\0{attempt.now_ms}\0".encode()
    return hashlib.sha256(told + request.body + request.url.encode()).hexdigest()[:32]
