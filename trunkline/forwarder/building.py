"""From what the catalog says of a destination to what carries its events."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from trunkline.forwarder.carrier import Carrier, ChannelCarrier, HttpCarrier
from trunkline.forwarder.pace import Pace
from trunkline.forwarder.shared import Shared
from trunkline.forwarder.threads import Worker
from trunkline.kit.destination import Channel, Destination
from trunkline.model.snapshot import Destination as Configured


def make_carrier(config: Configured, shared: Shared, worker: Worker, pace: Pace) -> Carrier:
    """Make the component of a destination, ready to carry at its pace.

    Raises `ValueError` or `msgspec.DecodeError` where the kind is unknown or the settings are none.
    """
    kind = shared.kinds.get(config.kind)
    if kind is None:
        known = ", ".join(sorted(shared.kinds)) or "none"
        raise ValueError(f"kind {config.kind!r} is not known; expected one of {known}")
    settings = msgspec.json.decode(config.settings, type=kind.settings_type)
    component: Destination[Any] | Channel[Any] = kind(settings)
    allow = shared.settings.allow_private_addresses or settings.allow_private_addresses
    if isinstance(component, Channel):
        return ChannelCarrier(component, worker, shared.clock, allow)
    return HttpCarrier(component, shared.sender, shared.clock, allow, pace)


def digest_of(config: Configured) -> bytes:
    """Return what tells one version of a destination's settings and playbook from another."""
    made_of = config.kind.encode() + b"\0" + config.settings
    if config.playbook:
        made_of += b"\0" + config.playbook
    return hashlib.sha256(made_of).digest()
