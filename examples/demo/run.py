"""The demo of `make run`: a node, a sender and a receiver on this machine, with everything shown.

Runs until Ctrl-C, or for DEMO_SECONDS. Takes the ports 8080, 8081 and 8090, or DEMO_PORTS; where
one is taken, another that is free.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
from pyreqwest.client import ClientBuilder

from trunkline.catalog.apply import apply_workspace
from trunkline.cli.trace import find_stories, print_story
from trunkline.kit.addresses import free_port, is_listening
from trunkline.kit.clock import SystemClock
from trunkline.node import destination_kinds
from trunkline.proof.nodes import RealNode
from trunkline.proof.receiver import Receiver
from trunkline.state.home import Home

HERE = Path(__file__).parent
HOME = Path(os.environ.get("TRUNKLINE_HOME", ".trunkline")).absolute()
APP = "zcmwmxbkmuodelu"
DEV_KEY = "demo-dev-key-0123456789abcdef"
WRITE_KEY = "tls_demo_0123456789abcdef0123456789"
PORTS = os.environ.get("DEMO_PORTS", "8080,8081,8090")  # ingest, console, receiver
PAUSE_SECONDS = 1.0


def port_or_free(port: int) -> int:
    """Return the port, or a free one where it is taken."""
    return free_port("127.0.0.1") if is_listening("127.0.0.1", port) else port


async def main() -> int:
    seconds = float(os.environ.get("DEMO_SECONDS", "inf"))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    receiver = Receiver()
    ingest, console, hook_port = (port_or_free(int(port)) for port in PORTS.split(","))
    hook = await receiver.start(hook_port)
    apply_demo(hook)
    node = RealNode(HOME, ports=(ingest, console), own_group=False)
    try:
        await asyncio.to_thread(node.start)
        introduce(node, hook)
        sender = asyncio.create_task(send_for_ever(node.url, receiver, stop))
        await asyncio.wait(
            (sender, asyncio.create_task(stop.wait())),
            timeout=None if seconds == float("inf") else seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        stop.set()
        sent = await sender
        arrived = sum(message_id in receiver.received for message_id in sent)
        print(f"\n{len(sent)} events were sent; the receiver got {arrived} of them.")
        return 0 if arrived == len(sent) else 1
    finally:
        await asyncio.to_thread(node.stop)
        await receiver.close()


def apply_demo(hook: str) -> None:
    """Bring the catalog to the demo's workspace file."""
    home = Home(HOME)
    home.prepare()
    text = (HERE / "workspace.yaml").read_text("utf-8")
    text = text.replace("http://127.0.0.1:8090/hook", hook)
    text = text.replace("demo-events.ndjson", str(HOME / "demo-events.ndjson"))
    apply_workspace(home, text, destination_kinds(), os.environ, clock=SystemClock())


def introduce(node: RealNode, hook: str) -> None:
    """Say where everything is."""
    trunkline = Path(sys.executable).with_name("trunkline")
    home = os.path.relpath(HOME)
    print(
        f"""
Trunkline runs.
  ingest     {node.url}
  console    {node.console_url}   (health and metrics; the pages are not built yet)
  receiver   {hook}   (make it fail: curl -X POST {hook.replace("/hook", "/answer/503")})
  home       {home}   (log: {home}/node.log)

Send an event yourself:

  curl -X POST {node.url}/inappevent/{APP} \\
    -H 'Authorization: {DEV_KEY}' \\
    -d '{{"metrixUserId": "u-42", "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d",
         "eventSlug": "taqsq", "customAttributes": {{"_currency": "IRR"}},
         "customMetrics": {{"_revenue": 53.7}}}}'

See what passes, and one event's story:

  {os.path.relpath(trunkline)} tail --home {home}
  {os.path.relpath(trunkline)} trace MESSAGE_ID --home {home}

A demo sender sends one event a second. Ctrl-C ends it all.
"""
    )


async def send_for_ever(url: str, receiver: Receiver, stop: asyncio.Event) -> list[str]:
    """Send S2S events and tracking calls in turn; return the ids that were answered yes."""
    acknowledged: list[str] = []
    async with ClientBuilder().no_proxy().build() as client:
        for number in itertools.count():
            path, headers, body = sample(number)
            request = client.post(url + path).headers(headers).body_bytes(msgspec.json.encode(body))
            response = await request.build().send()
            answer = msgspec.json.decode(bytes(await response.bytes()))
            message_id = answer.get("messageId") or body.get("messageId")
            print(f"→ {path:<28} {response.status}  {message_id}")
            if response.status == 200:
                acknowledged.append(message_id)
                await wait_for(receiver, message_id, number == 0)
            try:
                await asyncio.wait_for(stop.wait(), PAUSE_SECONDS)
                return acknowledged
            except TimeoutError:
                continue
    return acknowledged


def sample(number: int) -> tuple[str, dict[str, str], dict[str, object]]:
    """Return path, headers and body of the nth event."""
    if number % 2 == 0:
        body: dict[str, object] = {
            "metrixUserId": f"user-{number % 7}",
            "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d",
            "eventSlug": "taqsq",
            "eventTime": time.time_ns() // 1_000_000,
            "customAttributes": {"_currency": "IRR", "_order_id": f"o-{number}"},
            "customMetrics": {"_revenue": 53.7 + number},
        }
        return f"/inappevent/{APP}", {"authorization": DEV_KEY}, body
    body = {
        "messageId": f"demo-{time.time_ns()}",
        "userId": f"user-{number % 7}",
        "event": "Product Viewed",
        "properties": {"sku": f"sku-{number % 3}"},
        "writeKey": WRITE_KEY,
    }
    return "/v1/track", {"content-type": "application/json"}, body


async def wait_for(receiver: Receiver, message_id: str, with_story: bool) -> None:
    """Show the event's arrival, and the first one's whole story."""
    for _ in range(100):
        if message_id in receiver.received:
            break
        await asyncio.sleep(0.05)
    else:
        print(f"  not delivered yet; see: trunkline trace {message_id}")
        return
    event = receiver.last or {}
    print(f"← receiver got {event.get('event')}  {message_id}")
    if with_story:
        await asyncio.sleep(0.3)
        print("\nIts story, as `trunkline trace` tells it:\n")
        for story in await asyncio.to_thread(find_stories, message_id, HOME):
            print_story(story)
        print()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
