"""One NATS with JetStream on the disk, and users of which not all may publish."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import nats
from nats.js.api import StreamConfig

from tests.support.servers.child import Child
from tests.support.servers.install_go import nats_program

PASSWORD = "hunter2-of-nats"
SETTINGS = """
listen: "127.0.0.1:{port}"
max_payload: 300000
jetstream {{ store_dir: "{folder}/jetstream", sync_interval: always }}
authorization {{
  users: [
    {{ user: trunkline, password: "{password}" }}
    {{ user: reader, password: "{password}", permissions: {{
       publish: "$JS.API.>", subscribe: ">" }} }}
    {{ user: narrow, password: "{password}", permissions: {{
       publish: ["narrow.>", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*", "$JS.API.INFO"]
       subscribe: "_INBOX.>" }} }}
  ]
}}
{more}
"""
TLS = """
tls {{ cert_file: "{folder}/localhost.pem", key_file: "{folder}/localhost.pem" }}
"""


class NatsServer(Child):
    """A server. `trunkline` may all, `reader` may look at streams and not publish.

    `narrow` may what our guide asks for.
    """

    more = ""

    def prepare(self) -> None:
        self.make_certificate()
        text = SETTINGS.format(
            port=self.port,
            folder=self.folder,
            password=PASSWORD,
            more=self.more.format(folder=self.folder),
        )
        (self.folder / "nats.conf").write_text(text, "utf-8")

    def spawn(self) -> None:
        self.launch([str(nats_program()), "-c", str(self.folder / "nats.conf")])

    def is_ready(self) -> bool:
        self.ask(lambda jetstream: jetstream.account_info())
        return True

    @property
    def url(self) -> str:
        """Where a client that may all connects to."""
        return f"nats://trunkline:{PASSWORD}@127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """What else it needs."""
        return {}

    def ask(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask JetStream."""

        async def run() -> Any:
            options = {"allow_reconnect": False, "error_cb": ignore, **self.options}
            client = await nats.connect(self.url, **options)
            try:
                return await question(client.jetstream(timeout=20))
            finally:
                await client.close()

        return asyncio.run(run())

    def make_stream(self, name: str, *subjects: str, **options: Any) -> None:
        """Make a stream on the disk."""
        config = StreamConfig(name=name, subjects=list(subjects), **options)
        self.ask(lambda jetstream: jetstream.add_stream(config))

    def read(self, stream: str) -> list[Any]:
        """Return all messages of a stream, in order: `subject`, `headers`, `data`."""

        async def collect(jetstream: Any) -> list[Any]:
            state = (await jetstream.stream_info(stream)).state
            if not state.messages:
                return []
            subscription = await jetstream.subscribe(">", stream=stream, ordered_consumer=True)
            found = [await subscription.next_msg(timeout=20) for _ in range(state.messages)]
            await subscription.unsubscribe()
            return found

        return self.ask(collect)


class SealedNatsServer(NatsServer):
    """A server that asks for TLS, as `localhost`."""

    more = TLS

    @property
    def url(self) -> str:
        return re.sub(r"127\.0\.0\.1", "localhost", super().url)

    @property
    def options(self) -> dict[str, Any]:
        import ssl

        return {"tls": ssl.create_default_context(cafile=str(self.authorities))}


async def ignore(_: Exception) -> None:
    """A client's errors come as exceptions too."""
