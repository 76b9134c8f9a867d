"""The transform for what is known of a person."""

from __future__ import annotations

from typing import Any

from trunkline.playbook.arguments import choice, fields
from trunkline.playbook.countries import country_table
from trunkline.playbook.people import PERSON_FIELDS, PERSON_RULES, normalise_person, person_rule
from trunkline.playbook.transform import Function, Transform, example


def _prepare_person(argument: Any) -> Function:
    given = fields(argument, ("field", "rule"), ("field", "rule"))
    named = {"field": tuple(PERSON_FIELDS), "rule": PERSON_RULES}
    for key, known in named.items():
        try:
            choice(given[key], known)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    if given["field"] == "country":
        country_table()  # reads a file: now, not at the first event
    rule = person_rule(given["field"], given["rule"])
    return lambda value: normalise_person(value, rule)


def _of(field: str, rule: str) -> dict[str, str]:
    return {"field": field, "rule": rule}


PEOPLE_TRANSFORMS = (
    Transform(
        "normalisePerson",
        "Write what is known of a person as a vendor wants it, before it is hashed where it is to "
        "be. A SHA-256 stays.",
        "`{field, rule}`: "
        + ", ".join(f"`{field}`" for field in PERSON_FIELDS)
        + "; the vendor: "
        + ", ".join(f"`{rule}`" for rule in PERSON_RULES),
        _prepare_person,
        (
            example(_of("name", "meta"), " O'Neil-Smith ", "oneilsmith"),
            example(_of("name", "google"), "Mary Ann", "maryann"),
            example(_of("name", "pinterest"), "نگار رضایی", "نگار رضایی"),
            example(_of("city", "meta"), "New York", "newyork"),
            example(_of("city", "tiktok"), "St. Gallen 2", "stgallen2"),
            example(_of("city", "google"), " New York ", "New York"),
            example(_of("state", "snap"), "California", "ca"),
            example(_of("zip", "meta"), "94025-1234", "94025"),
            example(_of("zip", "tiktok"), "W1A 1HQ", "w1a1hq"),
            example(_of("zip", "pinterest"), "۱۲۳۴۵-۶۷۸۹۰", "1234567890"),
            example(_of("country", "meta"), "Iran", "ir"),
            example(_of("country", "google"), "irn", "IR"),
            example(_of("gender", "meta"), "Female", "f"),
            example(_of("gender", "pinterest"), "non-binary", "n"),
            example(_of("birthDate", "meta"), "1990-05-07", "19900507"),
            example(_of("externalId", "tiktok"), " U-42 ", "u-42"),
            example(_of("externalId", "meta"), "undefined", None),
            example(
                _of("advertisingId", "meta"),
                "38400000-8CF0-11BD-B23E-10B96E40000D",
                "38400000-8cf0-11bd-b23e-10b96e40000d",
            ),
            example(_of("advertisingId", "x"), "00000000-0000-0000-0000-000000000000", None),
        ),
    ),
)
