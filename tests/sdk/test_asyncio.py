"""The client of asyncio: the same calls, awaited, and the loop is never stopped by them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from trunkline_sdk import AsyncTrunkline, InvalidEvent, Limits, QueueFull, TestClient, Who

from tests.support.scripted_node import ScriptedNode, refusal

PATIENCE = 60.0
DEVICE = "38400000-8cf0-11bd-b23e-10b96e40000d"


@pytest.mark.parametrize("is_durable", [False, True])
def test_calls_of_every_api_arrive_in_their_order(
    scripted: ScriptedNode, tmp_path: Path, is_durable: bool
) -> None:
    async def story() -> list[str]:
        path = tmp_path / "q.db" if is_durable else None
        async with AsyncTrunkline("tls_key", scripted.url, queue_path=path) as client:
            told = await asyncio.gather(*(client.track("u", "Seen") for _ in range(50)))
            client.track("u", "Not awaited", message_id="late")
            async with client.batch() as batch:
                batch.identify("u", {"plan": "gold"}, message_id="batched")
            await client.s2s("app", "dev").event(
                "taqsq", user_id="u", idfa=DEVICE, message_id="s2s"
            )
            await client.rest("app", "key").action(Who("u"), "taqsq", message_id="rest")
            assert await client.flush(PATIENCE)
            return told

    told = asyncio.run(story())
    tracked = [m for a in scripted.asked if a.path == "/v1/batch" for m in a.message_ids]
    assert tracked == [*told, "late", "batched"]
    others = {m for a in scripted.asked if a.path != "/v1/batch" for m in a.message_ids}
    assert others == {"s2s", "rest"}


def test_the_loop_goes_on_while_a_full_queue_is_waited_for(scripted: ScriptedNode) -> None:
    scripted.judge = lambda _: refusal(503, "later")
    limits = Limits(queue_events_max=1, wait_seconds=0.5)

    async def story() -> int:
        client = AsyncTrunkline("tls_key", scripted.url, when_full="wait", limits=limits)
        await client.track("u", "One")
        second = asyncio.ensure_future(client.track("u", "Two"))
        turns = 0
        while not second.done():
            await asyncio.sleep(0.001)
            turns += 1
        with pytest.raises(QueueFull):
            await second
        await client.close(0.0)
        return turns

    assert asyncio.run(story()) > 2


def test_a_wrong_event_raises_and_a_full_queue_in_memory_fails_the_wait(
    scripted: ScriptedNode,
) -> None:
    scripted.judge = lambda _: refusal(503, "later")

    async def story() -> None:
        client = AsyncTrunkline("tls_key", scripted.url, limits=Limits(queue_events_max=1))
        with pytest.raises(InvalidEvent):
            await client.track("u")
        await client.track("u", "One")
        with pytest.raises(QueueFull):
            await client.track("u", "Two")
        await client.close(0.0)

    asyncio.run(story())


def test_the_recording_client_stands_in_for_asyncio_too() -> None:
    async def story(recorder: TestClient) -> None:
        async with AsyncTrunkline(client=recorder) as client:
            given = await client.track("u", "Seen")
            assert recorder.events[0]["messageId"] == given

    asyncio.run(story(TestClient()))
