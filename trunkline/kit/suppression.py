"""People whose events go nowhere: known by keyed digests, so that no id of theirs is stored.

The key is made of the home's own key: who has the catalog's database alone cannot try ids out. An
e-mail address counts by the SHA-256 of its normal form, so that a sender that hashes it is known,
too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from trunkline.model.snapshot import Snapshot
from trunkline.playbook.emails import normalise_email
from trunkline.playbook.hashing import sha256_hex

PersonKind = Literal["user", "anonymous", "email"]

DIGEST_BYTES = 16
PEOPLE_MAX = 100_000  # in the whole catalog: 1.6 MB of each snapshot, 12 MB of each process
PURPOSE = b"suppression"


_NOTHING = msgspec.Raw(b"null")
_EMAIL = b'"email"'  # how canonical JSON writes the key


class _Who(Struct, rename="camel"):
    """What of an event says whose it is; objects not decoded, for most hold no address."""

    user_id: Any = None
    anonymous_id: Any = None
    traits: msgspec.Raw = _NOTHING
    context: msgspec.Raw = _NOTHING
    properties: msgspec.Raw = _NOTHING


_WHO = msgspec.json.Decoder(_Who)


def normal_person(kind: PersonKind, text: str) -> str:
    """Return an id as it is compared; "" for what is none. An address becomes its SHA-256."""
    if kind == "email":
        return sha256_hex(normalise_email(text, "trim_lower")) or ""
    return text.strip()


def person_digest(key: bytes, app: str, kind: PersonKind, normal: str) -> bytes:
    """Return what stands for a person of an app, 16 bytes."""
    text = f"{app}\0{kind}\0{normal}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES, key=key).digest()


class Suppressed:
    """The suppressed people of one app."""

    def __init__(self, key: bytes, app: str, packed: bytes) -> None:
        self.packed = packed
        self._key = key
        self._app = app
        self._digests = frozenset(
            packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES)
        )
        # All destinations of the app ask about one event before the next.
        self._last: tuple[bytes, bool] = (b"", False)

    def holds(self, event: bytes) -> bool:
        """Say whether a canonical event, as JSON, is one of theirs."""
        asked, answer = self._last
        if asked is not event:
            answer = self._holds(event)
            self._last = (event, answer)
        return answer

    def _holds(self, event: bytes) -> bool:
        try:
            who = _WHO.decode(event)
        except msgspec.DecodeError:
            return False
        # Some use the address as the id.
        addresses = [who.user_id, *(_addresses(who) if _EMAIL in event else ())]
        return (
            self._is_one("user", who.user_id)
            or self._is_one("anonymous", who.anonymous_id)
            or any(self._is_one("email", address) for address in addresses)
        )

    def _is_one(self, kind: PersonKind, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        normal = normal_person(kind, value)
        return bool(normal) and person_digest(self._key, self._app, kind, normal) in self._digests


def _addresses(who: _Who) -> Iterator[Any]:
    traits = _object(who.traits), _object(_object(who.context).get("traits"))
    for holder in (*traits, _object(who.properties)):
        yield holder.get("email")


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value) if _EMAIL in bytes(value) else None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def suppressed_of(
    snapshot: Snapshot, before: Mapping[str, Suppressed] | None = None
) -> dict[str, Suppressed]:
    """Return the suppressed people of each app that has some, by the app's id.

    Those of `before`, an earlier snapshot, are taken over where they are the same people.
    """
    found: dict[str, Suppressed] = {}
    for app in snapshot.apps:
        known = (before or {}).get(app.id)
        if known is not None and known.packed == app.suppressed:
            found[app.id] = known
        elif app.suppressed:
            found[app.id] = Suppressed(snapshot.suppression_key, app.id, app.suppressed)
    return found
