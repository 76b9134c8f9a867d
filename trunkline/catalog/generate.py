"""What Trunkline makes up where a file leaves it out: ids, slugs, secrets.

From the system's own randomness, because a secret that a seed can repeat is none.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Container

from trunkline.model.snapshot import KeyType

APP_ID_LETTERS = 15
SLUG_LETTERS = 5
SECRET_BYTES = 24  # 192 bits, 32 characters
PREFIXES: dict[KeyType, str] = {"server": "tls_", "client": "tlc_"}


def new_app_id(taken: Container[str]) -> str:
    """Return an id for an app: 15 lower-case letters, none of the taken ones."""
    return _new_word(APP_ID_LETTERS, taken)


def new_slug(taken: Container[str]) -> str:
    """Return a slug for an event: 5 lower-case letters, none of the taken ones."""
    return _new_word(SLUG_LETTERS, taken)


def new_key_secret(key_type: KeyType) -> str:
    """Return a secret for an API key. Its prefix says what leaked when somebody finds it."""
    return PREFIXES[key_type] + secrets.token_urlsafe(SECRET_BYTES)


def new_dev_key() -> str:
    """Return a dev key."""
    return secrets.token_urlsafe(SECRET_BYTES)


def _new_word(letters: int, taken: Container[str]) -> str:
    while True:
        word = "".join(secrets.choice(string.ascii_lowercase) for _ in range(letters))
        if word not in taken:
            return word
