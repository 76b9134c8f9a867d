"""Write keys: where a request carries one, whose it is, and whether it may be used from there.

The places are searched in the order of the tracking contract, and the first key that is known
counts: a proxy's own Basic authorization must not hide the key that the library put in the body.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import parse_qsl

from msgspec import Struct

from trunkline.kit.protocol import Request
from trunkline.kit.tracking_checks import Problem, describe, problem
from trunkline.model import refusal
from trunkline.model.snapshot import App, Key, Snapshot, is_address_in

KEY_CHARS_MAX = 512
QUERY_FIELDS_MAX = 1000

# `Sec-Fetch-Mode` alone proves nothing: Node's own fetch sends it.
_BROWSER_HEADERS = ("origin", "sec-fetch-site", "sec-fetch-dest")


class Grant(Struct, frozen=True):
    """A known key, and the problem with using it from where the request came."""

    app: App
    key: Key
    problem: Problem | None


class Keyring:
    """The keys of one request. Each distinct key is looked up once."""

    def __init__(self, request: Request, snapshot: Snapshot) -> None:
        self._request = request
        self._snapshot = snapshot
        self._grants: dict[str, Grant | None] = {}
        self.has_seen_key = False

    @property
    def has_usable(self) -> bool:
        """Whether one of the keys looked up so far is known and may be used from here."""
        return any(grant is not None and grant.problem is None for grant in self._grants.values())

    @property
    def first_problem(self) -> Problem | None:
        """What is wrong with the first known key that may not be used from here."""
        known = (grant.problem for grant in self._grants.values() if grant is not None)
        return next((found for found in known if found is not None), None)

    def find(self, *texts: str) -> Grant | None:
        """Return the grant of the first key that is known; "" is no key."""
        for text in texts:
            grant = self._look_up(text) if text else None
            if grant is not None:
                return grant
        return None

    def find_in_headers(self) -> Grant | None:
        """Return the grant of the key in `Authorization: Basic` or in `X-Write-Key`."""
        headers = self._request.headers
        return self.find(
            read_basic_user(headers.get("authorization", "")), headers.get("x-write-key", "")
        )

    def find_in_query(self) -> Grant | None:
        """Return the grant of the query's `writeKey`."""
        query = self._request.query
        return self.find(read_query(query).get("writeKey", "")) if "writeKey" in query else None

    def _look_up(self, text: str) -> Grant | None:
        self.has_seen_key = True
        if text in self._grants:
            return self._grants[text]
        found = None
        if len(text) <= KEY_CHARS_MAX:
            found = self._snapshot.find_key(text, self._request.received_ms)
        grant = Grant(*found, _judge_use(*found, self._request)) if found else None
        self._grants[text] = grant
        return grant


def read_basic_user(authorization: str) -> str:
    """Return the user of a Basic header, "" where there is none.

    With or without the colon behind it, and with or without base64's padding: senders do all four.
    """
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "basic" or len(text) > KEY_CHARS_MAX * 2:
        return ""
    try:
        decoded = b64decode(text + "=" * (-len(text) % 4), validate=True)
        return decoded.decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def read_query(query: str) -> dict[str, str]:
    """Return the fields of a query string; none of more than `QUERY_FIELDS_MAX`."""
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX))
    except ValueError:
        return {}


def _judge_use(app: App, key: Key, request: Request) -> Problem | None:
    if key.type == "server":
        return _judge_server(app, key, request)
    origin = request.headers.get("origin")
    if origin is None or not key.allowed_origins or _is_allowed(origin, key.allowed_origins):
        return None
    return problem(refusal.TRACKING_ORIGIN, origin=describe(origin), key=describe(key.name))


def _judge_server(app: App, key: Key, request: Request) -> Problem | None:
    if _is_from_browser(request.headers):
        return problem(refusal.TRACKING_KEY_IN_BROWSER, key=describe(key.name))
    allowed = app.s2s.allowed_ips  # the contract shares them: they say where back ends stand
    if not allowed or _is_in(request.address, allowed):
        return None
    return problem(refusal.TRACKING_ADDRESS, address=request.address or "unknown")


def _is_from_browser(headers: Mapping[str, str]) -> bool:
    return any(name in headers for name in _BROWSER_HEADERS)


def _is_in(address: str, ranges: tuple[str, ...]) -> bool:
    try:
        return is_address_in(address, ranges)
    except ValueError:  # no address: a connection that has none is in no range
        return False


def _is_allowed(origin: str, allowed: tuple[str, ...]) -> bool:
    folded = origin.casefold().rstrip("/")
    return any(each == "*" or each.casefold().rstrip("/") == folded for each in allowed)
