"""The forwarder under random answers, delays, crashes and people: what must hold whatever happens.

Nothing is lost, each event comes to one end, users keep their order, the ledger balances at every
moment that was saved, and when the faults end, nothing is owed any more.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.forwarding import Rig, Sent, destination, event, run, snapshot
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry
from trunkline.state.inbox import SetState

LIMITS = {"waiting_seconds": 5.0, "lane_events_max": 40, "fuse_rejections": 5}


class Faults:
    """Random answers, but a poison event is always refused and never anything else is."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.are_on = True

    def answer(self, sent: Sent) -> Outcome:
        if any(id_.startswith("bad") for id_ in sent.ids):
            return Rejected("poison")
        if self.are_on:
            throw = self.dice.random()
            if throw < 0.3:
                return Retry("busy", self.dice.choice([0, 0, 0, 3.0]))
            if throw < 0.33:
                return Blocked("locked")
        return Delivered()

    def seconds(self, sent: Sent) -> float:
        return self.dice.choice([0, 0.01, 0.3, 20.0]) if self.are_on else 0.01


async def simulate(folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    rig = Rig(folder, seed, **LIMITS)
    rig.snapshot = snapshot(
        1,
        destination(
            1, settings={"batch_events_max": dice.choice([1, 7, 50]), "timeout_seconds": 2}
        ),
        destination(2, order="none", settings={"concurrency_max": 2}),
        destination(3, enabled=False),
    )
    faults = Faults(dice)
    rig.receiver.answer, rig.receiver.seconds = faults.answer, faults.seconds
    await rig.start()
    count = 0
    for _ in range(12):
        fresh = []
        for _ in range(dice.choice([0, 3, 30, 200])):
            # `bad` events are few and of their own users, so that no fuse blows for them for ever.
            name = f"bad{count}" if dice.random() < 0.01 else f"m{count}"
            fresh.append(event(name, dice.choice(["", *"abcdefgh"]) if name[0] == "m" else "z"))
            count += 1
        if fresh:
            rig.put(*fresh)
        await rig.run_for(dice.choice([0.05, 0.5, 4.0]))
        action = dice.random()
        if action < 0.3:
            await rig.crash()
            check_balance(rig)
            await rig.start()
        elif action < 0.4:
            await rig.stop()
            check_balance(rig)
            await rig.start()
        elif action < 0.5:
            rig.ask(SetState(1, dice.choice(["paused", "running", "probe"]), rig.clock.now_ms()))
        check_balance(rig)
    faults.are_on = False
    rig.ask(SetState(1, "running", rig.clock.now_ms()))
    await drain(rig)
    check_end(rig)
    await rig.stop()
    check_balance(rig)


async def drain(rig: Rig) -> None:
    """Wait until nothing is owed. Good events keep coming: they tell a bad event from a lock."""
    for number in range(120):
        rig.put(event(f"more{number}", f"user{number}"))
        await rig.run_for(5, step=0.1)
        if all(rig.pending(uid) == 0 for uid in (1, 2, 3)):
            return
    states = [rig.saved(uid) for uid in (1, 2, 3)]
    raise AssertionError(f"still owed after ten minutes without faults: {states}")


def check_balance(rig: Rig) -> None:
    for uid in (1, 2, 3):
        left, right = rig.balance(uid)
        assert left == right, (uid, rig.ledger(uid), rig.pending(uid), rig.saved(uid))
        for lane, rows in rig.rows(
            "SELECT lane, COUNT(*) FROM waiting WHERE uid=? GROUP BY 1", uid
        ):
            assert rows <= LIMITS["lane_events_max"] + LIMITS["fuse_rejections"], lane


def check_end(rig: Rig) -> None:
    accepted = [e.message_id for e in rig.accepted]
    for uid in (1, 2):
        dead = {id_ for (id_,) in rig.rows("SELECT message_id FROM dead_letter WHERE uid=?", uid)}
        delivered = rig.delivered(uid)
        assert set(delivered) | dead == set(accepted)
        assert not set(delivered) & dead
        assert rig.ledger(uid).get("delivered", 0) == len(accepted) - len(dead)
        poison = {id_ for id_ in accepted if id_.startswith("bad")}
        assert poison <= dead
        # While everything is refused at random, a probe may find a good event guilty by bad luck.
        assert len(dead - poison) <= 5, dead - poison
    tries = Counter(id_ for sent in rig.receiver.requests for id_ in {*sent.ids})
    assert max(tries.values(), default=0) < 400, "attempts are bounded"
    assert rig.ledger(3).get("filtered disabled", 0) == len(accepted)
    check_order(rig, 1)


def check_order(rig: Rig, uid: int) -> None:
    """A user's event is never sent for the first time before an earlier one had its end."""
    place = {e.message_id: number for number, e in enumerate(rig.accepted)}
    user = {e.message_id: e.user for e in rig.accepted}
    first: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for id_ in rig.delivered(uid):
        if id_ not in seen and user[id_]:
            first[user[id_]].append(place[id_])
        seen.add(id_)
    for name, places in first.items():
        assert places == sorted(places), name


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]
)
def test_whatever_happens_each_event_comes_to_one_end_in_order(tmp_path: Path, seed: int) -> None:
    run(lambda: simulate(tmp_path, seed))


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 1_000_000))
def test_no_seed_breaks_it(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    run(lambda: simulate(tmp_path_factory.mktemp("home"), seed))
