"""E-mail addresses as each vendor wants them before it hashes them.

All trim and lower-case. Google drops the dots of the local part, of its own domains alone; Reddit
drops them for every domain, and the `+tag` with them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from trunkline.playbook.hashing import sha256_in

_EMAIL_MAX = 320  # characters
_GOOGLE_DOMAINS = ("gmail.com", "googlemail.com")


def _keep(local: str, domain: str) -> str:
    return f"{local}@{domain}"


def _google(local: str, domain: str) -> str:
    return f"{local.replace('.', '') if domain in _GOOGLE_DOMAINS else local}@{domain}"


def _reddit(local: str, domain: str) -> str:
    return f"{local.partition('+')[0].replace('.', '')}@{domain}"


EMAIL_RULES: Mapping[str, Callable[[str, str], str]] = {
    "trim_lower": _keep,
    "google": _google,
    "reddit": _reddit,
}


def normalise_email(value: Any, rule: str) -> str | None:
    """Return an address by one of `EMAIL_RULES`; None for what is no address.

    The SHA-256 of one stays, in lower case.
    """
    if not isinstance(value, str) or len(value) > _EMAIL_MAX:
        return None
    normal = value if value.isascii() else unicodedata.normalize("NFC", value)
    email = normal.strip().lower()
    if "@" not in email:
        return sha256_in(email)
    local, _, domain = email.rpartition("@")
    if not local or not domain or len(email.split()) > 1:
        return None
    return EMAIL_RULES[rule](local, domain)
