"""First-party Analytics.js: the script that a page loads, its parts, and who the visitor was.

A page's events go to the tracking API; here is what it loads before. The script may be cached by
anybody, so no cookie stands beside it: the cookie is set where events are stored
(`kit/visitor_cookie.py`), and read here for a page whose own storage was cleared.

The script has two addresses: the one that snippets ask for, and a short one that says nothing of
analytics, for pages whose visitors' blockers go by names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec

from trunkline.kit.page_script import ServedFile, find_parts, make_script
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.tracking_checks import describe, problem
from trunkline.kit.tracking_intake import error_answer, failure_answer, shape_record
from trunkline.kit.visitor_cookie import read_visitor
from trunkline.kit.write_keys import Grant, Keyring
from trunkline.model import refusal
from trunkline.model.record import AcceptedEvent
from trunkline.model.refusal import ErrorRow
from trunkline.model.snapshot import App, Snapshot

SCRIPT_PATH = "/analytics.js/v1/{writeKey}/analytics.min.js"
SHORT_PATH = "/s/{file}"
VISITOR_PATH = "/s/{writeKey}/visitor"
PART_PATH = "/analytics-next/bundles/{file}"

SCRIPT_SECONDS = 300
PART_SECONDS = 365 * 24 * 3600  # its name holds a hash

_SUFFIX = ".js"
_JAVASCRIPT = "text/javascript; charset=utf-8"
_NO_STORE = ("Cache-Control", "no-store")
_ANYWHERE = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)
_CODINGS_MAX = 32

_encode = msgspec.json.Encoder().encode


class AnalyticsJsProtocol(Protocol):
    """What pages load. It takes no events."""

    name: ClassVar[str] = "analytics_js"
    routes: ClassVar[Sequence[Route]] = tuple(
        Route("GET", path, 0, 0) for path in (SCRIPT_PATH, SHORT_PATH, VISITOR_PATH, PART_PATH)
    )

    def __init__(self) -> None:
        self._handlers: dict[str, Callable[[Request, Snapshot], Decoded]] = {
            SCRIPT_PATH: _tell_script,
            SHORT_PATH: _tell_short,
            VISITOR_PATH: _tell_visitor,
            PART_PATH: _tell_part,
        }

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        """Judge a request. Never raises for what the client sent."""
        return self._handlers[request.route.path](request, snapshot)

    def failure(self, request_path: str, failure: Failure) -> Answer:
        """Say a failure: in a comment where a script was asked for."""
        if not request_path.endswith(_SUFFIX):
            return failure_answer(failure)
        return _comment(failure.status, failure.sentence)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Shape a stored event into a canonical one. Pure in record and app."""
        return shape_record(record, app)


def _tell_script(request: Request, snapshot: Snapshot) -> Decoded:
    return _answer_script(request, snapshot, request.params["writeKey"])


def _tell_short(request: Request, snapshot: Snapshot) -> Decoded:
    name = request.params["file"]
    if not name.endswith(_SUFFIX):
        return Decoded(_refuse(refusal.SCRIPT_FILE))
    return _answer_script(request, snapshot, name.removesuffix(_SUFFIX))


def _answer_script(request: Request, snapshot: Snapshot, write_key: str) -> Decoded:
    # Not by `Keyring`: a script may load from any origin (a browser seldom names it here), and a
    # Server key in its address is a leak, whoever asks.
    found = snapshot.find_secret(write_key, request.received_ms)
    if found is None:
        return Decoded(_refuse(refusal.SCRIPT_KEY))
    app, key, secret = found
    presented = ((app.id, secret.digest),)
    if key.type == "server":
        answer = _refuse(refusal.SCRIPT_SERVER_KEY, key=describe(key.name))
        return Decoded(answer, leaked=presented)
    if not app.analytics_js.enabled:
        return Decoded(_refuse(refusal.SCRIPT_OFF, app=describe(app.name)), used=presented)
    script = make_script(write_key, app.analytics_js)
    caching = f"public, max-age={SCRIPT_SECONDS}"
    return Decoded(_answer_file(request, script, caching), used=presented)


def _tell_part(request: Request, snapshot: Snapshot) -> Decoded:
    del snapshot  # the same for all
    part = find_parts().get(request.params["file"])
    if part is None:
        return Decoded(_refuse(refusal.SCRIPT_FILE))
    caching = f"public, max-age={PART_SECONDS}, immutable"
    return Decoded(_answer_file(request, part, caching))


def _tell_visitor(request: Request, snapshot: Snapshot) -> Decoded:
    keys = Keyring(request, snapshot)
    answer = _answer_visitor(request, keys.find(request.params["writeKey"]))
    answer = msgspec.structs.replace(answer, headers=(_NO_STORE,))
    return Decoded(answer, used=keys.used, leaked=keys.leaked)


def _answer_visitor(request: Request, grant: Grant | None) -> Answer:
    if grant is None:
        return error_answer(problem(refusal.TRACKING_KEY))
    if grant.problem is not None:
        return error_answer(grant.problem)
    visitor = read_visitor(request.headers, grant.app, grant.key)
    return Answer(200, _encode({"anonymousId": visitor or None}))


def _answer_file(request: Request, file: ServedFile, caching: str) -> Answer:
    zips = _takes_gzip(request.headers.get("accept-encoding", ""))
    tag = f'"{file.tag}-gz"' if zips else f'"{file.tag}"'
    headers = (
        ("Cache-Control", caching),
        ("ETag", tag),
        ("Vary", "Accept-Encoding"),
        *_ANYWHERE,
    )
    if _is_known(tag, request.headers.get("if-none-match", "")):
        return Answer(304, b"", _JAVASCRIPT, headers)
    if zips:
        return Answer(200, file.zipped, _JAVASCRIPT, (*headers, ("Content-Encoding", "gzip")))
    return Answer(200, file.plain, _JAVASCRIPT, headers)


def _takes_gzip(accepted: str) -> bool:
    for coding in accepted.lower().split(",", _CODINGS_MAX):
        name, _, weight = coding.replace(" ", "").partition(";q=")
        if name in ("gzip", "*"):
            return weight.strip("0.") != "" or not weight
    return False


def _is_known(tag: str, if_none_match: str) -> bool:
    known = (each.strip().removeprefix("W/") for each in if_none_match.split(",", _CODINGS_MAX))
    return any(each in (tag, "*") for each in known)


def _refuse(row: ErrorRow, **values: str) -> Answer:
    found = problem(row, **values)
    return _comment(found.status, found.message)


def _comment(status: int, sentence: str) -> Answer:
    text = f"// {' '.join(sentence.split())}\n".encode("utf-8", "replace")
    return Answer(status, text, _JAVASCRIPT, (_NO_STORE, *_ANYWHERE))
