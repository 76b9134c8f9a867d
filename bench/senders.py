"""Senders in a process of their own: `python -m bench.senders JOB …`, an answer in JSON.

- `fill URL KEY EVENTS TAG`: so many tracking events in batches of 100, as fast as they are taken.
- `steady URL APP KEY RATE SECONDS`: S2S events at a rate, each sent when it is due, whether the
  ones before were answered or not, so that a slow answer delays no other (no coordinated omission).
- `bare URL REQUESTS CONCURRENCY`: what an HTTP client of a library can do with nothing around it.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from datetime import timedelta

import msgspec
import uvloop
from msgspec import Struct
from pyreqwest.client import Client, ClientBuilder

BATCH = 100
FILL_CONCURRENCY = 4
UNDER_WAY_MAX = 2000  # of a steady sender; past it the node does not keep up, and that is said
USERS = 10_000


class Sent(Struct, frozen=True):
    """What was sent and answered 200, since when (monotonic seconds), and how long it took.

    `late` were never sent.
    """

    events: int
    begun: float
    seconds: float
    late: int = 0


def client() -> ClientBuilder:
    """Return a client, with as little to do as the forwarder's has: no proxy, no redirect."""
    return ClientBuilder().no_proxy().timeout(timedelta(seconds=60)).follow_redirects(False)


async def post(http: Client, url: str, body: bytes, headers: list[tuple[str, str]]) -> None:
    """Send, and raise for any answer but 200."""
    request = http.post(url).headers(headers).body_bytes(body).build_streamed()
    async with request as answer:
        await answer.body_reader.read(65_536)
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}")


async def fill(url: str, key: str, events: int, tag: str) -> Sent:
    """Send batches of tracking events, a few at a time."""
    credentials = base64.b64encode(f"{key}:".encode()).decode()
    headers = [("content-type", "application/json"), ("authorization", f"Basic {credentials}")]
    starts = iter(range(0, events, BATCH))
    begun = time.monotonic()

    async def work(http: Client) -> None:
        for start in starts:
            body = batch_body(tag, start, min(BATCH, events - start))
            await post(http, f"{url}/v1/batch", body, headers)

    async with client().build() as http:
        await asyncio.gather(*(work(http) for _ in range(FILL_CONCURRENCY)))
    return Sent(events, begun, time.monotonic() - begun)


_EVENT = (
    '{{"type":"track","messageId":"{tag}-{number}","userId":"user-{user}",'
    '"event":"Product Viewed","properties":{{"product_id":"sku-{number}",'
    '"name":"Trail running shoe","brand":"Northwind","category":"Shoes/Running",'
    '"variant":"blue 42","price":129.95,"currency":"EUR","quantity":1,"position":4,'
    '"coupon":"AUTUMN","list":"search results"}},"context":{{"ip":"203.0.113.20",'
    '"locale":"de-DE","timezone":"Europe/Berlin","library":{{"name":"bench","version":"1.0"}},'
    '"page":{{"path":"/shoes/trail","url":"https://shop.example/shoes/trail?utm_source=mail",'
    '"title":"Trail running shoes","referrer":"https://shop.example/"}},'
    '"userAgent":"Mozilla/5.0 (X11; Linux x86_64)"}}}}'
)


def event_line(tag: str, number: int) -> str:
    """Return a tracking event of about 700 bytes, as JSON in one line."""
    return _EVENT.format(tag=tag, number=number, user=number * 7919 % USERS)


def batch_body(tag: str, start: int, count: int) -> bytes:
    """Return a batch of tracking events of about 700 bytes each."""
    events = (event_line(tag, number) for number in range(start, start + count))
    return ('{"batch":[' + ",".join(events) + "]}").encode()


async def steady(url: str, app: str, key: str, rate: float, seconds: float) -> Sent:
    """Send S2S events at a rate."""
    headers = [("content-type", "application/json"), ("authorization", key)]
    path = f"{url}/inappevent/{app}"
    tasks: set[asyncio.Task[None]] = set()
    begun = time.monotonic()
    late = 0
    total = round(rate * seconds)
    async with client().build() as http:
        for number in range(total):
            due = begun + number / rate
            wait = due - time.monotonic()
            if wait > 0.0005:
                await asyncio.sleep(wait)
            if len(tasks) >= UNDER_WAY_MAX:
                late += 1
                continue
            body = s2s_body(number, round(due * 1e9))
            task = asyncio.create_task(post(http, path, body, headers))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    return Sent(total - late, begun, time.monotonic() - begun, late)


def s2s_body(number: int, sent_ns: int) -> bytes:
    """Return an S2S event of about 450 bytes that carries the moment it was due."""
    return (
        f'{{"metrixUserId":"user-{number * 7919 % USERS}",'
        '"advertisingId":"38400000-8cf0-11bd-b23e-10b96e40000d","eventSlug":"taqsq",'
        f'"eventTime":{time.time_ns() // 1_000_000},'
        '"metrixSessionId":"0b0e7c3a-5f0d-4c4e-9d1c-000000000000",'
        f'"customAttributes":{{"_currency":"IRR","_order_id":"o-{number}","channel":"android",'
        '"payment_method":"card","city":"Tehran","campaign":"autumn-sale"},'
        f'"customMetrics":{{"_revenue":53.75,"items":3,"sent_ns":{sent_ns}}}}}'
    ).encode()


async def bare(url: str, requests: int, concurrency: int) -> Sent:
    """Send one event again and again, with nothing around the client."""
    body = _EVENT.format(tag="bare", number=1, user=1).encode()
    headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "0961fbf45c06c4a9b41f6d60976c861cf95ab142"),
        ("x-trunkline-delivery", "0961fbf45c06c4a9b41f6d60976c861cf95ab142"),
    ]
    left = iter(range(requests))
    begun = time.monotonic()

    async def work(http: Client) -> None:
        for _ in left:
            await post(http, url, body, headers)

    async with client().build() as http:
        await asyncio.gather(*(work(http) for _ in range(concurrency)))
    return Sent(requests, begun, time.monotonic() - begun)


def main(job: str, arguments: list[str]) -> None:
    """Do a job and print what came of it."""
    if job == "fill":
        url, key, events, tag = arguments
        work = fill(url, key, int(events), tag)
    elif job == "steady":
        url, app, key, rate, seconds = arguments
        work = steady(url, app, key, float(rate), float(seconds))
    else:
        url, requests, concurrency = arguments
        work = bare(url, int(requests), int(concurrency))
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(work)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
