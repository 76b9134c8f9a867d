"""A request as a kit describes it: address, headers, form, sign-in, and how much goes in one."""

from __future__ import annotations

import re
from typing import Any, Literal, cast

from msgspec import Struct

from trunkline.kits.auth_spec import Auth, read_auth
from trunkline.kits.envelope import check_envelope
from trunkline.playbook.nodes import Node, kind_of
from trunkline.playbook.program import Language

# What the hungriest vendors of the reference take. Events in memory are bounded over all
# destinations together, whatever a kit says (`forwarder/shared.py`).
BATCH_MAX = 2000
BYTES_MAX = 10_485_760
BYTES_DEFAULT = 4_194_304
HEADERS_MAX = 64
GROUPS_MAX = 8
Encoding = Literal["json", "form", "query"]
ORDERS = ("user", "device")
METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")
_PATH_ENCODING = "use_path_escape_encoding"
_REQUEST_FIELDS = (
    "endpoint", "method", "headers", "batchSize", "bytesMax", "encoding", "queryEncoding",
    "transform", "basicAuth", "oauth1Auth", "oauth2Auth", "providerAuth", "requestsPerSecond",
    "body", "groupBy", "apart", "order",
)  # fmt: skip
VALUE_MARK = re.compile(r"\{\{([^{}]*)\}\}")  # the path of a value of the event, in an endpoint
_RATE_MIN, _RATE_MAX = 0.01, 10_000.0


class Apart(Struct, frozen=True):
    """Whole numbers at the path `key` that must differ in a request.

    Where `by` names paths, they differ from those of earlier requests too, among what has the same
    there.
    """

    key: str
    by: tuple[str, ...] = ()


class Header(Struct, frozen=True):
    """A header: a text, or the path of a value of the event."""

    key: str
    value: str = ""
    event_key: str = ""


class Transform(Struct, frozen=True):
    """Code over `request` and `batch` that returns the request."""

    lang: Language
    body: str


class RequestSpec(Struct, frozen=True):
    """A request as the kit describes it: the default one, or the one of an event (`name`).

    `body` is the envelope, None where there is none; `requests_per_second` is how many the vendor
    takes, None where the kit does not say. `group_by` are paths of the output: a request
    carries only events that have the same at each of them. `apart` are whole numbers that must
    differ in it; None, nothing must. `by_device`: the vendor wants the events of a
    device in their order, whoever used it.
    """

    name: str
    endpoint: str
    method: str = "POST"
    headers: tuple[Header, ...] = ()
    batch_max: int = 1
    bytes_max: int = BYTES_DEFAULT
    encoding: Encoding = "json"
    is_path_encoded: bool = False
    auth: Auth = Auth()
    transform: Transform | None = None
    requests_per_second: float | None = None
    body: Any = None
    group_by: tuple[str, ...] = ()
    apart: Apart | None = None
    by_device: bool = False


def read_request(node: Node, name: str) -> RequestSpec:
    """Read one request, telling what is wrong with it."""
    fields = node.fields(_REQUEST_FIELDS, ("endpoint",))
    method = fields["method"].choice(METHODS) if "method" in fields else "POST"
    headers = _read_headers(fields["headers"]) if "headers" in fields else ()
    spec = RequestSpec(
        name,
        fields["endpoint"].text() if "endpoint" in fields else "",
        method,
        headers,
        fields["batchSize"].whole(1, BATCH_MAX) if "batchSize" in fields else 1,
        fields["bytesMax"].whole(1000, BYTES_MAX) if "bytesMax" in fields else BYTES_DEFAULT,
        _read_encoding(fields, method, headers),
        _read_query_encoding(fields),
        read_auth(fields),
        _read_transform(fields["transform"]) if "transform" in fields else None,
        _read_rate(fields["requestsPerSecond"]) if "requestsPerSecond" in fields else None,
        fields["body"].value if "body" in fields else None,
        _read_paths(fields["groupBy"]) if "groupBy" in fields else (),
        _read_apart(fields["apart"]) if "apart" in fields else None,
        "order" in fields and fields["order"].choice(ORDERS) == "device",
    )
    if "endpoint" in fields:
        _check_endpoint(fields["endpoint"])
    if "body" in fields:
        check_envelope(fields["body"], spec.batch_max, spec.group_by)
    elif spec.encoding != "json" and spec.batch_max > 1 and spec.transform is None:
        fields["batchSize"].complain(
            f"is {spec.batch_max}, but as {spec.encoding} a request carries one event; leave it out"
        )
    return spec


