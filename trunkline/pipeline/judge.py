"""What becomes of each record of a step: refused, a duplicate, accepted, or accepted before.

An id is a duplicate when the index holds it with *another* origin and was received within the
app's window. With the same origin the event is in EVENTS already, and only its count was lost in a
crash. Nothing here touches a disk: a step that fails leaves nothing behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from trunkline.kit.eventlog import Fetched, Record
from trunkline.kit.protocol import Protocol
from trunkline.model.record import (
    Accepted,
    AcceptedEvent,
    AcceptedRefusal,
    decode_accepted,
    read_given_id,
)
from trunkline.model.snapshot import App, Snapshot
from trunkline.pipeline.shape import shape
from trunkline.reports.push_tokens import PushTokens
from trunkline.state.ids import DAY_MS, IdEntry, given_key, id_key

UNPROCESSABLE = "unprocessable"
DEDUPE_DAYS = 7.0  # of an app that was removed
MINUTE_MS = 60_000
_ERROR_CHARS_MAX = 300

LedgerKey = tuple[str, int, int, str, str]  # app, minute, snapshot, kind, reason
Found = Mapping[bytes, Sequence[IdEntry]]


class Defect(msgspec.Struct, frozen=True):
    """A record that could not be taken through, and why."""

    app: str
    protocol: str
    partition: int
    offset: int
    error: str


class Verdicts:
    """What a step comes to, gathered before anything is written.

    `outputs` go to EVENTS, in this order; `ids` are their keys, each with its origin and receipt.
    `given` are the keys of what senders called them, each with its place in `outputs`.
    """

    def __init__(self) -> None:
        self.ledger: defaultdict[LedgerKey, int] = defaultdict(int)
        self.outputs: list[Record] = []
        self.ids: list[tuple[bytes, int, int, int]] = []
        self.given: list[tuple[bytes, int]] = []
        self.refused: list[AcceptedRefusal] = []
        self.twins: list[tuple[AcceptedEvent, int, int]] = []
        self.defects: list[Defect] = []
        self.last_received_ms = 0

    def entries_at(self, offsets: Sequence[int]) -> list[tuple[bytes, IdEntry]]:
        """Return the ids with the offsets that EVENTS gave their records."""
        entries = [
            (key, IdEntry(partition, origin, 0, offset, received_ms))
            for (key, partition, origin, received_ms), offset in zip(self.ids, offsets, strict=True)
        ]
        return entries + [(key, entries[place][1]) for key, place in self.given]


def decode(batch: Sequence[Fetched]) -> list[Accepted | str]:
    """Return the records of a batch, and for bytes that are none what is wrong with them."""
    decoded: list[Accepted | str] = []
    for fetched in batch:
        try:
            decoded.append(decode_accepted(fetched.record.value))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            decoded.append(f"not a record of ACCEPTED: {error}")
    return decoded


def keys_of(records: Sequence[Accepted | str]) -> list[bytes]:
    """Return the index keys of the events among the records, in order."""
    return [id_key(r.app, r.message_id) for r in records if isinstance(r, AcceptedEvent)]


class Judge:
    """Judges the records of one step, in order."""

    def __init__(
        self,
        protocols: Mapping[str, Protocol],
        snapshot: Snapshot,
        found: Found,
        now_ms: int,
        tokens: PushTokens,
    ) -> None:
        self.verdicts = Verdicts()
        self._tokens = tokens
        self._protocols = protocols
        self._apps = snapshot.apps_by_id
        self._found = found
        self._now_ms = now_ms
        self._earlier: dict[bytes, int] = {}  # ids this step put out → when received, in ms

    def judge_all(
        self, batch: Sequence[Fetched], records: Sequence[Accepted | str], keys: Sequence[bytes]
    ) -> Verdicts:
        """Return what the batch comes to; `keys` are those of its events."""
        next_key = iter(keys)
        for fetched, record in zip(batch, records, strict=True):
            if isinstance(record, AcceptedEvent):
                self._judge_event(fetched, record, next(next_key))
            elif isinstance(record, AcceptedRefusal):
                self._refuse(record)
            else:
                app = fetched.record.key.partition(b"\0")[0].decode("utf-8", "replace")
                self._give_up(fetched, app, None, record)
        self._count_received()
        return self.verdicts

    def _judge_event(self, fetched: Fetched, record: AcceptedEvent, key: bytes) -> None:
        app = self._apps.get(record.app)
        known = self._found.get(key, ())
        if known and any(entry[:2] == fetched[:2] for entry in known):
            self._count(record, "accepted")
        elif self._is_duplicate(record, app, known, key):
            self.verdicts.twins.append((record, fetched.partition, fetched.offset))
            self._count(record, "duplicate")
        else:
            self._accept(fetched, record, app, key)

    def _is_duplicate(
        self, record: AcceptedEvent, app: App | None, known: Sequence[IdEntry], key: bytes
    ) -> bool:
        earlier = self._earlier.get(key)
        if not known and earlier is None:
            return False
        window_ms = (app.dedupe_days if app else DEDUPE_DAYS) * DAY_MS
        times = [entry.received_ms for entry in known]
        if earlier is not None:
            times.append(earlier)
        return any(abs(record.received_ms - at_ms) < window_ms for at_ms in times)

    def _accept(self, fetched: Fetched, record: AcceptedEvent, app: App | None, key: bytes) -> None:
        try:
            output = shape(fetched, record, self._protocols, app, self._tokens)
        except MemoryError:
            raise  # says nothing of the event
        except Exception as error:
            # Any defect of ours in shaping an event, or a protocol that was removed. The partition
            # must not stand still for it, and the event must not be lost: it is kept as refused.
            self._give_up(fetched, record.app, record, f"{type(error).__name__}: {error}")
            return
        self._earlier[key] = record.received_ms
        if record.notes and (given := read_given_id(record.notes)):
            self.verdicts.given.append((given_key(record.app, given), len(self.verdicts.outputs)))
        self.verdicts.outputs.append(output)
        self.verdicts.ids.append((key, fetched.partition, fetched.offset, record.received_ms))
        self._count(record, "accepted")

    def _count_received(self) -> None:
        """Each record was counted once, as what it came to: so what was received is their sum."""
        ledger = self.verdicts.ledger
        for (app, minute, snapshot, _, _), count in list(ledger.items()):
            ledger[app, minute, snapshot, "received", ""] += count

    def _count(self, record: AcceptedEvent, kind: str) -> None:
        minute = record.received_ms // MINUTE_MS
        self.verdicts.ledger[record.app, minute, record.snapshot, kind, ""] += 1
        self.verdicts.last_received_ms = record.received_ms

    def _refuse(self, refusal: AcceptedRefusal) -> None:
        minute = refusal.received_ms // MINUTE_MS
        key = (refusal.app, minute, refusal.snapshot, "refused", refusal.code)
        self.verdicts.ledger[key] += refusal.count
        self.verdicts.refused.append(refusal)
        self.verdicts.last_received_ms = refusal.received_ms

    def _give_up(
        self, fetched: Fetched, app: str, record: AcceptedEvent | None, error: str
    ) -> None:
        protocol = record.protocol if record else ""
        self.verdicts.defects.append(
            Defect(app, protocol, fetched.partition, fetched.offset, error)
        )
        self._refuse(
            AcceptedRefusal(
                app=app,
                protocol=protocol,
                key=record.key if record else "",
                snapshot=record.snapshot if record else 0,
                received_ms=record.received_ms if record else self._now_ms,
                address=record.address if record else "",
                request_id=record.request_id if record else "",
                code=UNPROCESSABLE,
                message=error[:_ERROR_CHARS_MAX],
                message_id=record.message_id if record else "",
                body=record.body if record else fetched.record.value,
                origin=record,
            )
        )
