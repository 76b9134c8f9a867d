"""One destination: batches, retries, splits, horizon, what the state file says of it."""

from __future__ import annotations

from pathlib import Path

from tests.support.forwarding import Rig, Sent, destination, event, run, snapshot
from trunkline.model.outcome import Delivered, Outcome, Rejected, Retry


def test_every_event_is_delivered_once_and_counted(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i % 7}") for i in range(100)])
        await rig.run_for(1)
        assert sorted(rig.delivered()) == sorted(f"m{i}" for i in range(100))
        assert rig.ledger() == {"delivered": 100}
        assert rig.saved().position == 100
        assert rig.balance() == (100, 100)
        await rig.stop()

    run(story)
