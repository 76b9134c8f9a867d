"""An accepted event in its canonical form, as the bytes of its record in EVENTS.

Pure in record and catalog: the same record gives the same bytes when it is read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from trunkline.kit.eventlog import Fetched, Record
from trunkline.kit.protocol import Protocol
from trunkline.model.event import Event, JsonObject, encode_event
from trunkline.model.record import (
    AcceptedEvent,
    Routing,
    StoredEvent,
    encode_record,
    partition_key,
)
from trunkline.model.snapshot import App, fold_name

NOTE_NOT_IN_PLAN = "not in the tracking plan"


def shape(
    fetched: Fetched, record: AcceptedEvent, protocols: Mapping[str, Protocol], app: App | None
) -> Record:
    """Return the record for EVENTS. Raises whatever a defect raises, or for a protocol unknown."""
    protocol = protocols.get(record.protocol)
    if protocol is None:
        raise LookupError(f"no protocol {record.protocol!r} in this version")
    shaped = protocol.normalise(record, app)
    event = shaped.event
    notes = record.notes + shaped.notes
    if not _is_in_plan(event, app) and NOTE_NOT_IN_PLAN not in notes:
        notes += (NOTE_NOT_IN_PLAN,)
    stored = StoredEvent(
        fetched.partition,
        fetched.offset,
        record.app,
        record.message_id,
        record.user,
        event.type,
        event.event or event.name or "",
        record.snapshot,
        record.received_ms,
        record.protocol,
        record.key,
        record.address,
        record.request_id,
        False,
        _routing(event),
        encode_event(event, shaped.extra),
        record.body,
        notes,
    )
    key = partition_key(record.app, record.user)
    return Record(key, encode_record(stored), fetched.record.stamp)


def _is_in_plan(event: Event, app: App | None) -> bool:
    if app is None or app.unknown_events != "flag" or event.type != "track":
        return True
    return fold_name(event.event or "") in app.events_by_name


def _routing(event: Event) -> Routing | None:
    found: object = event.context.get("consent") if event.context else None
    consent = cast("JsonObject", found) if isinstance(found, dict) else {}
    if not event.integrations and not consent:
        return None
    return Routing(event.integrations or {}, consent)
