"""Persons as vendors want them: the golden values, and what becomes of what people really write."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.playbook.people import PERSON_FIELDS, PERSON_RULES
from trunkline.playbook.transforms import TRANSFORMS


def person(field: str, rule: str, value: Any) -> Any:
    return TRANSFORMS["normalisePerson"].prepare({"field": field, "rule": rule})(value)


def sha256(value: Any) -> Any:
    return TRANSFORMS["toHash"].prepare("sha256")(value)


# Computed by hand from the vendors' rules; nothing here was made by the code that it tests.
GOLDEN = [
    ("name", "pinterest", "  Élodie ", "élodie",
     "36bac2631d17463d569eaf1b869e7bf8d40e4636fd8b2b778ee93f504baf6691"),
    ("name", "meta", "O'Neil-Smith", "oneilsmith",
     "825e66cf3a9a1ab140083fc38941c75ce6e41b49991e839f15b071b53dad639b"),
    ("name", "snap", "O'Neil-Smith", "oneilsmith",
     "825e66cf3a9a1ab140083fc38941c75ce6e41b49991e839f15b071b53dad639b"),
    ("name", "google", "O'Neil-Smith", "o'neil-smith",
     "03a6e0bd58e6195e25e2f15f5831864e152a4e100961c438edab4e8812815bd9"),
    ("name", "google", "Mary Ann", "maryann",
     "16b3f07f0ec2f9dd127b71dc2e6c791b7d93116a1c3bc99d057eaa7a8a077e73"),
    ("name", "tiktok", "Mary Ann", "maryann",
     "16b3f07f0ec2f9dd127b71dc2e6c791b7d93116a1c3bc99d057eaa7a8a077e73"),
    ("city", "meta", "New York", "newyork",
     "350c754ba4d38897693aa077ef43072a859d23f613443133fecbbd90a3512ca5"),
    ("state", "meta", "CA", "ca",
     "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"),
    ("zip", "meta", "94025-1234", "94025",
     "b9a9cf3cd3723a2e91b7c23ecf68456e872b6e5d86e5cab7f3d45a7302da32c7"),
    ("country", "meta", "IR", "ir",
     "08c85bd37cdd0ffce8c39ecd7c7f0ff94e6f45af2aa986673b0c9f1a8a2fffea"),
    ("birthDate", "meta", "1990-05-07", "19900507",
     "0a8833d6bf16ab77b210aea3ffa27104838fe3fc51219b871f869cf4b3194049"),
    ("gender", "meta", "Female", "f",
     "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"),
    ("advertisingId", "tiktok", "38400000-8CF0-11BD-B23E-10B96E40000D",
     "38400000-8cf0-11bd-b23e-10b96e40000d",
     "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d"),
    ("externalId", "reddit", " u-42 ", "u-42",
     "16ec525b74b75626eb93ecad8acc749885fcf4e83c95b139342769a4ab1828a3"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "rule", "value", "cleaned", "digest"), GOLDEN)
def test_a_person_hashes_as_the_vendor_does(
    field: str, rule: str, value: str, cleaned: str, digest: str
) -> None:
    made = person(field, rule, value)
    assert made == cleaned
    assert sha256(made) == digest


WRITTEN = [
    ("name", "meta", "Mary-Ann  O. Smith", "maryann  o smith"),
    ("name", "meta", "نگار", "نگار"),
    ("name", "meta", "علي", "علي"),  # the Arabic letter stays; it becomes no Persian one
    ("name", "snap", "مهدی‌زاده", "مهدی‌زاده"),  # a joiner is no space
    ("name", "google", "نگار رضایی", "نگاررضایی"),
    ("name", "x", " Jane ", "jane"),
    ("name", "linkedin", " Jane ", "Jane"),
    ("name", "meta", "...", None),
    ("name", "meta", "E\u0301lodie", "\u00e9lodie"),
    ("name", "meta", 42, "42"),
    ("city", "meta", "San José 2", "sanjosé"),
    ("city", "meta", "تهران!", "تهران"),
    ("city", "snap", "Dar-es Salaam 2", "daressalaam2"),
    ("city", "pinterest", "St. Louis", "stlouis"),
    ("city", "tiktok", "São Paulo", "sãopaulo"),
    ("city", "google", " New York ", "New York"),
    ("state", "meta", "New York", "ny"),
    ("state", "pinterest", " California ", "ca"),
    ("state", "meta", "Bayern", "bayern"),
    ("state", "meta", "استان تهران", "استانتهران"),
    ("state", "tiktok", "New York", "newyork"),
    ("state", "google", " CA ", "CA"),
    ("zip", "meta", "940251234", "94025"),
    ("zip", "snap", "94025", "94025"),
    ("zip", "meta", 94025, "94025"),
    ("zip", "meta", "W1A 1HQ", "w1a1hq"),
    ("zip", "meta", "1000-001", "1000001"),
    ("zip", "meta", "12345-67890", "1234567890"),
    ("zip", "meta", "۱۲۳۴۵۶۷۸۹۰", "1234567890"),
    ("zip", "pinterest", "W1A 1HQ", "11"),
    ("zip", "google", " 94025-1234 ", "94025-1234"),
    ("country", "meta", "United States", "us"),
    ("country", "tiktok", "ایران", "ir"),
    ("country", "google", "ir", "IR"),
    ("country", "linkedin", "Germany", "DE"),
    ("country", "meta", "Atlantis", None),
    ("gender", "meta", "M", "m"),
    ("gender", "snap", "زن", "f"),
    ("gender", "meta", "مرد", "m"),
    ("gender", "meta", "non-binary", None),
    ("gender", "pinterest", "Non-Binary", "n"),
    ("gender", "meta", "unknown", None),
    ("birthDate", "meta", "1990-05-07T00:00:00.000Z", "19900507"),
    ("birthDate", "snap", "1990/5/7", "19900507"),
    ("birthDate", "pinterest", "19900507", "19900507"),
    ("birthDate", "meta", 19900507, "19900507"),
    ("birthDate", "meta", "۱۹۹۰-۰۵-۰۷", "19900507"),
    ("birthDate", "meta", "1369-02-17", None),  # of the Persian calendar
    ("birthDate", "meta", "05/07/1990", None),  # which is the month?
    ("birthDate", "meta", "1990-02-30", None),
    ("birthDate", "meta", "1990-05/07", None),
    ("birthDate", "meta", "199057", None),
    ("externalId", "tiktok", " U-42 ", "u-42"),
    ("externalId", "snap", " U-42 ", "U-42"),
    ("externalId", "meta", "null", None),
    ("externalId", "meta", "(null)", None),
    ("externalId", "meta", 42, "42"),
    ("advertisingId", "pinterest", "38400000-8CF0-11BD-B23E-10B96E40000D",
     "38400000-8cf0-11bd-b23e-10b96e40000d"),
    ("advertisingId", "appsflyer", "38400000-8CF0-11BD-B23E-10B96E40000D",
     "38400000-8CF0-11BD-B23E-10B96E40000D"),
    ("advertisingId", "microsoft", "00000000-0000-0000-0000-000000000000", None),
    ("advertisingId", "meta", "undefined", None),
]  # fmt: skip


@pytest.mark.parametrize(("field", "rule", "value", "made"), WRITTEN)
def test_what_people_write_becomes_what_the_vendor_wants(
    field: str, rule: str, value: Any, made: str | None
) -> None:
    assert person(field, rule, value) == made


@pytest.mark.parametrize("field", PERSON_FIELDS)
@pytest.mark.parametrize("rule", PERSON_RULES)
def test_what_is_a_hash_already_stays_in_lower_case(field: str, rule: str) -> None:
    assert person(field, rule, " " + "AB" * 32 + "\n") == "ab" * 32


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("toE164", {}),
        ("toE164", {"country": "IR"}),
        ("toE164", {"country": "IR", "withoutPlus": True}),
        ("normaliseEmail", "trim_lower"),
        ("normaliseEmail", "google"),
        ("normaliseEmail", "reddit"),
        ("toHash", "sha256"),
    ],
)
def test_a_hash_passes_every_transform_on_its_way(name: str, argument: Any) -> None:
    run = TRANSFORMS[name].prepare(argument)
    assert run("AB" * 32) == "ab" * 32
    assert sha256(run("9" * 64)) == "9" * 64  # sixty-four digits are a hash, and no number
    assert run("AB" * 31) != "ab" * 31


@pytest.mark.parametrize(
    "phone", ["0912 000 1234", "٠٩١٢٠٠٠١٢٣٤", "۰۹۱۲ ۰۰۰ ۱۲۳۴", "0098-9120001234"]
)
def test_a_phone_of_iran_is_one_number_however_it_is_written(phone: str) -> None:
    run = TRANSFORMS["toE164"].prepare({"country": "IR", "withoutPlus": True})
    assert sha256(run(phone)) == "723d3c6e02d99b405c4f4770b1629b528c63e4dac775ffdab3356eef70df49e0"


@given(
    st.sampled_from(list(PERSON_FIELDS)),
    st.sampled_from(PERSON_RULES),
    st.text() | st.text("abcXYZ 0123456789-'.،۱۲علی\u0301\u200c", max_size=12),
)
def test_what_is_normal_stays_normal_and_nothing_is_empty(
    field: str, rule: str, value: str
) -> None:
    made = person(field, rule, value)
    assert made is None or made.strip() == made != ""
    if made is not None:
        assert sha256(made) != hashlib.sha256(b"").hexdigest()
        assert person(field, rule, made) in (made, made.lower())
