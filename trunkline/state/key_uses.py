"""When each key was used last, and which Server keys a browser sent: a small file a gateway.

Each gateway process writes its own file whole, so that they need no lock; who reads adds them up.
Nothing is promised by these files: one that is damaged counts for nothing, and a power loss may
take back the last minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

BYTES_MAX = 16 * 1024 * 1024  # some 100,000 keys; a larger file is none of ours
DIGEST_BYTES = 16  # enough to know a secret again by


class KeyUse(Struct):
    """What is known of one secret. Times are Unix milliseconds, 0 for never.

    `last_ms` is the minute in which it was used last. `leaks` counts the requests in which a
    browser sent it though it is a Server key's; `leaked_from` is the origin of the last of them.
    """

    last_ms: int = 0
    leaks: int = 0
    leaked_ms: int = 0
    leaked_from: str = ""


class _File(Struct):
    uses: dict[str, KeyUse] = {}


_DECODER = msgspec.json.Decoder(_File)


def use_id(app: str, digest: bytes) -> str:
    """Return what a secret of an app is known by in these files: not the secret."""
    return f"{app}/{digest[:DIGEST_BYTES].hex()}"


def read_uses(file: Path) -> dict[str, KeyUse]:
    """Return what a file holds, by `use_id`; nothing of one that is not there or is damaged."""
    try:
        if file.stat().st_size > BYTES_MAX:
            return {}
        return _DECODER.decode(file.read_bytes()).uses
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def read_all_uses(folder: Path) -> dict[str, KeyUse]:
    """Return what all gateways of a home saw, added up."""
    return add_uses(read_uses(file) for file in sorted(folder.glob("*.json")))


def add_uses(each: Iterable[Mapping[str, KeyUse]]) -> dict[str, KeyUse]:
    """Return the last use and the sum of the leaks."""
    total: dict[str, KeyUse] = {}
    for uses in each:
        for name, use in uses.items():
            known = total.get(name)
            total[name] = use if known is None else _add(known, use)
    return total


def _add(one: KeyUse, other: KeyUse) -> KeyUse:
    later = other if other.leaked_ms > one.leaked_ms else one
    return KeyUse(
        last_ms=max(one.last_ms, other.last_ms),
        leaks=one.leaks + other.leaks,
        leaked_ms=later.leaked_ms,
        leaked_from=later.leaked_from,
    )


def write_uses(file: Path, uses: dict[str, KeyUse]) -> None:
    """Write a file whole, so that nobody reads half of it. Raises `OSError`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.with_suffix(".new")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.encode(_File(uses)))
    written.replace(file)
