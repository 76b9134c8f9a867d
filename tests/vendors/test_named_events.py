"""A refusal of a whole batch that names the bad event: the others go again, nothing is searched."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.vendors.stage import Stage
from trunkline.kit.destination import Mapped
from trunkline.model.outcome import Delivered, Rejected, Retry

BAD: dict[str, dict[str, Any]] = {
    "google-ads": {"eventSource": "MOON"},
    "linkedin": {"conversionHappenedAt": 1},
    "tiktok": {"event_time": 1},
}


@pytest.mark.parametrize("name", BAD)
def test_the_event_that_is_named_is_given_up_and_the_others_go_again_at_once(name: str) -> None:
    def spoil(number: int, event: Mapped) -> Mapped:
        if number != 2:
            return event
        return msgspec.structs.replace(event, body=msgspec.json.encode(event.value | BAD[name]))

    stage = Stage(name)
    try:
        story = stage.deliver(stage.several(5), change=spoil)
        kinds = [Retry, Retry, Rejected, Retry, Retry]
        assert [type(outcome) for outcome in story.first] == kinds, story.first
        expected = [Rejected if number == 2 else Delivered for number in range(5)]
        assert [type(outcome) for outcome in story.final] == expected
        assert len(story.attempts) == 2
        assert len(stage.vendor.simulator.taken) == 4
    finally:
        stage.close()
