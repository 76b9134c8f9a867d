"""Code that a connection has of its own, as the kits do, and what its faults cost."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.support.forwarding import destination, event, run
from tests.support.shaped import Transforming, lua, rig_with, shaped
from tests.support.unjailed import Unjailed
from trunkline.state.inbox import SetState


def test_a_connection_gets_what_its_code_returned(tmp_path: Path) -> None:
    async def story() -> None:
        body = "request.url = 'v' .. #batch return request"
        config = destination(kind="transforming", settings={"body": body})
        shop = Unjailed()
        rig = rig_with(tmp_path, config, workshop=shop)
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "b"))
        await rig.run_for(0.5)
        assert Transforming.built == [{"url": "v2"}]
        assert sorted(rig.delivered()) == ["m0", "m1"]
        assert shop.opened == 1
        await rig.stop()

    run(story)


def test_code_of_a_connection_that_fails_costs_only_the_event_at_fault(tmp_path: Path) -> None:
    async def story() -> None:
        body = (
            "for _, each in ipairs(batch) do\n"
            "  if each.messageId == 'm5' then error('no such field') end\n"
            "end\nreturn request"
        )
        config = destination(kind="transforming", settings={"body": body})
        rig = rig_with(tmp_path, config, workshop=Unjailed())
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(10)])
        await rig.run_for(2)
        assert sorted(rig.delivered()) == [f"m{i}" for i in range(10) if i != 5]
        rows = rig.rows("SELECT message_id, detail, failure FROM dead_letter")
        assert [row[0] for row in rows] == ["m5"]
        assert "no such field" in rows[0][1] and msgspec.json.decode(rows[0][2])["line"] == 2
        assert rig.saved().state == "running"
        assert rig.balance() == (10, 10)
        await rig.stop()

    run(story)


def test_paused_code_of_a_connection_parks_it(tmp_path: Path) -> None:
    async def story() -> None:
        shop = Unjailed()
        shop.held = "paused"
        rig = rig_with(tmp_path, destination(kind="transforming"), workshop=shop)
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        assert (rig.saved().state, rig.saved().cause) == ("parked", "code")
        assert rig.rows("SELECT COUNT(*) FROM fate") == [(0,)], "there was no request"
        shop.held = ""
        rig.ask(SetState(1, "probe", rig.clock.now_ms()))
        await rig.run_for(3)
        assert rig.delivered() == ["m0"]
        await rig.stop()

    run(story)


def test_a_playbook_with_code_and_its_connection_share_one_worker(tmp_path: Path) -> None:
    async def story() -> None:
        shop = Unjailed()
        config = shaped(kind="transforming", playbook=lua("return {a = 1}"))
        rig = rig_with(tmp_path, config, workshop=shop)
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        assert rig.delivered() == ["m0"]
        assert (shop.opened, shop.calls) == (1, ["default"])
        await rig.stop()

    run(story)


def test_without_a_jail_a_connection_with_code_is_held_with_a_sentence(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, destination(kind="transforming"))
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        assert rig.saved().cause == "settings"
        assert "no jail" in rig.saved().reason
        await rig.stop()

    run(story)
