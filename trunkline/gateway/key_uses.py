"""Which keys are used, and which Server keys a browser sent: remembered here, written now and then.

A request adds an entry to a dictionary, and only where the minute is a new one for its key; a file
is written every few seconds at most, by a thread, and only where something changed. There is one
entry a secret of the catalog, whatever anybody sends: a hostile page that knows a Server key can
count its leaks up, and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from trunkline.kit.clock import Clock
from trunkline.kit.protocol import Decoded, Presented
from trunkline.model.snapshot import Snapshot
from trunkline.state.key_uses import KeyUse, read_uses, use_id, write_uses
from trunkline.telemetry import gateway as telemetry

WRITE_SECONDS = 5.0
ORIGIN_CHARS_MAX = 200

_MINUTE_MS = 60_000


class KeyUses:
    """What this process saw of keys, and the file that keeps it; without a file only in memory.

    Belongs to one event loop.
    """

    def __init__(self, file: Path | None, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._uses = {} if file is None else read_uses(file)
        self._minutes: dict[Presented, int] = {}
        self._is_dirty = False
        self._next_write = clock.monotonic()
        self._writing: asyncio.Task[None] | None = None
        self._failures = 0

    @property
    def uses(self) -> Mapping[str, KeyUse]:
        """What is known, by `use_id`."""
        return self._uses

    @property
    def writing(self) -> asyncio.Task[None] | None:
        """What writes the file just now."""
        return self._writing

    def note(self, decoded: Decoded, headers: Mapping[str, str]) -> None:
        """Remember the keys of a request."""
        minute = self._clock.now_ms() // _MINUTE_MS
        for presented in decoded.used:
            if self._minutes.get(presented) != minute:
                self._minutes[presented] = minute
                self._use_of(presented).last_ms = minute * _MINUTE_MS
        for presented in decoded.leaked:
            use = self._use_of(presented)
            use.leaks += 1
            use.leaked_ms = self._clock.now_ms()
            use.leaked_from = _tell_origin(headers)

    def write_soon(self, snapshot: Snapshot | None) -> None:
        """Begin to write where something changed and the last time is long enough ago."""
        if self._is_dirty and self._writing is None and self._clock.monotonic() >= self._next_write:
            self._writing = asyncio.create_task(self._write(snapshot))

    async def close(self, snapshot: Snapshot | None) -> None:
        """Write what is not written yet."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        if self._is_dirty:
            await self._write(snapshot)

    def _use_of(self, presented: Presented) -> KeyUse:
        self._is_dirty = True
        return self._uses.setdefault(use_id(*presented), KeyUse())

    async def _write(self, snapshot: Snapshot | None) -> None:
        self._next_write = self._clock.monotonic() + WRITE_SECONDS
        self._is_dirty = False
        if snapshot is not None:
            self._forget_others(snapshot)
        try:
            if self._file is not None:
                uses = {name: _copy(use) for name, use in self._uses.items()}
                await asyncio.to_thread(partial(write_uses, self._file, uses))
            self._failures = 0
        except OSError as error:
            self._is_dirty = True
            self._failures += 1
            telemetry.key_uses_unwritten(error, is_first=self._failures == 1)
        finally:
            self._writing = None

    def _forget_others(self, snapshot: Snapshot) -> None:
        """Keep what is known of the secrets that there are."""
        there = {use_id(app.id, s.digest) for app in snapshot.apps for s in app.s2s.dev_keys}
        there |= {use_id(app.id, d) for d, (app, _, _) in snapshot.keys_by_digest.items()}
        self._uses = {name: use for name, use in self._uses.items() if name in there}
        if len(self._minutes) > len(there):
            self._minutes.clear()


def _copy(use: KeyUse) -> KeyUse:
    return KeyUse(use.last_ms, use.leaks, use.leaked_ms, use.leaked_from)


def _tell_origin(headers: Mapping[str, str]) -> str:
    """Return the origin that a browser named, as something to print on a terminal; "" for none."""
    origin = headers.get("origin", "")[:ORIGIN_CHARS_MAX]
    return "".join(ch if "!" <= ch <= "~" else "?" for ch in origin)
