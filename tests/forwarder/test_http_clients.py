"""The pool of HTTP clients: shared, bounded, and never closed under a request."""

from __future__ import annotations

import asyncio

from trunkline.forwarder.clients import UNPINNED, ClientPool, Pin


def pin(number: int) -> Pin:
    return Pin(f"host-{number}.example", "127.0.0.1")


def test_one_pin_has_one_client_however_many_ask_at_once() -> None:
    async def story() -> None:
        pool = ClientPool("test")
        clients = await asyncio.gather(*(pool.take(UNPINNED) for _ in range(10)))
        assert len({id(client) for client in clients}) == 1
        assert len(pool) == 1
        await pool.close()

    asyncio.run(story())


def test_the_least_recently_used_client_goes_first() -> None:
    async def story() -> None:
        pool = ClientPool("test", clients_max=3)
        clients = {number: await _touch(pool, number) for number in (1, 2, 3, 1, 4)}
        assert len(pool) == 3
        assert await _touch(pool, 1) == clients[1]
        assert await _touch(pool, 3) == clients[3]
        assert await _touch(pool, 4) == clients[4]
        assert await _touch(pool, 2) != clients[2]
        assert len(pool) == 3
        await pool.close()

    asyncio.run(story())


def test_a_client_with_requests_under_way_is_never_evicted() -> None:
    async def story() -> None:
        pool = ClientPool("test", clients_max=2)
        busy = [await pool.take(pin(number)) for number in range(5)]
        assert len(pool) == 5
        for number in range(5):
            assert await pool.take(pin(number)) is busy[number]
            pool.release(pin(number))
            pool.release(pin(number))
        await _touch(pool, 9)
        assert len(pool) == 2
        await pool.close()

    asyncio.run(story())


def test_who_gives_up_waiting_for_a_client_leaves_it_to_the_others() -> None:
    async def story() -> None:
        pool = ClientPool("test", clients_max=1)
        first = asyncio.create_task(pool.take(pin(1)))
        second = asyncio.create_task(pool.take(pin(1)))
        await asyncio.sleep(0)
        first.cancel()
        await second
        pool.release(pin(1))
        await _touch(pool, 2)  # possible only if nobody seems to hold the first
        assert len(pool) == 1
        await pool.close()

    asyncio.run(story())


async def _touch(pool: ClientPool, number: int) -> int:
    client = await pool.take(pin(number))
    pool.release(pin(number))
    return id(client)
