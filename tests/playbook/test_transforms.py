"""The transforms: their examples, the vendors' golden values, and that none can fail."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.json_values import JSON
from trunkline.playbook.transforms import TRANSFORMS, Transform, TransformExample

EXAMPLES = [
    pytest.param(transform, example, id=f"{transform.name}-{number}")
    for transform in TRANSFORMS.values()
    for number, example in enumerate(transform.examples)
]


def run(name: str, argument: Any, value: Any) -> Any:
    return TRANSFORMS[name].prepare(argument)(value)


@pytest.mark.parametrize(("transform", "example"), EXAMPLES)
def test_an_example_gives_what_it_says(transform: Transform, example: TransformExample) -> None:
    made = transform.prepare(example.argument)(example.input)
    assert made == example.output
    assert type(made) is type(example.output)


@pytest.mark.parametrize(("transform", "example"), EXAMPLES)
def test_null_stays_null(transform: Transform, example: TransformExample) -> None:
    assert transform.prepare(example.argument)(None) is None


@pytest.mark.slow
@given(st.sampled_from([param.values for param in EXAMPLES]), JSON)
def test_no_value_makes_a_transform_raise(
    example: tuple[Transform, TransformExample], value: Any
) -> None:
    transform, shown = example
    made = transform.prepare(shown.argument)(value)
    assert msgspec.json.decode(msgspec.json.encode(made)) == made


def test_the_contract_has_these_transforms_beside_expression() -> None:
    assert list(TRANSFORMS) == [
        "modifyString", "toScalar", "substring", "toHash", "toTimestamp", "toDateTime",
        "pluckValues", "joinValues", "toMinorUnits", "toE164", "normaliseEmail", "mapEnum",
        "mapItems", "normalisePerson", "toList", "first", "count", "sumValues", "multiply", "round",
        "absolute", "surround", "matchPattern", "toJsonText", "toUuid", "toUlid", "toFlag",
        "flagToNumber", "isPresent", "when", "pick", "keepKeys", "dropKeys", "renameKeys",
        "scalarsOnly", "entries", "toSlug", "wrapValues", "keepValues",
        "collect",
    ]  # fmt: skip


BAD_ARGUMENTS: list[tuple[str, Any, str]] = [
    ("modifyString", "lower", "did you mean `lowercase`?"),
    ("toScalar", ["string"], "expected `string`, `float`, `truncated_int`"),
    ("toHash", "sha1", "did you mean"),
    ("toTimestamp", None, "expected `inSeconds`, `inMillis`"),
    ("substring", {"start": -1}, "start: is -1; expected a whole number from 0 on"),
    ("substring", {"begin": 1}, "has no 'begin'; it has `start`, `end`"),
    ("toDateTime", {"outputformat": "2006"}, "did you mean `outputFormat`?"),
    ("toDateTime", {"outputFormat": "2" * 101}, "at most 100 are taken"),
    ("pluckValues", {}, "lacks `extractKey`"),
    ("joinValues", {"separator": 1}, "separator: is 1; expected text"),
    ("toMinorUnits", {"currency": "EURO"}, "'EURO' is no code of ISO 4217"),
    ("toE164", {"country": "Iran"}, "'IRAN' is no code of ISO 3166"),
    ("toE164", {"withoutPlus": "yes"}, "expected true or false"),
    ("normaliseEmail", "gmail", "expected `trim_lower`, `google`, `reddit`"),
    ("mapEnum", {"values": []}, "values: expected an object"),
    ("mapEnum", {"values": {"a": {}}}, "a: is an object or a list"),
    ("mapItems", {"fields": {"id": 7}}, "fields: expected an object of texts"),
    ("mapItems", "id", "expected an object with `fields`"),
    ("normalisePerson", {"field": "name"}, "lacks `rule`"),
    ("normalisePerson", {"field": "names", "rule": "meta"}, "field: is 'names'; expected `name`"),
    ("normalisePerson", {"field": "zip", "rule": "Meta"}, "did you mean `meta`?"),
    ("first", False, "is False; expected `true`, for it takes no argument"),
    ("toList", {}, "expected `true`"),
    ("sumValues", {"key": "price"}, "has no 'key'; it has `extractKey`, `timesKey`"),
    ("multiply", {"by": "ten"}, "by: is 'ten'; expected a number"),
    ("multiply", {"by": True}, "by: is True; expected a number"),
    ("multiply", {"by": 1e300}, "expected a number up to 10^12"),
    ("round", {"digits": 16}, "digits: is 16; expected 0 to 15"),
    ("surround", {"before": 1}, "before: is 1; expected text"),
    ("matchPattern", {"pattern": "(a"}, "pattern: is no regular expression that RE2 takes"),
    ("matchPattern", {"pattern": "a" * 1001}, "at most 1000 are taken"),
    ("toUlid", True, "expected an object with `idKey`, `timeKey`"),
    ("when", {"isEqual": "a"}, "lacks `then`"),
    ("when", {"isEqual": [], "then": 1}, "isEqual: is an object or a list"),
    ("when", {"isEqual": None, "then": 1}, "isEqual: expected text, number or boolean"),
    ("pick", {"key": "a..b"}, "expected names with one dot between two"),
    ("keepKeys", {"keys": "a"}, "keys: expected a list of texts, not empty"),
    ("dropKeys", {"keys": []}, "keys: expected a list of texts, not empty"),
    ("renameKeys", {"keys": ["a"]}, "keys: expected an object of texts, not empty"),
    ("keepValues", {"kinds": ["texts"]}, "kinds: "),
    ("keepValues", {"as": "number"}, "expected `text`"),
    ("entries", {"nameKey": "value"}, "valueKey: is 'value', as is `nameKey`"),
]


@pytest.mark.parametrize(("name", "argument", "sentence"), BAD_ARGUMENTS)
def test_a_bad_argument_is_told_in_a_sentence(name: str, argument: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        TRANSFORMS[name].prepare(argument)
    assert sentence in str(raised.value)


EMAIL = "  Jane.Doe+Shop@Example.com "
GMAIL = "Jane.Doe+Shop@Gmail.com"
PHONE = "+98 (912) 000-1234"
# Computed by hand from the vendors' rules; nothing here was made by the code that it tests.
GOLDEN = [
    ("trim_lower", EMAIL, "bb55843f3da2af28071cd4be7ae1e05989dc6d3ea4833906f7d8fe4be35afad8"),
    ("google", EMAIL, "bb55843f3da2af28071cd4be7ae1e05989dc6d3ea4833906f7d8fe4be35afad8"),
    ("reddit", EMAIL, "c4d25e9c90ff23e9145397bc6fbd5385ca5fbe78211222ccbecd0b369ebb19a6"),
    ("trim_lower", GMAIL, "12122421314e3c02d8acd5467f1266e839588a1ea2e4da1c2ab81036b7cd62e5"),
    ("google", GMAIL, "3037d7b4a791c60878b60f6a2c1c3d5acef0746e4dc143c0f1ee8a3f2e94d546"),
    ("reddit", GMAIL, "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"),
]


@pytest.mark.parametrize(("rule", "email", "digest"), GOLDEN)
def test_an_email_hashes_as_the_vendor_does(rule: str, email: str, digest: str) -> None:
    assert run("toHash", "sha256", run("normaliseEmail", rule, email)) == digest


@pytest.mark.parametrize(
    ("argument", "digest"),
    [
        ({"withoutPlus": True}, "723d3c6e02d99b405c4f4770b1629b528c63e4dac775ffdab3356eef70df49e0"),
        ({}, "7599f20753261a1947ade0a0d0d7fa921aafc6cbccf6fd2ea7224e1b71b7c67b"),
    ],
)
@pytest.mark.parametrize("phone", [PHONE, "00989120001234", 989120001234, "۰۰۹۸۹۱۲۰۰۰۱۲۳۴"])
def test_a_phone_hashes_as_the_vendor_does(argument: Any, digest: str, phone: Any) -> None:
    country = {} if phone == PHONE else {"country": "IR"}
    number = run("toE164", {**argument, **country}, phone)
    assert run("toHash", "sha256", number) == digest


def test_a_name_hashes_as_the_vendor_does() -> None:
    trimmed = run("modifyString", "lowercase", run("modifyString", "trim", "  Élodie "))
    digest = "36bac2631d17463d569eaf1b869e7bf8d40e4636fd8b2b778ee93f504baf6691"
    assert run("toHash", "sha256", trimmed) == digest


def test_what_is_a_hash_already_is_not_hashed_again() -> None:
    assert run("toHash", "sha256", "AB" * 32) == "ab" * 32
    # 32 hex digits may be an id as well, and an id must not go out as it is.
    assert run("toHash", "md5", "ab" * 16) != "ab" * 16


@pytest.mark.parametrize("phone", ["12", "+1", "9" * 16, "call me", "+98 912", {"a": 1}])
def test_what_is_no_phone_number_is_null(phone: Any) -> None:
    assert run("toE164", {"country": "IR"}, phone) is None


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [
        (0.29, "USD", 29),
        (1.005, "USD", 101),
        (-1.005, "USD", -101),
        ("12.3456", "KWD", 12346),
        (1200, "jpy", 1200),
        (3, "CLF", 30000),
        (1e30, "USD", None),
        ("1,200", "USD", None),
        (12, "XXX", None),
    ],
)
def test_an_amount_becomes_minor_units(amount: Any, currency: str, units: int | None) -> None:
    assert run("toMinorUnits", {}, {"revenue": amount, "currency": currency}) == units


def test_a_currency_of_the_event_goes_before_the_one_of_the_argument() -> None:
    argument = {"currency": "JPY", "amountKey": "total"}
    assert run("toMinorUnits", argument, {"total": 5, "currency": "USD"}) == 500
    assert run("toMinorUnits", argument, {"total": 5}) == 5


def test_one_object_is_a_list_of_one() -> None:
    argument = {"fields": {"id": "product.id", "none": "product.id.deeper"}}
    assert run("mapItems", argument, {"product": {"id": 7}}) == [{"id": 7}]
    assert run("mapItems", argument, [{"product": 7}, None, 3, {}]) == []


def test_long_texts_and_lists_are_cut() -> None:
    assert len(run("modifyString", "uppercase", "a" * 100_000)) == 65_536
    assert len(run("joinValues", {"separator": "-" * 500}, ["a" * 500] * 1000)) == 65_536
    assert run("pluckValues", {"extractKey": "n"}, [{"n": n} for n in range(5000)]) == list(
        range(1000)
    )
    assert len(run("mapItems", {"fields": {"n": "n"}}, [{"n": 1}] * 5000)) == 1000


def test_hostile_sizes_take_no_time() -> None:
    hostile: list[Any] = [
        "9" * 65_536, "1e" + "9" * 60_000, " " * 65_536, "a@" * 30_000, "+" * 65_536, 10**18,
        1e308, ["x" * 65_536] * 1000, {str(n): n for n in range(10_000)}, "2026-" * 10_000,
    ]  # fmt: skip
    begun = time.perf_counter()
    for transform in TRANSFORMS.values():
        for example in transform.examples:
            function = transform.prepare(example.argument)
            for value in hostile:
                function(value)
    # 300 calls; one that grows with the square of its input would take minutes.
    assert time.perf_counter() - begun < 5
