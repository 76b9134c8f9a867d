"""What a call may raise, and what a node may refuse later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class TrunklineError(Exception):
    """Any error of this library. The message says what is wrong and what to do."""


class InvalidSetting(TrunklineError, ValueError):
    """The client was made with a setting that cannot work."""


class InvalidEvent(TrunklineError, ValueError):
    """The call describes an event that a node would refuse; nothing was queued."""


class EventTooLarge(InvalidEvent):
    """The event is larger than a node takes; nothing was queued."""


class QueueFull(TrunklineError):
    """The queue holds as much as it may; the event was not queued."""


class QueueFileError(TrunklineError):
    """The queue's file cannot be opened, read or written; the event was not queued."""


class Closed(TrunklineError):
    """The client was closed before the call; the event was not queued."""


@dataclass(frozen=True)
class Rejected:
    """An event that was queued and will never be stored, with the reason.

    `code` is the node's own (`missing_event_name`, `unknown_key` …), or one of ours: `expired` (no
    node took it in time), `not_sent` (in memory when the client closed), `queue_full` (where
    `when_full="reject"`). `event` is what the call described.
    """

    message_id: str
    code: str
    message: str
    event: Mapping[str, object]
