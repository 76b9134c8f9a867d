"""Events that the contract of a vendor forbids, or that are surely at fault, in the path."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.forwarding import Post, Rig, destination, event, run
from tests.support.forwarding import snapshot as model_snapshot
from tests.support.shaped import playbook
from tests.support.unjailed import Unjailed
from trunkline.kit.destination import Attempt, Call, Mapped, Request, Response, delivery_id
from trunkline.model.outcome import Filtered, Outcome, Rejected, Retry

Verdict = Callable[[Mapped], Outcome | Filtered | None]
FORBIDDEN = Rejected("needs_id: An id is needed.", is_sure=True, was_sent=False)


class Judging(Post):
    """A kind that judges events before it sends the rest, as a kit with a contract does."""

    kind = "judging"
    verdicts: list[Verdict] = []  # the one to judge by

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request | Call, Any, Sequence[Outcome | Filtered]]:
        judged = [Judging.verdicts[0](one) for one in events]
        sent = [one for one, verdict in zip(events, judged, strict=True) if verdict is None]
        outcome: Outcome = Retry("nothing was sent")
        if sent:
            response: Response = yield self.build(sent, attempt)
            outcome = self.judge(response)
        return [verdict or outcome for verdict in judged]


def by_first_letter(mapped: Mapped) -> Outcome | Filtered | None:
    """Drop what begins with d, forbid f, and say of s that the vendor named it."""
    return {
        "d": Filtered("vendor: spam"),
        "f": FORBIDDEN,
        "s": Rejected("HTTP 200, named", is_sure=True),
    }.get(mapped.message_id[0])


def rig_of(folder: Path, **config: Any) -> Rig:
    rig = Rig(folder)
    rig.kinds |= {"judging": Judging}
    rig.options["workshop"] = Unjailed()
    rig.snapshot = model_snapshot(1, destination(kind="judging", **config))
    Judging.verdicts = [by_first_letter]
    return rig


CONFIGS = pytest.mark.parametrize("config", [{}, {"playbook": playbook()}], ids=["as is", "shaped"])


@CONFIGS
def test_what_is_forbidden_is_told_and_only_the_rest_has_an_attempt(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    async def story() -> None:
        rig = rig_of(tmp_path, **config)
        await rig.start()
        rig.put(event("a", "u1"), event("d1", "u2"), event("f1", "u3"), event("b", "u1"))
        await rig.run_for(1)
        assert [sent.ids for sent in rig.receiver.requests] == [["a", "b"]]
        assert rig.ledger() == {
            "delivered": 2, "filtered vendor: spam": 1, "dead rejected": 1,
        }  # fmt: skip
        assert rig.balance() == (4, 4)
        assert rig.rows("SELECT message_id, reason, detail FROM dead_letter") == [
            ("f1", "rejected", "needs_id: An id is needed.")
        ]
        kinds = rig.rows("SELECT kind, reason FROM fate WHERE kind<>'attempt' ORDER BY kind")
        assert kinds == [("filtered", "vendor: spam"), ("unshaped", "needs_id: An id is needed.")]
        assert rig.rows("SELECT COUNT(*) FROM fate WHERE kind='attempt'") == [(1,)]
        await rig.stop()

    run(story)


@CONFIGS
def test_a_batch_of_which_nothing_may_go_makes_no_request_no_attempt_and_blows_no_fuse(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    async def story() -> None:
        rig = rig_of(tmp_path, **config)
        await rig.start()
        rig.put(*[event(f"f{n}", f"u{n % 3}") for n in range(25)])
        rig.put(*[event(f"d{n}", f"u{n % 3}") for n in range(25)])
        await rig.run_for(2)
        assert rig.receiver.requests == []
        assert rig.rows("SELECT COUNT(*) FROM fate WHERE kind='attempt'") == [(0,)]
        assert rig.ledger() == {"filtered vendor: spam": 25, "dead rejected": 25}
        assert rig.saved().state == "running"
        rig.put(event("ok", "u1"))
        await rig.run_for(1)
        assert rig.delivered() == ["ok"], "the lanes are open again"
        await rig.stop()

    run(story)


@CONFIGS
def test_what_is_surely_at_fault_is_not_sent_again_while_the_fault_is_looked_for(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    async def story() -> None:
        rig = rig_of(tmp_path, **config)
        rig.receiver.answer = lambda sent: Rejected("no")
        await rig.start()
        rig.put(*[event(name, name) for name in ("s1", "a", "s2", "b", "c")])
        await rig.run_for(3)
        asked = [sent.ids for sent in rig.receiver.requests]
        assert asked[0] == ["a", "b", "c"], "the whole"
        assert sorted(ids[0] for ids in asked if len(ids) == 1) == ["a", "b", "c"], "then alone"
        assert rig.ledger() == {"dead rejected": 5}
        assert rig.balance() == (5, 5)
        await rig.stop()

    run(story)


def test_those_that_are_surely_at_fault_count_for_the_fuse(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_of(tmp_path)
        await rig.start()
        rig.put(*[event(f"s{n}", f"u{n}") for n in range(40)])
        await rig.run_for(3)
        assert (rig.saved().state, rig.saved().cause) == ("parked", "fuse")
        await rig.stop()

    run(story)


def test_an_event_of_which_a_part_is_dropped_is_delivered_with_the_rest(tmp_path: Path) -> None:
    async def story() -> None:
        code = playbook(
            default={"expressions": [
                {"lang": "lua", "name": "x",
                 "body": "return {_metarouter_batch = {{n = 1}, {n = 2}}}"}
            ]}
        )  # fmt: skip
        rig = rig_of(tmp_path, playbook=code)
        Judging.verdicts = [lambda one: Filtered("vendor: spam") if one.value["n"] == 2 else None]
        await rig.start()
        rig.put(event("a", "u1"))
        await rig.run_for(1)
        assert rig.ledger() == {"delivered": 1}
        assert [sent.ids for sent in rig.receiver.requests] == [["a"]]
        assert rig.receiver.requests[0].key != delivery_id("x", ["a"])
        await rig.stop()

    run(story)
