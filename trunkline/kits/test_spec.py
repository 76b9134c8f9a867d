"""The connection test of a kit as it is written down: one of three forms.

A fixture's event with other params; a request of its own; or a sentence why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct

from trunkline.kits.answers_spec import read_answers
from trunkline.kits.fixture_spec import KitFixture, read_texts
from trunkline.kits.request_spec import read_request
from trunkline.playbook.nodes import Node, near_miss, one_of

NAME = "test"
_FORMS = ("event", "request", "none")
_AUTHS = ("basicAuth", "oauth1Auth", "oauth2Auth")


class ConnectionTestSpec(Struct, frozen=True):
    """What is asked, and what an answer means. Of `event`, `request` and `none` one is given.

    `event` names a fixture; `params` stand over the operator's, `endpoint` and `body` over the
    request's. `request` is the tree of a request.
    """

    proves: str = ""
    event: str = ""
    params: Mapping[str, str] = {}
    endpoint: str = ""
    body: Any = None
    request: Mapping[str, Any] | None = None
    none: str = ""
    answers: Mapping[str, Any] | None = None


def read_test(node: Node, fixtures: tuple[KitFixture, ...]) -> ConnectionTestSpec:
    """Read a connection test, telling what is wrong with it."""
    known = ("proves", *_FORMS, "params", "endpoint", "body", "answers")
    fields = node.fields(known)
    forms = [name for name in _FORMS if name in fields]
    if len(forms) != 1 and isinstance(node.value, dict):
        node.complain(f"has {len(forms)} forms; expected one of {one_of(_FORMS)}")
    if "none" not in fields and "proves" not in fields:
        node.complain("proves is missing; say what a good answer shows")
    for name in ("params", "endpoint", "body"):
        if name in fields and "event" not in fields:
            fields[name].complain("goes with `event` only")
    if "request" in fields:
        read_request(fields["request"], NAME)
    if "answers" in fields:
        read_answers(fields["answers"])
    texts = {k: fields[k].text() for k in ("proves", "event", "endpoint", "none") if k in fields}
    names = [fixture.name for fixture in fixtures]
    if "event" in fields and texts["event"] not in names:
        hint = near_miss(texts["event"], names) or "; write one"
        fields["event"].complain(f"names no fixture of this kit{hint}")
    return ConnectionTestSpec(
        texts.get("proves", ""),
        texts.get("event", ""),
        read_texts(fields["params"]) if "params" in fields else {},
        texts.get("endpoint", ""),
        fields["body"].value if "body" in fields else None,
        _tree(fields.get("request")),
        texts.get("none", ""),
        _tree(fields.get("answers")),
    )


def _tree(node: Node | None) -> Mapping[str, Any] | None:
    is_object = node is not None and isinstance(node.value, dict)
    return cast("dict[str, Any]", node.value) if node is not None and is_object else None


def request_of(spec: ConnectionTestSpec, default: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree of the test's own request, signed in as the default one where it says not."""
    own = dict(spec.request or {})
    if not any(name in own for name in (*_AUTHS, "providerAuth")):
        own.update({name: default[name] for name in _AUTHS if default.get(name)})
    return own


def answers_of(spec: ConnectionTestSpec, tree: Mapping[str, Any]) -> Any:
    """Return the tree of the answers that the test is judged by."""
    return spec.answers if spec.answers is not None else tree.get("answers")
