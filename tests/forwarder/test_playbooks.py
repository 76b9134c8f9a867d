"""Playbooks in the path: what is sent is shaped, what is not is told, one revision each."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.forwarding import APP, Sent, destination, event, run, snapshot
from tests.support.shaped import (
    Keep,
    bodies,
    lua,
    marked,
    playbook,
    rig_with,
    secret,
    shaped,
    without,
)
from tests.support.unjailed import Unjailed
from trunkline.kit.destination import delivery_id
from trunkline.kit.shaping import CodeHeld
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry
from trunkline.state.forwarder import unpack_offsets as offsets
from trunkline.state.inbox import ReplayLetters

NAME = f"{APP}/d1"


def test_what_is_sent_is_what_the_playbook_made(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(revision=7))
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "b"))
        await rig.run_for(0.5)
        assert bodies() == {i: {"first": "r1", "last": "r1", "id": i} for i in ("m0", "m1")}
        assert rig.receiver.requests[0].key == delivery_id(NAME, ["m0", "m1"])
        assert rig.rows("SELECT DISTINCT revision FROM fate") == [(7,)]
        assert rig.ledger() == {"delivered": 2}
        await rig.stop()

    run(story)


def test_the_key_is_made_of_what_is_sent_only(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(playbook=playbook(**{"global": without("Secret")})))
        await rig.start()
        rig.put(secret("s0", "a"), event("m0", "b"), secret("s1", "c"))
        await rig.run_for(0.5)
        assert [sent.ids for sent in rig.receiver.requests] == [["m0"]]
        assert rig.receiver.requests[0].key == delivery_id(NAME, ["m0"])
        assert rig.ledger() == {"delivered": 1, "filtered playbook": 2}
        assert rig.balance() == (3, 3)
        rows = rig.rows("SELECT reason, revision FROM fate WHERE kind='filtered'")
        assert rows == [("playbook: global.filters[0]", 1)]
        await rig.stop()

    run(story)


def test_a_batch_of_which_nothing_is_left_makes_no_request_and_no_attempt(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(playbook=playbook(**{"global": without("Secret")})))
        await rig.start()
        rig.put(*[secret(f"s{i}", f"u{i % 3}") for i in range(30)])
        await rig.run_for(0.5)
        assert rig.receiver.requests == []
        assert rig.rows("SELECT COUNT(*) FROM fate WHERE kind='attempt'") == [(0,)]
        assert rig.ledger() == {"filtered playbook": 30}
        rig.put(event("m0", "u1"))
        await rig.run_for(0.5)
        assert rig.delivered() == ["m0"], "the lanes are open again"
        await rig.stop()

    run(story)


def test_an_event_that_cannot_be_shaped_is_a_dead_letter_and_no_fault_of_the_destination(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        code = lua("if input.messageId ~= 'good' then\n  error('no price')\nend\nreturn input")
        rig = rig_with(tmp_path, shaped(playbook=code), workshop=Unjailed())
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(25)], event("good", "z"))
        await rig.run_for(1)
        assert rig.saved().state == "running", "25 failures blow no fuse of 20"
        assert rig.delivered() == ["good"]
        assert rig.ledger() == {"delivered": 1, "dead rejected": 25}
        detail, revision, attempts, failure = rig.rows(
            "SELECT detail, revision, attempts, failure FROM dead_letter LIMIT 1"
        )[0]
        assert "no price" in detail and ", line 2:" in detail
        assert (revision, attempts) == (1, 0)
        assert msgspec.json.decode(failure)["line"] == 2
        assert len(rig.receiver.requests) == 1, "nothing is split, nothing is tried again"
        await rig.stop()

    run(story)


def test_what_had_been_made_of_an_event_is_kept_with_its_letter(tmp_path: Path) -> None:
    async def story() -> None:
        enrichments = [{"outputKey": "a", "staticInt": 1}]
        fails = {"lang": "lua", "name": "x", "body": "error('late')"}
        code = playbook(default={"enrichments": enrichments, "expressions": [fails]})
        rig = rig_with(tmp_path, shaped(playbook=code), workshop=Unjailed())
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        (partial,) = rig.rows("SELECT partial FROM dead_letter")[0]
        assert msgspec.json.decode(partial) == {"a": 1}
        await rig.stop()

    run(story)


def test_one_event_may_become_several_under_one_key_or_each_under_its_own(tmp_path: Path) -> None:
    body = "return {_metarouter_batch = {{n = 1, id = input.messageId}, {n = 2}, {n = 3}}}"

    async def story() -> None:
        wide, narrow = (
            shaped(uid, playbook=lua(body), settings={"batch_events_max": size})
            for uid, size in ((1, 10), (2, 1))
        )
        rig = rig_with(tmp_path, wide, narrow, workshop=Unjailed())
        rig.receiver.answer = lambda s: (
            Retry("later")
            if s.to.endswith("d2") and len(rig.receiver.requests) < 4
            else Delivered()
        )
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        first = [sent for sent in rig.receiver.requests if sent.to.endswith("d1")]
        assert [sent.ids for sent in first] == [["m0"] * 3]
        await rig.run_for(20)
        assert rig.ledger(1) == rig.ledger(2) == {"delivered": 1}
        second = [sent for sent in rig.receiver.requests if sent.to.endswith("d2")]
        assert len({sent.key for sent in second}) == 3, "three things, three keys, at every attempt"
        assert second[0].key == delivery_id(f"{APP}/d2", ["m0"])
        assert rig.balance(2) == (1, 1)
        await rig.stop()

    run(story)


def test_an_event_is_as_bad_as_the_worst_of_what_was_made_of_it(tmp_path: Path) -> None:
    async def story() -> None:
        body = "return {_metarouter_batch = {{n = 1}, {n = 2}}}"
        config = shaped(playbook=lua(body), settings={"batch_events_max": 1})
        rig = rig_with(tmp_path, config, workshop=Unjailed())
        answers: list[Outcome] = [Delivered(), Rejected("bad half")]
        rig.receiver.answer = lambda sent: answers.pop(0)
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        assert rig.ledger() == {"dead rejected": 1}
        assert rig.rows("SELECT detail FROM dead_letter") == [("HTTP 422",)]
        await rig.stop()

    run(story)


def test_a_rejected_part_of_a_batch_is_split_until_the_bad_event_is_found(tmp_path: Path) -> None:
    async def story() -> None:
        body = "return {_metarouter_batch = {{n = 1}, {n = 2}, {n = 3}}}"
        config = shaped(playbook=lua(body), settings={"batch_events_max": 8})
        rig = rig_with(tmp_path, config, workshop=Unjailed())
        rig.receiver.answer = lambda s: Rejected("no") if "bad" in s.ids else Delivered()
        rig.receiver.seconds = lambda sent: 0.05
        await rig.start()
        rig.put(event("bad", "z"), *[event(f"m{i}", f"u{i}") for i in range(9)])
        await rig.run_for(4)
        assert rig.ledger() == {"delivered": 9, "dead rejected": 1}
        assert max(len(sent.ids) for sent in rig.receiver.requests) == 6, "two events, both whole"
        assert rig.rows("SELECT message_id, attempts FROM dead_letter")[0][0] == "bad"
        assert rig.balance() == (10, 10)
        await rig.stop()

    run(story)


def test_a_user_whose_first_event_is_to_be_repeated_is_not_overtaken_within_a_batch(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        body = "return {_metarouter_batch = {{n = 1}, {n = 2}}}"
        config = shaped(
            playbook=lua(body), settings={"batch_events_max": 2, "batch_seconds_max": 0.1}
        )
        rig = rig_with(tmp_path, config, workshop=Unjailed())
        rig.receiver.answer = lambda s: (
            Retry("busy") if len(rig.receiver.requests) == 1 else Delivered()
        )
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "a"))
        await rig.run_for(0.3)
        assert [sent.ids for sent in rig.receiver.requests] == [["m0", "m0"]]
        await rig.run_for(10)
        assert rig.delivered() == ["m0", "m0", "m1", "m1"]
        await rig.stop()

    run(story)


def test_a_revision_swapped_under_load_loses_doubles_and_mixes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped())
        rig.receiver.seconds = lambda sent: 0.05
        await rig.start()
        for number in range(1, 12):
            first = (number - 1) * 60
            rig.put(*[event(f"m{first + i}", f"u{i % 9}") for i in range(60)])
            await rig.run_for(0.07)
            after = shaped(revision=number + 1, playbook=marked(f"r{number + 1}"))
            rig.snapshot = snapshot(number + 1, after)
        await rig.run_for(5)
        ids = [id_ for id_, _ in Keep.kept]
        assert sorted(ids) == sorted({f"m{i}" for i in range(660)})
        assert rig.ledger() == {"delivered": 660}
        assert rig.balance() == (660, 660)
        for _, body in Keep.kept:
            made = msgspec.json.decode(body)
            assert made["first"] == made["last"], "each is shaped wholly by one revision"
        told = rig.rows("SELECT offsets, revision FROM fate WHERE kind='attempt'")
        by_row = {f"m{o}": f"r{revision}" for packed, revision in told for o in offsets(packed)}
        assert by_row == {id_: made["first"] for id_, made in bodies().items()}
        assert len(set(by_row.values())) >= 4
        await rig.stop()

    run(story)


def test_a_retry_is_shaped_by_the_revision_that_is_deployed_by_then(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped())
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        rig.snapshot = snapshot(2, shaped(revision=2, playbook=marked("r2")))
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(10)
        assert bodies()["m0"]["first"] == "r2"
        rows = rig.rows("SELECT revision FROM fate WHERE kind='attempt' ORDER BY id")
        assert (rows[0], rows[-1]) == ((1,), (2,))
        assert {sent.key for sent in rig.receiver.requests} == {delivery_id(NAME, ["m0"])}
        await rig.stop()

    run(story)


def test_a_worker_is_let_go_only_when_no_attempt_has_it(tmp_path: Path) -> None:
    async def story() -> None:
        shop = Unjailed()
        rig = rig_with(tmp_path, shaped(playbook=lua("return {a = 1}")), workshop=shop)
        rig.receiver.seconds = lambda sent: 1.0
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.2)
        rig.snapshot = snapshot(2, shaped(playbook=lua("return {a = 2}"), revision=2))
        await rig.run_for(0.4)
        rig.put(event("m1", "b"))
        await rig.run_for(0.2)
        assert (shop.opened, len(shop.live)) == (2, 2), "the first is still under way"
        await rig.run_for(2)
        assert len(shop.live) == 1
        rig.snapshot = snapshot(3)
        await rig.run_for(0.5)
        assert shop.live == [], "closed with the group"
        await rig.stop()

    run(story)


def test_paused_code_parks_the_destination_and_a_probe_lets_it_go_on(tmp_path: Path) -> None:
    async def story() -> None:
        shop = Unjailed()
        rig = rig_with(tmp_path, shaped(playbook=lua("return {a = 1}")), workshop=shop)
        await rig.start()
        shop.held = "killed three times within a minute"
        rig.put(event("m0", "a"), event("m1", "b"))
        await rig.run_for(3)
        assert (rig.saved().state, rig.saved().cause) == ("parked", "code")
        assert rig.saved().reason == "killed three times within a minute"
        assert rig.receiver.requests == []
        assert rig.rows("SELECT COUNT(*) FROM dead_letter") == [(0,)]
        shop.held = ""
        await rig.run_for(65)
        assert rig.saved().state == "running"
        assert sorted(rig.delivered()) == ["m0", "m1"]
        assert rig.balance() == (2, 2)
        await rig.stop()

    run(story)


def test_without_a_jail_code_is_held_with_a_sentence_and_goes_on_without_it(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(playbook=lua("return {a = 1}")))
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(1)
        assert (rig.saved().state, rig.saved().cause) == ("parked", "settings")
        assert "no jail" in rig.saved().reason
        rig.snapshot = snapshot(2, shaped(revision=2))
        await rig.run_for(1)
        assert rig.delivered() == ["m0"], "a revision without code needs no jail"
        await rig.stop()

    run(story)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"default": {"mapings": []}}', "mapings"),
        (b'{"version": 99, "default": 1}', "default"),
        (b"no json", "JSON"),
    ],
)
def test_a_playbook_that_cannot_be_used_parks_and_its_events_wait(
    tmp_path: Path, content: bytes, words: str
) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(playbook=content))
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(3)
        assert (rig.saved().state, rig.saved().cause) == ("parked", "settings")
        assert words in rig.saved().reason
        assert rig.balance() == (1, 1)
        rig.snapshot = snapshot(2, shaped())
        await rig.run_for(1)
        assert rig.delivered() == ["m0"]
        await rig.stop()

    run(story)


def test_code_that_does_not_load_parks_until_another_revision_comes(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(playbook=lua("return {")), workshop=Unjailed())
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(1)
        assert (rig.saved().state, rig.saved().cause) == ("parked", "settings")
        rig.snapshot = snapshot(2, shaped(playbook=lua("return {a = 1}"), revision=2))
        await rig.run_for(1)
        assert rig.delivered() == ["m0"]
        await rig.stop()

    run(story)


def test_a_jail_that_does_not_start_now_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        shop = Unjailed()
        shop.trouble = CodeHeld("the zygote does not start: no memory")
        rig = rig_with(tmp_path, shaped(playbook=lua("return {a = 1}")), workshop=shop)
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(1)
        assert (rig.saved().cause, rig.saved().reason) == ("code", str(shop.trouble))
        shop.trouble = None
        await rig.run_for(5)
        assert rig.delivered() == ["m0"]
        await rig.stop()

    run(story)


def test_a_probe_passes_over_what_the_playbook_drops(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(playbook=playbook(**{"global": without("Secret")})))
        rig.receiver.answer = lambda sent: Blocked("who are you")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        rig.put(*[secret(f"s{i}", f"u{i}") for i in range(5)], event("m1", "z"))
        await rig.run_for(20)
        assert rig.saved().state == "parked"
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(60)
        assert rig.saved().state == "running"
        assert rig.ledger() == {"delivered": 2, "filtered playbook": 5}
        await rig.stop()

    run(story)


def test_a_parked_destination_that_only_holds_what_is_dropped_stays_parked(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped())
        rig.receiver.answer = lambda sent: Blocked("who are you")
        await rig.start()
        rig.put(secret("s0", "a"))
        await rig.run_for(0.5)
        drops = playbook(**{"global": without("Secret")})
        rig.snapshot = snapshot(2, shaped(playbook=drops, revision=2))
        await rig.run_for(5)
        assert rig.saved().state == "parked", "nothing showed that it takes events again"
        assert rig.ledger() == {"filtered playbook": 1}
        rig.receiver.answer = lambda sent: Delivered()
        rig.put(event("m0", "a"))
        await rig.run_for(65)
        assert rig.delivered() == ["m0"]
        await rig.stop()

    run(story)


def test_a_replayed_letter_is_shaped_by_the_new_revision_under_its_first_key(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped())
        rig.receiver.answer = lambda sent: Rejected("wrong form")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        (letter,) = rig.rows("SELECT id, revision FROM dead_letter")
        assert letter[1] == 1
        rig.snapshot = snapshot(2, shaped(revision=2, playbook=marked("r2")))
        rig.receiver.answer = lambda sent: Delivered()
        rig.ask(ReplayLetters((letter[0],), rig.clock.now_ms()))
        await rig.run_for(3)
        assert rig.delivered() == ["m0"]
        assert bodies()["m0"]["first"] == "r2"
        keys = {sent.key for sent in rig.receiver.requests}
        assert keys == {delivery_id(NAME, ["m0"])}
        assert rig.ledger() == {"delivered": 1, "dead rejected": 1, "replayed": 1}
        assert rig.balance() == (2, 2)
        await rig.stop()

    run(story)


def test_ids_and_dice_are_the_same_at_every_attempt(tmp_path: Path) -> None:
    async def story() -> None:
        enrichments = [{"outputKey": "uuid", "uuid": "v4"}]
        rig = rig_with(tmp_path, shaped(playbook=playbook(default={"enrichments": enrichments})))
        rig.receiver.answer = lambda s: Retry("busy") if s.number < 3 else Delivered()
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "b"))
        await rig.run_for(20)
        made = {(id_, msgspec.json.decode(body)["uuid"]) for id_, body in Keep.kept}
        assert len(Keep.kept) == 6 and len(made) == 2
        await rig.stop()

    run(story)


def test_a_destination_without_a_playbook_is_sent_the_very_bytes(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, destination(kind="keep"))
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        assert Keep.kept == [("m0", rig.accepted[0].event)]
        assert rig.forwarder.groups[1].outfit.shaping is None
        await rig.stop()

    run(story)


def test_what_waits_is_shaped_when_its_turn_comes(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped(playbook=playbook(**{"global": without("Nothing")})))
        rig.settings = type(rig.settings)(waiting_seconds=1.0)

        def answer(sent: Sent) -> Outcome:
            return Retry("busy") if "m0" in sent.ids else Delivered()

        rig.receiver.answer = answer
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.2)
        rig.put(secret("s0", "a"))
        await rig.run_for(8)
        assert rig.rows("SELECT COUNT(*) FROM waiting") == [(2,)]
        drops = playbook(**{"global": without("Secret", "Bought")})
        rig.snapshot = snapshot(2, shaped(playbook=drops, revision=2))
        await rig.run_for(300, step=0.2)
        assert rig.rows("SELECT COUNT(*) FROM waiting") == [(0,)]
        assert rig.ledger() == {"filtered playbook": 2}
        assert rig.balance() == (2, 2)
        await rig.stop()

    run(story)
