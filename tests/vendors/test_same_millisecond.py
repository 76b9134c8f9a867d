"""Two things of one user in one millisecond, in requests of their own: the vendor has both."""

from __future__ import annotations

import msgspec

from tests.vendors.stage import Stage
from trunkline.model.outcome import Delivered


def test_metrix_has_every_event_of_a_millisecond_whatever_request_carries_it() -> None:
    stage = Stage("metrix-rest")
    try:
        fixture = stage.sending_fixtures[0]
        event = fixture.events[0]
        events = tuple(
            # What is known of the device differs, so no two of them share a request.
            {**event, "messageId": f"m-{n}", "context": {"ip": f"203.0.113.{n}"}}
            for n in range(4)
        )
        story = stage.deliver(msgspec.structs.replace(fixture, events=events))
        assert story.final == [Delivered(verified=False)] * 4
        vendor = stage.vendor.simulator
        assert len(stage.vendor.seen) == 4
        assert vendor.complaints == []
        times = [taken.value["time"] for taken in vendor.taken]
        assert times == [times[0] + n for n in range(4)]
    finally:
        stage.close()
