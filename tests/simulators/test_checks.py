"""What simulators ask of values: golden cases, yes and no."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.simulated_vendor import NOW_MS, ask
from trunkline.simulators import checks
from trunkline.simulators.registry import simulators
from trunkline.simulators.simulator import Simulator

UUID = "7d0a2e2f-0f2a-4a0f-9a53-0a6d3f6f5b11"


@pytest.mark.parametrize(
    ("question", "yes", "no"),
    [
        (checks.is_number, [1, 2.5, -3], [True, "1", None, float("nan"), float("inf")]),
        (checks.is_whole, [0, 12], [12.0, True, "12"]),
        (checks.is_number_text, ["29.90", "-1"], ["1e3", "", "1.", 29.9]),
        (checks.is_uuid, [UUID, UUID.upper()], [UUID[:-1], UUID.replace("-", ""), 1]),
        (checks.is_ulid, ["01ARZ3NDEKTSV4RRFFQ69G5FAV"], ["01arz3ndektsv4rrffq69g5fav", "8" * 26]),
        (checks.is_currency, ["USD", "IRR"], ["usd", "TOM", "US", None]),
        (checks.is_country, ["IR", "US"], ["ir", "XX"]),
        (checks.is_email, ["a@b.c"], ["a@b", "a b@c.d", "@b.c"]),
        (checks.is_e164, ["+989120001234"], ["989120001234", "+0912", "+98 912"]),
        (checks.is_phone_digits, ["989120001234"], ["0912000123", "+989120001234"]),
        (checks.is_ipv4, ["203.0.113.7"], ["203.0.113.256", "1.2.3", "1.2.3.4."]),
        (checks.is_url, ["https://a.b/c?d"], ["a.b/c", "ftp://a.b", "https://"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_question_tells_good_values_from_bad(
    question: Callable[[object], bool], yes: list[object], no: list[object]
) -> None:
    assert [value for value in yes if not question(value)] == []
    assert [value for value in no if question(value)] == []


def test_a_hash_is_lower_case_hex_and_not_of_nothing() -> None:
    good = hashlib.sha256(b"jane").hexdigest()
    assert checks.is_sha256(good)
    assert not checks.is_sha256(good.upper())
    assert not checks.is_sha256(hashlib.sha256(b"").hexdigest())
    assert not checks.is_sha256(hashlib.md5(b"jane").hexdigest())


def test_a_strict_uuid_has_version_and_variant() -> None:
    assert checks.is_uuid(UUID, is_strict=True)
    assert not checks.is_uuid(UUID.replace("-4a0f", "-0a0f"), is_strict=True)
    assert not checks.is_uuid(UUID.replace("-9a53", "-ca53"), is_strict=True)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (1_795_169_730, "seconds"),
        (1_795_169_730_000, "millis"),
        (1_795_169_730_000_000, "micros"),
        ("2026-11-20T10:15:30Z", "rfc3339"),
        ("2026-11-20T13:45:30.000+03:30", "rfc3339"),
    ],
)
def test_a_moment_is_read_in_its_unit(value: object, unit: str) -> None:
    assert checks.moment_ms(value, unit) == 1_795_169_730_000


@pytest.mark.parametrize(
    ("value", "unit"),
    [("1795169730", "seconds"), (1.5, "millis"), ("2026-11-20T10:15:30", "rfc3339"), (1, "x")],
)
def test_what_is_no_moment_in_the_unit_is_none(value: object, unit: str) -> None:
    assert checks.moment_ms(value, unit) is None


def test_the_age_of_a_moment_is_judged_on_both_sides() -> None:
    week = 7 * checks.DAY_MS
    assert checks.fault_of_age(NOW_MS - week, NOW_MS, week, 0) == ""
    assert "7.0 days old; at most 7" in checks.fault_of_age(NOW_MS - week - 1, NOW_MS, week, 0)
    assert "2 s ahead" in checks.fault_of_age(NOW_MS + 2_000, NOW_MS, week, 1_000)
    assert checks.fault_of_age(NOW_MS + week, NOW_MS, None, None) == ""
    assert "unit seems wrong" in checks.fault_of_age(NOW_MS // 1_000, NOW_MS, week, 0)
    assert "no moment" in checks.fault_of_age(None, NOW_MS, week, 0)


def test_parts_of_a_value_are_found_by_their_paths() -> None:
    value = {"a": [{"b": 1}, None], "c": {"d": ""}}
    assert checks.at(value, "a.0.b") == 1
    assert (checks.at(value, "a.7.b"), checks.at(value, "a.b")) == (None, None)
    assert (checks.object_at(value, "a"), checks.list_at(value, "c")) == ({}, [])
    assert checks.missing_of(value, ["a.0.b", "c.d", "e"]) == ["c.d", "e"]
    assert checks.unknown_of(value, ["a"]) == ["c"]
    assert [*checks.nulls_of(value)] == ["a.1"]
    assert checks.size_of({"a": "é"}) == 10


def test_credentials_are_read_from_the_headers() -> None:
    pair = base64.b64encode(b"user:pass:word").decode()
    assert checks.bearer_of(ask("/", authorization="bearer abc ")) == "abc"
    assert checks.bearer_of(ask("/", authorization="abc")) == ""
    assert checks.basic_of(ask("/", authorization=f"Basic {pair}")) == ("user", "pass:word")
    assert checks.basic_of(ask("/", authorization="Basic no")) == ("", "")


def test_a_body_that_is_no_object_is_told() -> None:
    assert checks.json_object_of(ask("/", {"a": 1})) == {"a": 1}
    assert "a list; an object is expected" in str(checks.json_object_of(ask("/", [])))
    text = ask("/", b"{", content_type="application/json; charset=utf-8")
    assert "no JSON" in str(checks.json_object_of(text))
    assert "missing; application/json" in str(checks.json_object_of(ask("/", b"{}")))
    form = ask("/", b"a=1&b=%20x&a=2")
    assert checks.form_of(form) == {"a": "2", "b": " x"}


@pytest.mark.parametrize("vendor", simulators())
def test_every_simulator_says_what_it_is(vendor: str) -> None:
    kind: type[Simulator] = simulators()[vendor]
    assert kind.__module__ == f"trunkline.simulators.{vendor.replace('-', '_')}"
    assert kind.title
    assert kind.docs.startswith("https://")
    assert kind.__doc__
    words = {"delivered", "retry", "rejected", "blocked", "partial"}
    assert {*kind.fault_outcomes.values()} <= words
    assert {*kind.fault_outcomes} <= {*kind.own_faults}


@pytest.mark.parametrize("vendor", simulators())
def test_no_simulator_takes_a_request_that_says_nothing(vendor: str) -> None:
    simulator = simulators()[vendor]()
    requests: list[tuple[str, Any]] = [("POST", None), ("POST", {}), ("GET", None), ("PUT", b"x")]
    for method, body in requests:
        simulator.answer(ask("/", body, method=method))
    assert simulator.taken == []
