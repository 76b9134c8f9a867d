"""How an HTTP API is given events: JSON, forms, query parameters."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.destinations.http_api import URL_BYTES_MAX, HttpApi, HttpApiSettings, flatten
from trunkline.kit.destination import Attempt, Mapped, Request, Response, map_event
from trunkline.model.outcome import Delivered, Rejected

ATTEMPT = Attempt(1_795_170_000_000, 1, "a/d", "delivery-7")
URL = "https://api.example/collect"


def event(**more: Any) -> Mapped:
    return map_event({"messageId": "m-1", "app": "a" * 15, "type": "track", **more})


def api(**values: Any) -> HttpApi:
    return HttpApi(msgspec.convert({"url": URL, **values}, HttpApiSettings))


def build(*events: Mapped, **values: Any) -> Request:
    return api(**values).build(events, ATTEMPT)


def test_json_is_an_array_or_with_batches_of_one_the_event() -> None:
    assert build(event(), event()).body == b"[" + event().body + b"," + event().body + b"]"
    assert build(event(), batch_events_max=1).body == event().body


def test_a_form_holds_the_event_flattened() -> None:
    properties = {"items": [{"sku": "A&1", "n": 2}], "é": True, "none": None, "empty": {}, "f": 1.5}
    request = build(event(properties=properties), encoding="form")
    assert dict(request.headers)["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(request.body.decode(), keep_blank_values=True) == [
        ("messageId", "m-1"),
        ("app", "a" * 15),
        ("type", "track"),
        ("properties.items.0.sku", "A&1"),
        ("properties.items.0.n", "2"),
        ("properties.é", "true"),
        ("properties.none", ""),
        ("properties.empty", ""),
        ("properties.f", "1.5"),
    ]


def test_query_parameters_stand_behind_those_of_the_url_and_there_is_no_body() -> None:
    request = build(event(event="a b&c"), encoding="query", url=f"{URL}?site=7", method="GET")
    assert request.body == b""
    assert "Content-Type" not in dict(request.headers)
    assert parse_qsl(urlsplit(request.url).query) == [
        ("site", "7"),
        ("messageId", "m-1"),
        ("app", "a" * 15),
        ("type", "track"),
        ("event", "a b&c"),
    ]
    assert " " not in request.url


def test_the_signature_of_a_query_covers_the_pairs_of_the_event() -> None:
    request = build(event(), encoding="query", secret="s", url=f"{URL}?site=7")
    pairs = request.url.partition("site=7&")[2]
    expected = hmac.new(b"s", b"1795170000." + pairs.encode(), hashlib.sha256).hexdigest()
    assert dict(request.headers)["X-Trunkline-Signature"] == f"t=1795170000,v1={expected}"


@pytest.mark.parametrize("encoding", ["form", "query"])
def test_form_and_query_carry_one_event_whatever_the_settings_say(encoding: str) -> None:
    assert api(encoding=encoding, batch_events_max=50).settings.batch_events_max == 1
    assert api(encoding=encoding).settings.batch_events_max == 1
    with pytest.raises(ValueError, match="carries 1 event, not 2"):
        build(event(), event(), encoding=encoding)


@pytest.mark.parametrize("encoding", ["json", "form"])
def test_get_is_only_for_query_parameters(encoding: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="encoding: query"):
        api(method="GET", encoding=encoding)


def test_an_event_that_makes_too_long_a_url_is_rejected_unsent() -> None:
    destination = api(encoding="query")
    exchange = destination.exchange([event(event="x" * URL_BYTES_MAX)], ATTEMPT)
    with pytest.raises(StopIteration) as end:
        next(exchange)
    (outcome,) = end.value.value
    assert isinstance(outcome, Rejected)
    assert str(URL_BYTES_MAX) in outcome.reason


def test_an_event_that_just_fits_is_sent() -> None:
    destination = api(encoding="query")
    spare = URL_BYTES_MAX - len(destination.build([event(event="")], ATTEMPT).url)
    exchange = destination.exchange([event(event="x" * spare)], ATTEMPT)
    assert len(next(exchange).url) == URL_BYTES_MAX
    with pytest.raises(StopIteration) as end:
        exchange.send(Response(204, {}, b""))
    assert end.value.value == [Delivered()]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(min_size=1), JSON, max_size=5))
def test_flattening_keeps_every_leaf_once_and_in_order(value: dict[str, Any]) -> None:
    assert [text for _, text in flatten(value)] == list(_leaves(value, is_top=True))


def test_a_deeply_nested_event_needs_no_deep_stack() -> None:
    value: Any = "leaf"
    for _ in range(5000):
        value = {"n": value}
    ((name, text),) = flatten(value)
    assert (name.count("."), text) == (4999, "leaf")


def _leaves(node: Any, *, is_top: bool = False) -> list[str]:
    if node in ({}, []) and is_top:
        return []
    if isinstance(node, dict) and node:
        return [leaf for child in node.values() for leaf in _leaves(child)]
    if isinstance(node, list) and node:
        return [leaf for child in node for leaf in _leaves(child)]
    if isinstance(node, str):
        return [node]
    if isinstance(node, bool):
        return ["true" if node else "false"]
    return [str(node)] if isinstance(node, int) else [""]
