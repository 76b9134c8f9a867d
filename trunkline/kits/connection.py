"""The connection of a kit: where the events go, how a request of them looks, how it is answered.

The key names are those of the public kits, so that their `connection.json` is read as it is. Ours
adds `encoding`, `bytesMax`, `groupBy`, `requestsPerSecond` and `body` to a request, and
`conditional`, `answers` and `followUp` beside the requests. A destination's settings hold the
contract in here as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.kits.answers import Answers
from trunkline.kits.answers_spec import read_answers
from trunkline.kits.conditional import ConditionalRequest, read_conditional
from trunkline.kits.contract import ContractRule, read_contract
from trunkline.kits.follow_up import FollowUp, read_follow_up
from trunkline.kits.params import Param, read_params
from trunkline.kits.request_spec import RequestSpec, read_request
from trunkline.playbook.names import event_key
from trunkline.playbook.nodes import Node, near_miss
from trunkline.playbook.program import PlaybookError, Problem

VARIANTS_MAX = 200
DEFAULT = "default"
FOLLOW_UP = "followUp"
CONTRACT = "contract"
CONDITIONAL = "conditional"
_FIELDS = ("params", DEFAULT, CONDITIONAL, "eventSpecific", "answers", FOLLOW_UP, CONTRACT)

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


class Connection(Struct, frozen=True):
    """What a kit says of the way to its vendor.

    `default` is None where nothing can be sent; `unsupported` says why then. `variants` are the
    requests of single events, by folded name; `conditional` those that come before them.
    """

    params: tuple[Param, ...] = ()
    default: RequestSpec | None = None
    variants: Mapping[str, RequestSpec] = {}
    answers: Answers = Answers()
    unsupported: str = ""
    contract: tuple[ContractRule, ...] = ()
    follow_up: FollowUp | None = None
    conditional: tuple[ConditionalRequest, ...] = ()

    def requests(self) -> list[RequestSpec]:
        """Return all requests, the default one first."""
        others = [one.spec for one in self.conditional]
        return [*([self.default] if self.default else []), *others, *self.variants.values()]


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
    follow_up = None
    if default is not None and _is_given(found, FOLLOW_UP):
        follow_up = read_follow_up(found[FOLLOW_UP], default)
    conditional = read_conditional(found[CONDITIONAL]) if _is_given(found, CONDITIONAL) else ()
    whole = Connection(params, default, variants, answers, "", rules, follow_up, conditional)
    if conditional:
        _check_names(found[CONDITIONAL], whole)
    return _judge_providers(whole)


def _check_names(node: Node, whole: Connection) -> None:
    """Tell of a conditional request that is called as another request is."""
    seen = {DEFAULT, FOLLOW_UP, *(spec.name for spec in whole.variants.values())}
    for entry, one in zip(node.entries(), whole.conditional, strict=False):
        if one.spec.name in seen:
            entry.complain(f"{one.spec.name} names another request; give each a name of its own")
        seen.add(one.spec.name)


def _judge_providers(whole: Connection) -> Connection:
    """Return the connection, and where a request signs in its vendor's own way that it cannot."""
    providers = [spec.auth.provider for spec in whole.requests() if spec.auth.provider]
    if not providers:
        return whole
    reason = f"it signs its requests in its vendor's own way (providerAuth `{providers[0]}`)"
    return msgspec.structs.replace(whole, unsupported=reason, follow_up=None)


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
