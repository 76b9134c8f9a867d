"""Write keys: where a request carries one, whose it is, and whether it may be used from there.

The places are searched in the order of the tracking contract, and the first key that is known
counts: a proxy's own Basic authorization must not hide the key that the library put in the body.
Jitsu's libraries insist on keys of the form `id:secret`: such a text is a key as it stands, or else
its secret is one, whatever the id says.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import parse_qsl

from msgspec import Struct

from trunkline.kit.protocol import Presented, Request
from trunkline.kit.tracking_checks import Problem, describe, problem
from trunkline.model import refusal
from trunkline.model.snapshot import App, Key, Secret, Snapshot, is_address_in

KEY_CHARS_MAX = 512
QUERY_FIELDS_MAX = 1000

# `Sec-Fetch-Mode` alone proves nothing: Node's own fetch sends it.
_BROWSER_HEADERS = ("origin", "sec-fetch-site", "sec-fetch-dest")


class Grant(Struct, frozen=True):
    """A known key, which of its secrets it was, and the problem with using it from there."""

    app: App
    key: Key
    secret: Secret
    problem: Problem | None

    @property
    def presented(self) -> Presented:
        """What is remembered of its use."""
        return self.app.id, self.secret.digest

    @property
    def is_leak(self) -> bool:
        """Whether a browser sent what only back ends should know."""
        return self.problem is not None and self.problem.row is refusal.TRACKING_KEY_IN_BROWSER


class Keyring:
    """The keys of one request. Each distinct key is looked up once.

    `used` are the secrets looked up so far that may be used from here; `leaked` are those that only
    back ends should know, and a browser sent.
    """

    def __init__(self, request: Request, snapshot: Snapshot) -> None:
        self._request = request
        self._snapshot = snapshot
        self._grants: dict[str, Grant | None] = {}
        self.has_seen_key = False
        self.used: list[Presented] = []
        self.leaked: list[Presented] = []

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

    def find_written(self, *texts: str) -> Grant | None:
        """Return the grant of the first text that is a key, or `id:secret` with a key for secret.

        The id alone is never looked up: the libraries write it into every event.
        """
        for text in texts:
            grant = self.find(text, text.partition(":")[2])
            if grant is not None:
                return grant
        return None

    def find_in_headers(self) -> Grant | None:
        """Return the grant of the key in `Authorization: Basic` or in `X-Write-Key`."""
        headers = self._request.headers
        basic = read_basic(headers.get("authorization", ""))
        user = basic.partition(":")[0]
        return self.find(user) or self.find_written(basic, headers.get("x-write-key", ""))

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
            found = self._snapshot.find_secret(text, self._request.received_ms)
        grant = Grant(*found, _judge_use(found[0], found[1], self._request)) if found else None
        self._grants[text] = grant
        if grant is not None:
            self._remember(grant)
        return grant

    def _remember(self, grant: Grant) -> None:
        if grant.problem is None:
            self.used.append(grant.presented)
        elif grant.is_leak:
            self.leaked.append(grant.presented)


def read_basic(authorization: str) -> str:
    """Return the text of a Basic header, mostly a user and a colon; "" where there is none.

    With or without the colon behind it, and with or without base64's padding: senders do all four.
    """
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "basic" or len(text) > KEY_CHARS_MAX * 2:
        return ""
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def read_query(query: str, errors: str = "replace") -> dict[str, str]:
    """Return the fields of a query string; none of more than `QUERY_FIELDS_MAX`.

    `errors` says what becomes of bytes that are no UTF-8, as for `bytes.decode`.
    """
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX, errors=errors
        )
        return dict(pairs)
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