def _read_apart(node: Node) -> Apart:
    """Read a path, or `{key, by}`."""
    if not isinstance(node.value, dict):
        return Apart(_read_path(node))
    fields = node.fields(("key", "by"), ("key", "by"))
    key = _read_path(fields["key"]) if "key" in fields else ""
    return Apart(key, _read_paths(fields["by"]) if "by" in fields else ())


def _read_paths(node: Node) -> tuple[str, ...]:
    """Read one path of the output, or a few."""
    entries = node.entries() if isinstance(node.value, list) else [node]
    if not 1 <= len(entries) <= GROUPS_MAX:
        node.complain(f"has {len(entries)} paths; 1 to {GROUPS_MAX} are taken")
    return tuple(_read_path(entry) for entry in entries[:GROUPS_MAX])


def _read_path(node: Node) -> str:
    path = node.text()
    if not all(path.split(".")):
        node.complain(f"is {path[:80]!r}; expected a path of the output, as user.id")
    return path


def _check_endpoint(node: Node) -> None:
    """Tell of places for values that name none."""
    text = node.text()
    for path in VALUE_MARK.findall(text):
        if not path or not all(path.split(".")):
            node.complain(f"holds {{{{{path}}}}}; expected the path of a value, as {{{{userId}}}}")
    if "{{" in VALUE_MARK.sub("", text):
        node.complain("opens {{ and does not close it with }}")


def _read_rate(node: Node) -> float:
    value = node.value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not _RATE_MIN <= value <= _RATE_MAX:
        shown = value if is_number else kind_of(value)
        node.complain(f"is {shown}; expected a number from {_RATE_MIN:g} to {_RATE_MAX:g}")
        return _RATE_MIN
    return float(value)


def _read_encoding(fields: dict[str, Node], method: str, headers: tuple[Header, ...]) -> Encoding:
    """Return how events are written; left out, the method and the content type say it."""
    if "encoding" in fields:
        chosen = cast(Encoding, fields["encoding"].choice(("json", "form", "query")))
        if method == "GET" and chosen != "query":
            fields["encoding"].complain(f"is {chosen}, but GET carries no body; write query")
        return chosen
    if method == "GET":
        return "query"
    types = [h.value.lower() for h in headers if h.key.lower() == "content-type"]
    return "form" if any("x-www-form-urlencoded" in one for one in types) else "json"


def _read_query_encoding(fields: dict[str, Node]) -> bool:
    if "queryEncoding" not in fields:
        return False
    return fields["queryEncoding"].choice((_PATH_ENCODING,)) == _PATH_ENCODING


def _read_headers(node: Node) -> tuple[Header, ...]:
    entries = node.entries()
    if len(entries) > HEADERS_MAX:
        node.complain(f"has {len(entries)} headers; at most {HEADERS_MAX} are sent")
    return tuple(_read_header(entry) for entry in entries[:HEADERS_MAX])


def _read_header(node: Node) -> Header:
    fields = node.fields(("key", "value", "fromEventKey"), ("key",))
    has_value, has_event_key = "value" in fields, "fromEventKey" in fields
    if has_value == has_event_key:
        node.complain("needs either `value`, a text, or `fromEventKey`, the path of an event's key")
    return Header(
        fields["key"].text() if "key" in fields else "",
        fields["value"].scalar_text() if has_value else "",
        fields["fromEventKey"].text() if has_event_key else "",
    )


def _read_transform(node: Node) -> Transform:
    fields = node.fields(("lang", "body", "name"), ("body",))
    lang = fields["lang"].choice(("lua",)) if "lang" in fields else "lua"
    return Transform(cast(Any, lang), fields["body"].text() if "body" in fields else "")
