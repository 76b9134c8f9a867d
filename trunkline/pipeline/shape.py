"""An accepted event in its canonical form, as the bytes of its record in EVENTS.

Pure in record and catalog: the same record gives the same bytes when it is read again. But for a
push that names no device: it goes to the newest that the profile knows then.
"""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.kit.consent import stated_consent
from trunkline.kit.eventlog import Fetched, Record
from trunkline.kit.protocol import Protocol
from trunkline.model.event import Event, encode_event
from trunkline.model.record import (
    AcceptedEvent,
    Routing,
    StoredEvent,
    encode_record,
    partition_key,
)
from trunkline.model.snapshot import App, fold_name
from trunkline.reports.push_tokens import PushTokens

NOTE_NOT_IN_PLAN = "not in the tracking plan"


def shape(
    fetched: Fetched,
    record: AcceptedEvent,
    protocols: Mapping[str, Protocol],
    app: App | None,
    tokens: PushTokens,
) -> Record:
    """Return the record for EVENTS. Raises whatever a defect raises, or for a protocol unknown."""
    protocol = protocols.get(record.protocol)
    if protocol is None:
        raise LookupError(f"no protocol {record.protocol!r} in this version")
    shaped = protocol.normalise(record, app)
    event = shaped.event
    if record.historical:
        event.historical = True
    notes = record.notes + shaped.notes
    if shaped.wants_push_token:
        notes += (_address(event, tokens),)
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
        record.historical,
        _routing(event),
        encode_event(event, shaped.extra),
        record.body,
        notes,
        is_client=record.is_client,
    )
    key = partition_key(record.app, record.user)
    return Record(key, encode_record(stored), fetched.record.stamp)


def _address(event: Event, tokens: PushTokens) -> str:
    """Put the device of its user into a push; return a line for its trace."""
    found = tokens.find(event.app, event.user_id or "")
    if found is not None:
        event.context = {"device": {"token": found.token, "type": found.platform}}
        return "the device token is the newest of the user's profile"
    if tokens.fault:
        return f"no device token: the profiles could not be read ({tokens.fault})"
    return "no device token: the user's profile knows none"


def _is_in_plan(event: Event, app: App | None) -> bool:
    if app is None or app.unknown_events != "flag" or event.type != "track":
        return True
    return fold_name(event.event or "") in app.events_by_name


def _routing(event: Event) -> Routing | None:
    consent = stated_consent(event.context)
    if not event.integrations and not consent:
        return None
    return Routing(event.integrations or {}, consent)
