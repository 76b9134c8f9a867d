"""The connection of a kit: where the events go, how a request of them looks, how it is answered.

The key names are those of the public kits, so that their `connection.json` is read as it is. Ours
adds `encoding`, `bytesMax`, `requestsPerSecond` and `body` to a request, and `answers` beside the
requests. A destination's settings hold the kit's contract in here as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from msgspec import Struct

from trunkline.kits.answers import Answers, read_answers
from trunkline.kits.auth_spec import Auth, read_auth
from trunkline.kits.contract import ContractRule, read_contract
from trunkline.kits.envelope import check_envelope
from trunkline.kits.params import Param, read_params
from trunkline.playbook.names import event_key
from trunkline.playbook.nodes import Node, kind_of, near_miss
from trunkline.playbook.program import Language, PlaybookError, Problem

BATCH_MAX = 1000
HEADERS_MAX = 64
VARIANTS_MAX = 200
BYTES_MAX = 4_194_304
DEFAULT = "default"
Encoding = Literal["json", "form", "query"]
METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")
_PATH_ENCODING = "use_path_escape_encoding"
_REQUEST_FIELDS = (
    "endpoint", "method", "headers", "batchSize", "bytesMax", "encoding", "queryEncoding",
    "transform", "basicAuth", "oauth1Auth", "oauth2Auth", "providerAuth", "requestsPerSecond",
    "body",
)  # fmt: skip
CONTRACT = "contract"
_FIELDS = ("params", DEFAULT, "eventSpecific", "answers", CONTRACT)
VALUE_MARK = re.compile(r"\{\{([^{}]*)\}\}")  # the path of a value of the event, in an endpoint
_RATE_MIN, _RATE_MAX = 0.01, 10_000.0

# Connections that are no HTTP request of ours, by their key in the kits → why they cannot send yet.
_CONNECTORS: Mapping[str, str] = {
    "adobe-bdia": "it uploads files of events by its vendor's own protocol",
    "amazon-data-firehose": "it signs as Amazon Web Services ask",
    "amazon-kinesis": "it signs as Amazon Web Services ask",
    "blob": "it writes files to an object storage",
    "gcs": "it writes files to an object storage",
    "googleBigqueryStreaming": "it streams rows into a warehouse",
    "googleCM360": "it speaks its vendor's own protocol",
    "googlePubsub": "it publishes to a message service",
    "google_ads_audience": "it speaks its vendor's own protocol",
    "iterable": "it speaks its vendor's own protocol",
    "kafka": "it writes to a Kafka topic",
    "pipeline-router": "it hands events to another app of the platform",
    "rasp": "it speaks its vendor's own protocol",
    "s3": "it writes files to an object storage",
    "snowflake": "it loads files into a warehouse",
    "snowflakeStreaming": "it streams rows into a warehouse",
    "stdout": "it prints events; use its playbook with `kind: stdout`",
}


class KitError(PlaybookError):
    """A kit with mistakes: all of them at once."""


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
    takes, None where the kit does not say.
    """

    name: str
    endpoint: str
    method: str = "POST"
    headers: tuple[Header, ...] = ()
    batch_max: int = 1
    bytes_max: int = BYTES_MAX
    encoding: Encoding = "json"
    is_path_encoded: bool = False
    auth: Auth = Auth()
    transform: Transform | None = None
    requests_per_second: float | None = None
    body: Any = None


class Connection(Struct, frozen=True):
    """What a kit says of the way to its vendor.

    `default` is None where nothing can be sent; `unsupported` says why then. `variants` are the
    requests of single events, by folded name.
    """

    params: tuple[Param, ...] = ()
    default: RequestSpec | None = None
    variants: Mapping[str, RequestSpec] = {}
    answers: Answers = Answers()
    unsupported: str = ""
    contract: tuple[ContractRule, ...] = ()

    def requests(self) -> list[RequestSpec]:
        """Return all requests, the default one first."""
        return [*([self.default] if self.default else []), *self.variants.values()]


def parse_connection(tree: Any) -> Connection:
    """Return the connection that a tree says, checked. Raises `KitError` with all that is wrong."""
    problems: list[Problem] = []
    connection = read_connection(Node(tree, "connection", problems))
    if problems:
        raise KitError(tuple(problems))
    return connection


def read_connection(node: Node) -> Connection:
    """Read a connection, telling all that is wrong with it."""
    found = node.named()
    for key, below in found.items():
        if key not in _FIELDS and key not in _CONNECTORS:
            below.complain(f"is not known here{near_miss(key, (*_FIELDS, *_CONNECTORS))}")
    params = read_params(found["params"]) if _is_given(found, "params") else ()
    connector = next((key for key in found if key in _CONNECTORS), "")
    if connector:
        reason = f"its connection is `{connector}`: {_CONNECTORS[connector]}"
        return Connection(params, unsupported=reason)
    default = read_request(found[DEFAULT], DEFAULT) if _is_given(found, DEFAULT) else None
    if default is None and isinstance(node.value, dict):
        node.complain("default is missing; it says where events go: {endpoint: …, method: POST}")
    variants = _read_variants(found["eventSpecific"]) if _is_given(found, "eventSpecific") else {}
    answers = read_answers(found["answers"]) if _is_given(found, "answers") else Answers()
    rules = read_contract(found[CONTRACT]) if _is_given(found, CONTRACT) else ()
    whole = Connection(params, default, variants, answers, contract=rules)
    providers = [spec.auth.provider for spec in whole.requests() if spec.auth.provider]
    if not providers:
        return whole
    reason = f"it signs its requests in its vendor's own way (providerAuth `{providers[0]}`)"
    return Connection(params, default, variants, answers, reason, rules)


def _is_given(found: dict[str, Node], key: str) -> bool:
    return key in found and found[key].value is not None


def _read_variants(node: Node) -> dict[str, RequestSpec]:
    found: dict[str, RequestSpec] = {}
    pairs = node.named()
    if len(pairs) > VARIANTS_MAX:
        node.complain(f"names {len(pairs)} events; at most {VARIANTS_MAX} have a request")
    for name, below in [*pairs.items()][:VARIANTS_MAX]:
        key = event_key(name)
        if key in found:
            below.complain(f"is the same event as `{found[key].name}`; keep one")
        found[key] = read_request(below, name)
    return found


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
        fields["bytesMax"].whole(1000, BYTES_MAX) if "bytesMax" in fields else BYTES_MAX,
        _read_encoding(fields, method, headers),
        _read_query_encoding(fields),
        read_auth(fields),
        _read_transform(fields["transform"]) if "transform" in fields else None,
        _read_rate(fields["requestsPerSecond"]) if "requestsPerSecond" in fields else None,
        fields["body"].value if "body" in fields else None,
    )
    if "endpoint" in fields:
        _check_endpoint(fields["endpoint"])
    if "body" in fields:
        check_envelope(fields["body"], spec.batch_max)
    elif spec.encoding != "json" and spec.batch_max > 1 and spec.transform is None:
        fields["batchSize"].complain(
            f"is {spec.batch_max}, but as {spec.encoding} a request carries one event; leave it out"
        )
    return spec


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
