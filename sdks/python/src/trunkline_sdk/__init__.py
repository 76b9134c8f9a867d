"""Trunkline's own library for Python: events and users, queued durably and sent in the background.

client = Trunkline("tls_…", "https://events.example.com", queue_path="events.db")
client.track(user_id="u-42", event="Order Completed", properties={"total": 53.7})
"""

from trunkline_sdk.aio import AsyncBatch, AsyncTrunkline
from trunkline_sdk.calls import Calls
from trunkline_sdk.client import Batch, Trunkline
from trunkline_sdk.errors import (
    Closed,
    EventTooLarge,
    InvalidEvent,
    InvalidSetting,
    QueueFileError,
    QueueFull,
    Rejected,
    TrunklineError,
)
from trunkline_sdk.rest import Rest, UserFields, Who
from trunkline_sdk.s2s import S2S
from trunkline_sdk.sender import Limits
from trunkline_sdk.testing import TestClient

__version__ = "0.1.0"

__all__ = [
    "S2S",
    "AsyncBatch",
    "AsyncTrunkline",
    "Batch",
    "Calls",
    "Closed",
    "EventTooLarge",
    "InvalidEvent",
    "InvalidSetting",
    "Limits",
    "QueueFileError",
    "QueueFull",
    "Rejected",
    "Rest",
    "TestClient",
    "Trunkline",
    "TrunklineError",
    "UserFields",
    "Who",
]
