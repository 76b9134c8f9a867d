"""The operators' port: metrics for whoever may scrape, and health."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

from trunkline.control.port import ControlPort
from trunkline.kit.addresses import free_port, is_listening
from trunkline.kit.settings import Boot, ConsoleSettings
from trunkline.state.home import Home


async def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    """Return status and body of a GET."""

    def get() -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)


def run(folder: Path, boot: Boot, story: Callable[[int], Awaitable[None]]) -> None:
    """Tell a story on a port that is served."""

    async def main() -> None:
        port, stop = free_port("127.0.0.1"), asyncio.Event()
        serving = asyncio.create_task(
            ControlPort(Home(folder), boot).serve("127.0.0.1", port, stop)
        )
        # The server tells nobody when it listens.
        while not await asyncio.to_thread(is_listening, "127.0.0.1", port):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        try:
            await story(port)
        finally:
            stop.set()
            await serving

    asyncio.run(main())


def test_metrics_are_open_on_loopback_without_a_token(tmp_path: Path) -> None:
    async def story(port: int) -> None:
        status, text = await ask(port, "/metrics")
        assert status == 200
        assert "# HELP trunkline_" in text
        assert (await ask(port, "/health/live"))[0] == 200
        assert (await ask(port, "/"))[0] == 200
        assert (await ask(port, "/elsewhere"))[0] == 404

    run(tmp_path, Boot(), story)


def test_with_a_token_only_who_has_it_scrapes(tmp_path: Path) -> None:
    async def story(port: int) -> None:
        assert (await ask(port, "/metrics"))[0] == 401
        assert (await ask(port, "/metrics", Authorization="Bearer wrong"))[0] == 401
        assert (await ask(port, "/metrics", Authorization="Bearer right"))[0] == 200

    run(tmp_path, Boot(console=ConsoleSettings(metrics_token="right")), story)
