"""What the pipeline lets go of, and when."""

from __future__ import annotations

from pathlib import Path

from tests.support.pipeline_world import World, event
from trunkline.model.record import ACCEPTED, EVENTS

GROUP = "pipeline"


def test_both_topics_are_held_until_books_and_index_were_synced_past_them(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pipeline.recover()
    assert world.log.committed(EVENTS, GROUP) == {0: 0}, "from the first start on"
    world.accept(*[event(f"m{i}") for i in range(30)])
    world.drain()
    assert world.log.committed(EVENTS, GROUP) == {0: 0}
    assert world.pipeline.sync()
    assert world.log.committed(EVENTS, GROUP) == {0: 30}
    assert world.log.committed(ACCEPTED, GROUP) == {0: 30}
    world.accept(event("new"))
    world.restart()
    world.drain()
    assert world.log.committed(EVENTS, GROUP) == {0: 30}, "a restart takes nothing back"
    world.close()
