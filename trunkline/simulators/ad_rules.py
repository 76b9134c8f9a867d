"""What ad platforms ask of an event: moments, hashes, amounts. Judged, not mended.

A `Finding` is fatal where the vendor refuses the event for it, else the vendor takes the event and
loses something without a word. Hashes cannot be read back, so the people that tests and demos are
about are known here in the forms vendors want and in those they do not: the SHA-256 of a phone with
`+` is told from the one without.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast

from msgspec import Struct

from trunkline.simulators import checks
from trunkline.simulators.simulator import Simulator

DAY = 86_400
SHA256 = re.compile(r"[0-9a-f]{64}")
UNIT_MILLIS = {"seconds": 1000.0, "millis": 1.0, "micros": 0.001}
PHONES = ("989120001234", "989121234567", "14155550100", "12025550123")
EMAILS = ("jane.doe+shop@example.com", "Jane.Doe+Shop@Gmail.com", "jane.doe+shop@gmail.com")

EmailForm = Literal["trim_lower", "google", "reddit"]
PhoneForm = Literal["digits", "e164"]


class Finding(Struct, frozen=True):
    """What is wrong, at which dotted path. Not fatal: taken, and something of it is lost."""

    rule: str
    where: str
    message: str
    fatal: bool = True


def is_fatal(findings: Iterable[Finding]) -> bool:
    """Tell whether the vendor refuses an event of which all this was found."""
    return any(finding.fatal for finding in findings)


def complain(simulator: Simulator, findings: Iterable[Finding]) -> None:
    """Note every finding."""
    for found in findings:
        simulator.complain(found.rule, found.where, found.message)


def values_of(value: Any) -> list[Any]:
    """Return a list as it is, nothing as an empty one, else a list of the value."""
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def missing(event: Any, paths: Iterable[str], where: str = "") -> Iterator[Finding]:
    """Find what is not there, or is empty."""
    for path in paths:
        if checks.at(event, path) in (None, "", [], {}):
            yield Finding("missing", where + path, "is required")


def not_one_of(value: Any, allowed: Iterable[Any], where: str, rule: str) -> Iterator[Finding]:
    """Find a value that is none of the allowed ones."""
    if value not in set(allowed):
        yield Finding(rule, where, f"{value!r} is none of those the vendor has")


def moment(
    value: Any, unit: str, now_ms: int, past_seconds: float, ahead_seconds: float, where: str
) -> Iterator[Finding]:
    """Find a time that is no whole number of its unit, too old, or ahead of the clock."""
    if not isinstance(value, int) or isinstance(value, bool):
        yield Finding("time_missing", where, f"{value!r} is no whole number of {unit}")
        return
    age = now_ms / 1000 - value * UNIT_MILLIS[unit] / 1000
    if abs(age) > 50 * 365 * DAY:
        yield Finding("time_unit", where, f"{value} are no {unit} since 1970 of these years")
    else:
        yield from aged(age, past_seconds, ahead_seconds, where)


def rfc3339(
    value: Any, now_ms: int, past_seconds: float, ahead_seconds: float, where: str
) -> Iterator[Finding]:
    """Find a text that is no RFC 3339 time with a zone, is too old, or ahead of the clock."""
    try:
        at_time = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        yield Finding("time_missing", where, f"{value!r} is no time as RFC 3339 has it")
        return
    if at_time.tzinfo is None:
        yield Finding("time_zone", where, f"{value!r} has no zone")
        return
    yield from aged(now_ms / 1000 - at_time.timestamp(), past_seconds, ahead_seconds, where)


def aged(age: float, past_seconds: float, ahead_seconds: float, where: str) -> Iterator[Finding]:
    """Find an age in seconds beyond what is accepted."""
    if age > past_seconds:
        yield Finding("too_old", where, f"{age:.0f} s old; at most {past_seconds:.0f} are taken")
    if -age > ahead_seconds:
        yield Finding("in_the_future", where, f"{-age:.0f} s ahead of the vendor's clock")


def not_hashed(user: Mapping[str, Any], names: Iterable[str], where: str) -> Iterator[Finding]:
    """Find what must be a SHA-256 in lower-case hex and is not, or is the one of nothing."""
    for name in names:
        for value in values_of(user.get(name)):
            if not isinstance(value, str) or not SHA256.fullmatch(value):
                message = "must be SHA-256 in lower-case hex"
                yield Finding("not_hashed", f"{where}.{name}", message, fatal=False)
            elif value == sha256(""):
                yield Finding("hash_of_nothing", f"{where}.{name}", "hash of an empty text", False)


def hashed(user: Mapping[str, Any], names: Iterable[str], where: str) -> Iterator[Finding]:
    """Find what must go as it is and was hashed."""
    for name in names:
        if any(isinstance(v, str) and SHA256.fullmatch(v) for v in values_of(user.get(name))):
            yield Finding("hashed", f"{where}.{name}", "must not be hashed", fatal=False)


def amount(value: Any, where: str, *, text: bool = False, least: float = 0.0) -> Iterator[Finding]:
    """Find an amount that is no number (or, where the vendor wants that, no text of one)."""
    if value is None:
        return
    if not (checks.is_number_text(value) if text else checks.is_number(value)):
        yield Finding("amount", where, f"{value!r} is no {'text of a ' if text else ''}number")
    elif float(value) < least:
        yield Finding("negative", where, f"{value} is below {least:g}")


def currency(value: Any, where: str) -> Iterator[Finding]:
    """Find what is no ISO 4217 code; nothing is none either."""
    if not checks.is_currency(value):
        yield Finding("currency", where, f"{value!r} is no ISO 4217 code")


def wrong_emails(hashes: Any, form: EmailForm, where: str) -> Iterator[Finding]:
    """Find hashes of known addresses in a form that is not this vendor's."""
    right = {sha256(email_forms(email)[form]) for email in EMAILS}
    wrong = {sha256(text) for email in EMAILS for text in email_forms(email).values()} - right
    if wrong & {str(value) for value in values_of(hashes)}:
        yield Finding("email_form", where, f"not written as {form} before it was hashed", False)


def wrong_phones(hashes: Any, form: PhoneForm, where: str) -> Iterator[Finding]:
    """Find hashes of known phone numbers in a form that is not this vendor's."""
    forms = {"digits": "{}", "e164": "+{}"}
    local = [f"0{phone[2:]}" for phone in PHONES]
    wrong = {sha256(text) for text in local} | {sha256(f"00{phone}") for phone in PHONES}
    other = forms["digits" if form == "e164" else "e164"]
    wrong |= {sha256(other.format(phone)) for phone in PHONES}
    if wrong & {str(value) for value in values_of(hashes)}:
        yield Finding("phone_form", where, f"not written as {form} before it was hashed", False)


def email_forms(email: str) -> dict[str, str]:
    """Return an address as it stands and in every form that a vendor asks for."""
    local, _, domain = email.lower().partition("@")
    dots_out = local.replace(".", "")
    return {
        "as it stands": email,
        "trim_lower": f"{local}@{domain}",
        "google": f"{dots_out if domain == 'gmail.com' else local}@{domain}",
        "reddit": f"{dots_out.partition('+')[0]}@{domain}",
    }


def sha256(text: str) -> str:
    """Return the lower-case hex SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def has_any(user: Mapping[str, Any], groups: Sequence[Sequence[str]]) -> bool:
    """Tell whether all names of at least one group are there."""
    return any(all(user.get(name) for name in group) for group in groups)
