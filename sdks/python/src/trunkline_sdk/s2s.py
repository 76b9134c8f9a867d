"""The S2S API: one thing that a user of an app did, under the slug of a defined event."""

from __future__ import annotations

import ipaddress
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from trunkline_sdk.clock import now_ms
from trunkline_sdk.encoding import (
    Moment,
    check_message_id,
    encode_event,
    read_moment,
    read_text,
)
from trunkline_sdk.entry import Entry
from trunkline_sdk.errors import InvalidEvent

BODY_BYTES_MAX = 65_536
FIELDS_MAX = 50
TEXT_BYTES_MAX = 512

R = TypeVar("R")


class S2S(Generic[R]):
    """The S2S calls of one app. Made by a client's `s2s(app_id, dev_key)`."""

    def __init__(self, route: str, accept: Callable[[Entry], R]) -> None:
        self._route = route
        self._accept = accept

    def event(
        self,
        slug: str,
        *,
        user_id: str,
        advertising_id: str | None = None,
        idfa: str | None = None,
        oaid: str | None = None,
        attributes: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        revenue: float | None = None,
        currency: str | None = None,
        order_id: str | None = None,
        device_ip: str | None = None,
        session_id: str | None = None,
        timestamp: Moment | None = None,
        message_id: str | None = None,
    ) -> R:
        """Say that something happened; exactly one of the three device ids. Raises `InvalidEvent`.

        `revenue`, `currency` and `order_id` are the reserved `_revenue`, `_currency`, `_order_id`.
        """
        now = now_ms()
        given = str(uuid.uuid4()) if message_id is None else check_message_id(message_id)
        money = {"_currency": currency, "_order_id": order_id}
        body = {
            "metrixUserId": read_text(user_id, "user_id"),
            **_device(advertising_id, idfa, oaid),
            "eventSlug": read_text(slug, "slug"),
            "eventTime": read_moment(timestamp, now, "timestamp"),
            "messageId": given,
            "customAttributes": _texts({**(attributes or {}), **_present(money)}),
            "customMetrics": _numbers({**(metrics or {}), **_present({"_revenue": revenue})}),
            **_present({"deviceIp": _address(device_ip), "metrixSessionId": session_id}),
        }
        kept = {name: value for name, value in body.items() if value != {}}
        encoded = encode_event(kept, f"the S2S event {slug}", BODY_BYTES_MAX)
        return self._accept(Entry(self._route, "", given, encoded, now))


def _present(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _device(advertising_id: str | None, idfa: str | None, oaid: str | None) -> dict[str, str]:
    ids = {"advertisingId": advertising_id, "idfa": idfa, "oaid": oaid}
    found = {name: value for name, value in ids.items() if value and value != "null"}
    if len(found) != 1:
        raise InvalidEvent(
            f"the event has {' and '.join(found) or 'no device id'}; "
            "give exactly one of advertising_id, idfa, oaid"
        )
    return found


def _texts(attributes: Mapping[str, object]) -> dict[str, object]:
    _check_names(attributes, "attributes")
    for name, value in attributes.items():
        if not isinstance(value, str) or _size(value) > TEXT_BYTES_MAX:
            raise InvalidEvent(
                f"attributes[{name!r}] is {value!r:.60}; send text of at most {TEXT_BYTES_MAX} "
                "bytes, numbers go into metrics"
            )
    return dict(attributes)


def _numbers(metrics: Mapping[str, object]) -> dict[str, object]:
    _check_names(metrics, "metrics")
    for name, value in metrics.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):  # pyright: ignore[reportArgumentType]
            raise InvalidEvent(f"metrics[{name!r}] is {value!r:.60}; send a finite number")
    return dict(metrics)


def _check_names(fields: Mapping[str, object], what: str) -> None:
    if len(fields) > FIELDS_MAX:
        raise InvalidEvent(f"{what} has {len(fields)} names; at most {FIELDS_MAX} are taken")
    long = next((name for name in fields if _size(name) > TEXT_BYTES_MAX), None)
    if long is not None:
        raise InvalidEvent(
            f"{what} has a name of {_size(long)} bytes; at most {TEXT_BYTES_MAX} are taken"
        )


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _address(address: str | None) -> str | None:
    if address is None:
        return None
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        raise InvalidEvent(f"device_ip is {address!r}; send an IPv4 or IPv6 address") from error
