"""How a kit's connection makes requests of what a playbook made, and reads their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.kit_driving import attempt_for, by_json, drive, made_of, shaped
from trunkline.destinations.http_kit import HttpKit
from trunkline.kit.destination import Call, Mapped, NoAnswer, Request, Response, delivery_id
from trunkline.kits.parcels import Entry, Room, pack
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry
from trunkline.playbook.program import CodeError

URL = "https://acme.example/e"


def kit(params: dict[str, str] | None = None, **request: Any) -> HttpKit:
    more = {k: request.pop(k) for k in ("eventSpecific", "answers") if k in request}
    names = [{"name": name} for name in params or {}]
    default = {"endpoint": URL, **request}
    return made_of({"params": names, "default": default, **more}, params)


def only(destination: HttpKit, *events: Mapped) -> Request:
    driven = drive(destination, events)
    assert len(driven.requests) == 1
    assert destination.build(events, attempt_for(events)) == driven.requests[0]
    return driven.requests[0]


# Bodies and URLs


def test_json_is_the_event_or_with_batches_an_array() -> None:
    assert only(kit(), shaped({"a": [1, None]})).body == b'{"a":[1,null]}'
    assert only(kit(batchSize=10), shaped({"a": 1})).body == b'[{"a":1}]'
    two = only(kit(batchSize=10), shaped({"a": 1}), shaped({"a": 2}, id="m-2"))
    assert two.body == b'[{"a":1},{"a":2}]'
    assert dict(two.headers)["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (URL, f"{URL}?q=a+b%26c&n=7&b=true"),
        (f"{URL}?", f"{URL}?q=a+b%26c&n=7&b=true"),
        (f"{URL}?x=1", f"{URL}?x=1&q=a+b%26c&n=7&b=true"),
        (f"{URL}?x=1&", f"{URL}?x=1&q=a+b%26c&n=7&b=true"),
        (f"{URL}#part", f"{URL}?q=a+b%26c&n=7&b=true"),
    ],
)
def test_get_puts_the_keys_into_the_query(endpoint: str, url: str) -> None:
    output = {"q": "a b&c", "n": 7, "none": None, "b": True}
    request = only(kit(endpoint=endpoint, method="GET"), shaped(output))
    assert (request.method, request.url, request.body) == ("GET", url, b"")
    assert "Content-Type" not in dict(request.headers)


def test_path_encoding_leaves_what_ends_no_field() -> None:
    output = {"q": "a b/é=&+", "o": {"k": [1]}}
    request = only(kit(method="GET", queryEncoding="use_path_escape_encoding"), shaped(output))
    assert request.url == f"{URL}?q=a%20b%2F%C3%A9=%26%2B&o=%7B%22k%22:%5B1%5D%7D"


def test_a_form_is_told_by_encoding_or_by_the_content_type() -> None:
    header = {"key": "content-type", "value": "application/x-www-form-urlencoded"}
    typed: dict[str, Any] = {"headers": [header]}
    for destination in (kit(encoding="form"), kit(**typed)):
        request = only(destination, shaped({"a": "b c", "n": 1.5}))
        assert request.body == b"a=b+c&n=1.5"
        types = [v for n, v in request.headers if n.lower() == "content-type"]
        assert types == ["application/x-www-form-urlencoded"]


def test_an_event_whose_url_would_be_too_long_is_rejected_unsent() -> None:
    driven = drive(kit(method="GET"), [shaped({"a": "x" * 9000})])
    assert driven.requests == []
    assert driven.outcomes == [Rejected("as a URL the event has 9025 bytes; at most 8000 go")]


def test_params_stand_in_endpoint_headers_auth_and_code() -> None:
    destination = kit(
        {"V": "v9", "K": "k-1", "P": "pass"},
        endpoint="https://acme.example/$$V$$/e",
        headers=[{"key": "X-Key", "value": "Key $$K$$"}],
        basicAuth={"username": "me", "password": "$$P$$"},
        transform={"lang": "lua", "body": "request.body = {k = '$$K$$'}\nreturn request"},
    )
    code = destination.code()
    assert {name: (c.lang, c.reads, c.path) for name, c in code.items()} == {
        "default": ("lua", ("request", "batch"), "connection.default.transform")
    }
    assert code["default"].body == "request.body = {k = 'k-1'}\nreturn request"
    request = destination.build([shaped()], attempt_for([shaped()]))
    assert request.url == "https://acme.example/v9/e"
    assert dict(request.headers)["X-Key"] == "Key k-1"
    assert dict(request.headers)["Authorization"] == "Basic bWU6cGFzcw=="


@pytest.mark.parametrize(
    ("request_", "params", "sentence"),
    [
        ({"endpoint": "https://$$HOST$$/"}, {}, "params: HOST must be given"),
        ({"headers": [{"key": "X", "value": "$$K$$"}]}, {}, "params: K must be given"),
        ({"endpoint": "$$HOST$$/e"}, {"HOST": "hunter2"}, "endpoint $$HOST$$/e"),
        ({"headers": [{"key": "X", "value": "$$K$$"}]}, {"K": "hunter2\n"}, "value of X"),
        (
            {"oauth2Auth": {"request": {"url": URL},
             "jwt": {"signingMethod": "RS256", "rsaPemKey": "$$K$$"}}},
            {"K": "hunter2"}, "the private key is no PEM text",
        ),
    ],
)  # fmt: skip
def test_what_params_make_is_judged_before_the_first_event(
    request_: dict[str, Any], params: dict[str, str], sentence: str
) -> None:
    declared = [{"name": name} for name in ("HOST", "K")]
    connection = {"params": declared, "default": {"endpoint": URL, **request_}}
    with pytest.raises(ValueError) as caught:
        made_of(connection, params)
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_kit_that_cannot_send_and_one_without_connection_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="writes to a Kafka topic"):
        made_of({"kafka": {}})
    with pytest.raises(ValueError, match="providerAuth `verizon`"):
        kit(providerAuth={"verizon": {}})
    with pytest.raises(ValueError, match="import it with"):
        made_of({})
    with pytest.raises(msgspec.ValidationError, match="endpoint is missing"):
        made_of({"default": {}})


# Headers


def test_headers_of_the_event_come_from_the_event_as_it_was_accepted() -> None:
    headers = [
        {"key": "User-Agent", "fromEventKey": "context.userAgent"},
        {"key": "X-Ip", "fromEventKey": "context.ip"},
        {"key": "X-First", "fromEventKey": "properties.list.0"},
        {"key": "Accept-Encoding", "value": "application/json"},
        {"key": "Connection", "value": "close"},
        {"key": "X-Trunkline-Delivery", "value": "mine"},
    ]
    event = shaped({}, context={"userAgent": "é\r\nEvil: 1"}, properties={"list": [7]})
    sent = dict(only(kit(headers=headers), event).headers)
    assert sent["User-Agent"] == "%C3%A9Evil: 1"
    assert sent["X-First"] == "7"
    assert not {"X-Ip", "Accept-Encoding", "Connection"} & sent.keys()
    assert sent["X-Trunkline-Delivery"] == delivery_id("a/d", ["m-1"])


def test_events_whose_headers_differ_go_in_requests_of_their_own() -> None:
    headers = [{"key": "X-Ip", "fromEventKey": "context.ip"}]
    events = [shaped(id=f"m-{n}", user=f"u-{n}", context={"ip": ip}) for n, ip in enumerate("abab")]
    driven = drive(kit(batchSize=10, headers=headers), events)
    assert [dict(r.headers)["X-Ip"] for r in driven.requests] == ["a", "b"]
    assert [ids_of(r) for r in driven.requests] == [["m-0", "m-2"], ["m-1", "m-3"]]
    keys = [dict(r.headers)["Idempotency-Key"] for r in driven.requests]
    assert keys == [delivery_id("a/d", ["m-0", "m-2"]), delivery_id("a/d", ["m-1", "m-3"])]


# Variants, order, limits


VARIANTS = {
    "identify": {"endpoint": f"{URL}/people", "method": "PUT"},
    "order_canceled": {"endpoint": f"{URL}/cancel", "batchSize": 2},
}


@pytest.mark.parametrize(
    ("type_", "name", "path"),
    [
        ("identify", "", "/people"),
        ("track", "Order Cancelled", "/cancel"),
        ("track", "order-canceled", "/cancel"),
        ("track", "Order Completed", ""),
        ("page", "Identify", ""),
    ],
)
def test_an_event_goes_to_the_request_of_its_name(type_: str, name: str, path: str) -> None:
    event = shaped(type=type_, name=name)
    assert only(kit(eventSpecific=VARIANTS), event).url == URL + path


def ids_of(request: Request) -> list[str]:
    body: Any = msgspec.json.decode(request.body)
    found = cast("list[Any]", body if isinstance(body, list) else [body])
    return [one["id"] for one in found]


def test_no_event_overtakes_another_of_its_user() -> None:
    def event(n: int, user: str, type: str) -> Mapped:
        return shaped(id=f"m-{n}", user=user, type=type)

    events = [
        event(0, "a", "track"), event(1, "a", "identify"), event(2, "b", "track"),
        event(3, "a", "track"), event(4, "b", "track"),
    ]  # fmt: skip
    driven = drive(kit(batchSize=10, eventSpecific=VARIANTS), events)
    assert [ids_of(r) for r in driven.requests] == [["m-0", "m-2", "m-4"], ["m-1"], ["m-3"]]
    assert driven.outcomes == [Delivered()] * 5


def test_what_follows_an_event_that_is_to_be_repeated_waits_and_others_go_on() -> None:
    events = [
        shaped(id="m-0", user="a"), shaped(id="m-1", user="a", type="identify"),
        shaped(id="m-2", user="b", type="identify"),
    ]  # fmt: skip

    def answer(request: Request) -> Response:
        return Response(503 if request.url == URL else 200, {}, b"")

    driven = drive(kit(batchSize=10, eventSpecific=VARIANTS), events, answer)
    assert driven.outcomes[0] == Retry("HTTP 503")
    assert isinstance(driven.outcomes[1], Retry)
    assert driven.outcomes[2] == Delivered()
    assert [ids_of(r) for r in driven.requests] == [["m-0"], ["m-2"]]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Response(401, {}, b""), Blocked("HTTP 401")),
        (Response(429, {}, b""), Retry("HTTP 429")),
        (Response(503, {}, b"", 30.0), Retry("HTTP 503", 30.0)),
    ],
)
def test_an_answer_that_means_the_vendor_takes_nothing_ends_the_exchange(
    answer: Response, outcome: Outcome
) -> None:
    events = [shaped(id=f"m-{n}", user=f"u-{n}") for n in range(5)]
    driven = drive(kit(), events, lambda _: answer)
    assert len(driven.requests) == 1
    assert driven.outcomes == [outcome] * 5


def test_what_was_delivered_stays_so_where_a_later_request_gets_no_answer() -> None:
    events = [
        shaped(id="m-0", user="a"), shaped(id="m-1", user="b", type="identify"),
        shaped(id="m-2", user="c", type="page"),
    ]  # fmt: skip

    def answer(request: Request) -> Response:
        if request.url != URL:
            raise NoAnswer(Retry("timeout"))
        return Response(200, {}, b"")

    paged = {**VARIANTS, "page": {"endpoint": f"{URL}/page", "method": "POST"}}
    driven = drive(kit(batchSize=10, eventSpecific=paged), events, answer)
    assert len(driven.requests) == 2  # what times out is not asked again and again
    assert driven.outcomes == [Delivered(), Retry("timeout"), Retry("timeout")]


def test_the_only_request_hands_on_that_it_got_no_answer() -> None:
    def answer(request: Request) -> Response:
        raise NoAnswer(Retry("timeout"))

    with pytest.raises(NoAnswer):
        drive(kit(batchSize=10), [shaped(id="m-0"), shaped(id="m-1")], answer)


def test_what_was_delivered_stays_so_where_code_fails_for_a_later_request() -> None:
    def run(call: Call) -> Any:
        raise CodeError("no such field", 3)

    variants = {
        "identify": {
            "endpoint": f"{URL}/identify",
            "method": "POST",
            "transform": {"lang": "lua", "body": "return request"},
        }
    }
    events = [shaped(id="m-0", user="a"), shaped(id="m-1", user="b", type="identify")]
    driven = drive(kit(eventSpecific=variants), events, run=run)
    assert driven.outcomes == [
        Delivered(),
        Rejected("connection.transform: no such field"),
    ]


def test_at_most_ten_requests_are_made_and_the_rest_is_retried() -> None:
    events = [shaped(id=f"m-{n}", user=f"u-{n % 7}") for n in range(25)]
    driven = drive(kit(), events)
    assert len(driven.requests) == 10
    assert driven.outcomes[:10] == [Delivered()] * 10
    assert all(isinstance(outcome, Retry) for outcome in driven.outcomes[10:])


def test_a_rejected_request_beside_others_is_repeated_to_find_the_event_at_fault() -> None:
    events = [
        shaped(id="m-0", user="a"), shaped(id="m-1", user="b"),
        shaped(id="m-2", user="c", type="identify"),
    ]  # fmt: skip

    def answer(request: Request) -> Response:
        return Response(422 if request.url == URL else 200, {}, b"")

    destination = kit(batchSize=10, eventSpecific=VARIANTS)
    mixed = drive(destination, events, answer).outcomes
    again = Retry("HTTP 422; sent again to find the event at fault")
    assert mixed == [again, again, Delivered()]
    # Alone it is rejected whole, which the forwarder splits.
    assert drive(destination, events[:2], answer).outcomes == [Rejected("HTTP 422")] * 2


def test_a_request_carries_no_more_bytes_than_the_kit_says() -> None:
    events = [shaped({"id": f"m-{n}", "x": "y" * 400}, id=f"m-{n}", user=f"u-{n}") for n in "abcd"]
    driven = drive(kit(batchSize=10, bytesMax=1000), events)
    assert [ids_of(r) for r in driven.requests] == [["m-a", "m-b"], ["m-c", "m-d"]]


def test_batches_are_as_large_as_the_kit_says_unless_the_operator_wants_less() -> None:
    assert kit(batchSize=37).settings.batch_events_max == 37
    assert kit().settings.batch_events_max == 1
    small = made_of({"default": {"endpoint": URL, "batchSize": 37}}, batch_events_max=2)
    driven = drive(small, [shaped(id=f"m-{n}", user=f"u-{n}") for n in range(5)])
    assert [len(ids_of(r)) for r in driven.requests] == [2, 2, 1]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abc")), max_size=40))
def test_parcels_hold_each_event_once_in_order_for_each_user(pairs: list[tuple[str, str]]) -> None:
    entries = [Entry(key, user, 10) for key, user in pairs]
    parcels, rest = pack(entries, lambda key: Room({"x": 1, "y": 3, "z": 40}[key], 100), 6)
    placed = [(number, p) for number, parcel in enumerate(parcels) for p in parcel.positions]
    assert sorted([p for _, p in placed] + rest) == [*range(len(pairs))]
    assert len(parcels) <= 6
    for user in "abc":
        order = [p for _, p in sorted(placed) if pairs[p][1] == user]
        assert order == sorted(order)
        left = [p for p in rest if pairs[p][1] == user]
        assert not left or not order or min(left) > max(order)
    for parcel in parcels:
        assert {pairs[p][0] for p in parcel.positions} == {parcel.key}
        assert len(parcel.positions) <= {"x": 1, "y": 3, "z": 10}[parcel.key]


def test_several_outputs_of_one_event_have_keys_of_their_own() -> None:
    events = [shaped({"id": "m-1"}), shaped({"id": "m-1"})]
    keys = [dict(r.headers)["Idempotency-Key"] for r in drive(kit(), events).requests]
    assert len({*keys}) == 2
    again = [dict(r.headers)["Idempotency-Key"] for r in drive(kit(), events).requests]
    assert keys == again


# The kit's transform


def transformed(
    change: Callable[[dict[str, Any], list[Any]], Any], *events: Mapped, **request: Any
) -> Any:
    code = {"lang": "lua", "body": "return request"}
    return drive(
        kit(transform=code, **request),
        events or [shaped({"id": "m-1"})],
        run=lambda call: change(call.values["request"], call.values["batch"]),
    )


def test_a_transform_sees_request_and_batch_and_its_request_is_sent() -> None:
    def change(request: dict[str, Any], batch: list[Any]) -> Any:
        assert request == {"url": URL, "headers": {"A": "b"}, "body": batch}
        body = {"data": batch}
        return {"url": request["url"] + "?n=1 2", "headers": {"C": 5, "accept-encoding": "x"},
                "body": body}  # fmt: skip

    headers = [{"key": "A", "value": "b"}]
    events = [shaped({"id": "m-1"}), shaped({"id": "m-2"}, id="m-2")]
    driven = transformed(change, *events, headers=headers, batchSize=10)
    assert [call.name for call in driven.calls] == ["default"]
    request = driven.requests[0]
    assert request.url == f"{URL}?n=1%202"
    assert request.body == b'{"data":[{"id":"m-1"},{"id":"m-2"}]}'
    assert [n for n, _ in request.headers] == [
        "Content-Type", "Idempotency-Key", "X-Trunkline-Delivery", "C",
    ]  # fmt: skip


def test_a_transform_of_a_get_sees_the_query_and_makes_no_body() -> None:
    def change(request: dict[str, Any], batch: list[Any]) -> Any:
        assert request["url"] == f"{URL}?id=m-1"
        return {**request, "url": request["url"].replace("?", ":"), "body": {"x": 1}}

    request = transformed(change, method="GET").requests[0]
    assert (request.url, request.body) == (f"{URL}:id=m-1", b"")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("https://evil.example/e", "leads to https://evil.example"),
        ("https://acme.example@evil.example/", "user name"),
        ("http://acme.example/e", "leads to http://acme.example"),
        ("https://acme.example:8443/e", "leads to https://acme.example:8443"),
        ("//", "must start with http"),
        (None, "no text"),
    ],
)
def test_a_transform_cannot_send_elsewhere(url: str | None, word: str) -> None:
    driven = transformed(lambda request, _: {**request, "url": url})
    assert driven.requests == []
    assert isinstance(driven.outcomes[0], Rejected)
    assert word in driven.outcomes[0].reason


@pytest.mark.parametrize(
    "told", [None, [], "x", {}, {"url": URL, "headers": "x"}, {"url": URL, "headers": {"a b": 1}}]
)
def test_what_is_no_request_rejects_the_events(told: Any) -> None:
    driven = transformed(lambda request, batch: told)
    assert driven.requests == []
    assert isinstance(driven.outcomes[0], Rejected)


# Answers


def answered(rules: dict[str, Any], answer: Response, count: int = 1) -> list[Outcome]:
    events = [shaped(id=f"m-{n}", user=f"u-{n}") for n in range(count)]
    return [*drive(kit(batchSize=100, answers=rules), events, lambda _: answer).outcomes]


RULES = {
    "success": [{"status": "2xx", "path": "code", "equals": 0}],
    "retry": [{"path": "code", "in": [5, 6]}],
    "blocked": [{"path": "code", "equals": 40105}],
}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, {"code": 0}, Delivered()),
        (200, {"code": False}, Rejected("HTTP 200, code is false")),
        (200, {"code": 6}, Retry("HTTP 200, code is 6")),
        (200, {"code": 40105}, Blocked("HTTP 200, code is 40105")),
        (200, {"code": 7}, Rejected("HTTP 200, code is 7")),
        (200, "nonsense", Rejected("HTTP 200, code is null")),
        (503, {}, Retry("HTTP 503")),
        (401, {}, Blocked("HTTP 401")),
    ],
)
def test_rules_over_the_body_say_what_an_answer_means(
    status: int, body: Any, outcome: Outcome
) -> None:
    assert answered(RULES, by_json(body, status)) == [outcome]


def test_rules_by_status_contains_and_exists() -> None:
    rules = {
        "retry": [404, {"status": [409, "5xx"]}, {"path": "errors.0.text", "contains": "quota"}],
        "rejected": [{"path": "errors"}],
    }
    assert answered(rules, Response(404, {}, b"")) == [Retry("HTTP 404")]
    assert answered(rules, Response(409, {}, b"")) == [Retry("HTTP 409")]
    quota = by_json({"errors": [{"text": "over quota"}]})
    assert answered(rules, quota) == [Retry('HTTP 200, errors.0.text is "over quota"')]
    assert isinstance(answered(rules, by_json({"errors": []}))[0], Rejected)
    assert answered(rules, by_json({})) == [Delivered()]


def test_a_batch_answer_condemns_single_events_by_position_or_by_index() -> None:
    by_position = {
        "events": {"path": "events", "success": [{"path": "status", "equals": "ok"}],
                   "reason": "why"},
    }  # fmt: skip
    body = {"events": [{"status": "ok"}, {"status": "failed", "why": "old"}, {"status": "ok"}]}
    assert answered(by_position, by_json(body), 3) == [
        Delivered(), Rejected('HTTP 200, why is "old"', is_sure=True), Delivered(),
    ]  # fmt: skip
    by_index = {"events": {"path": "errors", "index": "i"}}
    body = {"errors": [{"i": 2}, {"i": 9}, {"i": "x"}, {}]}
    assert answered(by_index, by_json(body), 3) == [
        Delivered(), Delivered(), Rejected("HTTP 200", is_sure=True),
    ]  # fmt: skip
    assert answered(by_index, Response(200, {}, b"<html>"), 2) == [Delivered()] * 2


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=60), status=st.integers(100, 999), count=st.integers(1, 4))
def test_any_answer_gives_one_outcome_per_event(body: bytes, status: int, count: int) -> None:
    rules = {**RULES, "events": {"path": "a", "index": "i"}}
    assert len(answered(rules, Response(status, {}, body), count)) == count
