"""`nats`: events into streams of NATS JetStream.

One event is one message: the subject is made from the event, the body is the event as JSON, the
headers are `Nats-Msg-Id`, `app`, `type` and `event`. A user's next event is published when the
stream has stored the one before; those of different users go side by side.

An event is delivered when a stream acknowledges it. `Nats-Msg-Id` is the app, a colon and the
messageId (percent-encoded where it holds more than letters, digits and `-._~`): within the stream's
`duplicate_window` an event that is sent again because an answer was lost is stored once. The window
is two minutes unless the stream says otherwise; past it a message may come twice.

Streams are never made here. A subject that no stream takes, another stream than `stream`, a missing
right and a refused sign-in park the destination; a stream that is full, or has no leader, is a
retry. An event larger than the server's `max_payload` or the stream's limit becomes a dead letter
alone. A host at a private address needs `allow_private_addresses`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import quote

import msgspec
from msgspec import Meta

from trunkline.kit.channel_settings import Authorities, UseTls
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Attempt, Channel, Example, Mapped, SecretText, Settings
from trunkline.kit.routing_names import check_name, fill_name, is_fixed
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry

if TYPE_CHECKING:
    from nats.aio.client import Client

_PLACEHOLDERS = ("app", "type", "event")
_UNDER_WAY_MAX = 256  # messages that are published and not acknowledged
_IDLE_SECONDS_MAX = 30.0  # a connection that rested longer is made anew: nobody answered its pings
_CLOSE_SECONDS = 2.0
_HEADERS_BYTES = 16  # of a message beside its headers and its body
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_SUBJECT = re.compile(r"[^\s.*>$][^\s.*>]*(\.[^\s.*>]+)*")
_SERVER = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_TOO_LARGE_CODE = 10054  # of JetStream: larger than the stream's messages may be
_PURCHASE = msgspec.json.encode(PURCHASE) + b"\n"
_SIGN_UP = msgspec.json.encode(SIGN_UP) + b"\n"


class NatsSettings(Settings, frozen=True, kw_only=True):
    """The settings of a NATS with JetStream."""

    servers: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4096,
            description="Servers to begin with: `HOST` or `HOST:PORT`, several parted by commas.",
        ),
    ]
    subject: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=512,
            description="The subject. `{app}`, `{type}` and `{event}` stand for those of the "
            "event, with letters, digits, `_` and `-` alone, so that they add no level.",
        ),
    ] = "events.{app}.{type}.{event}"
    stream: Annotated[
        str | None,
        Meta(
            description="The stream that must take the events; the destination parks where another "
            "one would. Left out: whichever takes the subject."
        ),
    ] = None
    username: Annotated[str | None, Meta(description="The user that signs in.")] = None
    password: Annotated[SecretText | None, Meta(description="The password for it.")] = None
    token: Annotated[
        SecretText | None, Meta(description="A token to sign in with instead of a user.")
    ] = None
    tls: UseTls = False
    tls_ca: Authorities = None
    tls_certificate: Annotated[
        str | None, Meta(description="A PEM file of our certificate, where servers ask for one.")
    ] = None
    tls_key: Annotated[str | None, Meta(description="A PEM file of its private key.")] = None

    def __post_init__(self) -> None:
        check_name("subject", self.subject, _PLACEHOLDERS)
        if not _SUBJECT.fullmatch(re.sub(r"\{[^{}]*\}", "x", self.subject)):
            raise ValueError("subject is no subject; give words parted by dots, no `*` nor `>`")
        names = _names_in(self.servers)
        if not names or not all(_SERVER.fullmatch(name) for name in names):
            raise ValueError("servers holds what is no HOST or HOST:PORT; user and token have ones")
        if bool(self.username) != bool(self.password):
            raise ValueError("username and password go together; give both or neither")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key go together; give both or neither")


class Nats(Channel[NatsSettings]):
    """Events into streams."""

    kind = "nats"
    host_settings = ("servers",)
    title = "NATS JetStream"
    settings_type = NatsSettings

    def __init__(self, settings: NatsSettings) -> None:
        super().__init__(settings)
        self._clock = SystemClock()
        self._loop: asyncio.AbstractEventLoop | None = None  # runs while `deliver` waits on it
        self._link: _Link | None = None
        self._used_at = 0.0

    def open(self) -> None:
        """Nothing yet: `deliver` connects, for it can say whose fault it is when that fails."""

    def deliver(
        self,
        events: Sequence[Mapped],
        attempt: Attempt,  # noqa: ARG002  of the contract; a message tells no attempt
    ) -> Sequence[Outcome]:
        """Publish the events and wait until a stream has acknowledged each."""
        return self._run(self._deliver(events))

    def check(self) -> str:
        """Sign in and look at the stream; nothing is published."""
        try:
            return self._run(self._check())
        except _Failed as failure:
            raise ConnectionError(failure.outcome.reason) from None
        finally:
            self.close()

    def close(self) -> None:
        """Disconnect."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.run_until_complete(self._let_go())
            loop.close()

    def encode(self, events: Sequence[Mapped]) -> bytes:
        """Return the messages as text: subject, headers, and the body in a line of its own."""
        lines: list[bytes] = []
        for event in events:
            headers = _headers_of(event, self.settings.stream).items()
            shown = [f"subject={fill_name(self.settings.subject, event)}"]
            shown += [f"{name}={value}" for name, value in headers]
            lines += [" ".join(shown).encode(), event.body]
        return b"".join(line + b"\n" for line in lines)

    def _run(self, work: Any) -> Any:
        self._loop = self._loop or asyncio.new_event_loop()
        return self._loop.run_until_complete(work)

    async def _deliver(self, events: Sequence[Mapped]) -> list[Outcome]:
        deadline = self._clock.monotonic() + self.settings.timeout_seconds
        try:
            link = await self._connected(deadline)
        except _Failed as failure:
            return [failure.outcome] * len(events)
        found: list[Outcome | None] = [None] * len(events)
        await link.while_up(
            [link.publish_all(events, lane, found) for lane in _lanes_of(events)],
            deadline - self._clock.monotonic(),
        )
        self._used_at = self._clock.monotonic()
        if link.trouble is not None or None in found:
            await self._let_go()
        rest = link.trouble or Retry("no acknowledgement within timeout_seconds")
        return [rest if outcome is None else outcome for outcome in found]

    async def _check(self) -> str:
        deadline = self._clock.monotonic() + self.settings.timeout_seconds
        link = await self._connected(deadline)
        said: list[str] = []
        await link.while_up([link.look(said)], deadline - self._clock.monotonic())
        if not said:
            raise _Failed(link.trouble or Retry("JetStream does not answer; is it enabled?"))
        return f"Signed in to nats-server {link.version}; {said[0]}. Nothing was published."

    async def _connected(self, deadline: float) -> _Link:
        rested = self._clock.monotonic() - self._used_at
        if self._link is not None and (rested > _IDLE_SECONDS_MAX or not self._link.is_up):
            await self._let_go()
        if self._link is None:
            self._link = _Link(self.settings)
            try:
                await self._link.connect(deadline - self._clock.monotonic())
            except _Failed:
                await self._let_go()
                raise
        return self._link

    async def _let_go(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "One event",
            settings={
                "servers": "nats.example.com",
                "username": "trunkline",
                "password": "of-the-secret-store",
            },
            events=(PURCHASE,),
            text=(
                b"subject=events.zcmwmxbkmuodelu.track.Purchase_Completed "
                b"Nats-Msg-Id=zcmwmxbkmuodelu:7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901 "
                b"app=zcmwmxbkmuodelu type=track event=Purchase Completed\n" + _PURCHASE
            ),
        ),
        Example(
            "Into one stream and no other, with a sign-in over TLS",
            settings={
                "servers": "nats-1.example.com:4222,nats-2.example.com:4222",
                "subject": "crm",
                "stream": "CRM",
                "token": "of-the-secret-store",
                "tls": True,
            },
            events=(SIGN_UP,),
            text=(
                b"subject=crm Nats-Msg-Id=zcmwmxbkmuodelu:order-1002-signup "
                b"app=zcmwmxbkmuodelu type=identify Nats-Expected-Stream=CRM\n" + _SIGN_UP
            ),
        ),
        Example(
            "A subject for each type of event, in large batches",
            settings={
                "servers": "nats.example.com",
                "subject": "events.{type}",
                "batch_events_max": 1000,
            },
            events=(SIGN_UP,),
            text=(
                b"subject=events.identify Nats-Msg-Id=zcmwmxbkmuodelu:order-1002-signup "
                b"app=zcmwmxbkmuodelu type=identify\n" + _SIGN_UP
            ),
        ),
    )


class _Failed(Exception):
    """Something could not be done; `outcome` is what that means for the events."""

    def __init__(self, outcome: Blocked | Retry) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Link:
    """One connection. `trouble` is what ended it, or what a server said of our rights."""

    def __init__(self, settings: NatsSettings) -> None:
        self._settings = settings
        self._client: Any = None
        self._jetstream: Any = None
        self._broken = asyncio.Event()
        self._room = asyncio.Semaphore(_UNDER_WAY_MAX)
        self._said: list[Exception] = []  # of the servers that were tried
        self.trouble: Blocked | Retry | None = None

    @property
    def is_up(self) -> bool:
        """Say whether it can be used."""
        return self.trouble is None and bool(self._client.is_connected)

    @property
    def version(self) -> str:
        """The server's."""
        return str(self._client.connected_server_version)

    async def connect(self, seconds: float) -> None:
        """Connect and sign in. Raises `_Failed`."""
        settings = self._settings
        try:
            context = _tls_of(settings)
        except (OSError, ValueError) as error:
            said = f"the files of TLS cannot be used: {error}; correct them"
            raise _Failed(Blocked(said)) from error
        self._client = _new_client(is_sealed=settings.tls)
        try:
            async with asyncio.timeout(max(0.1, seconds)):
                await self._client.connect(
                    [f"nats://{name}" for name in _names_in(settings.servers)],
                    error_cb=self._hear,
                    closed_cb=self._end,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0.05,
                    connect_timeout=settings.timeout_seconds,
                    user=settings.username,
                    password=settings.password,
                    token=settings.token,
                    tls=context,
                )
        except Exception as error:
            raise _Failed(self._outcome_of_start([*self._said, error])) from None
        self.trouble = None
        self._broken.clear()
        self._jetstream = self._client.jetstream(timeout=settings.timeout_seconds)

    async def while_up(self, works: Iterable[Any], seconds: float) -> None:
        """Do these side by side, for as long as there is time and the connection stands."""
        tasks = [asyncio.ensure_future(work) for work in works]
        done = asyncio.gather(*tasks)
        watch = asyncio.ensure_future(self._broken.wait())
        try:
            first: set[Any] = {done, watch}
            await asyncio.wait(first, timeout=max(0.1, seconds), return_when="FIRST_COMPLETED")
            if done.done():
                done.result()
        finally:
            for task in (*tasks, watch):
                task.cancel()
            await asyncio.gather(*tasks, watch, done, return_exceptions=True)

    async def publish_all(
        self, events: Sequence[Mapped], numbers: Sequence[int], found: list[Outcome | None]
    ) -> None:
        """Publish one user's events, each when the one before is stored."""
        for place, number in enumerate(numbers):
            async with self._room:
                found[number] = outcome = await self._publish(events[number])
            if isinstance(outcome, Retry | Blocked):
                for later in numbers[place + 1 :]:
                    found[later] = outcome
                return

    async def look(self, said: list[str]) -> None:
        """Add a sentence on the stream. Raises `_Failed`."""
        name, subject = self._settings.stream, self._settings.subject
        try:
            if name is None and not is_fixed(subject):
                await self._jetstream.account_info()
                said.append(f"each event names its subject ({subject})")
                return
            name = name or await self._jetstream.find_stream_name_by_subject(subject)
            config = (await self._jetstream.stream_info(name)).config
        except Exception as error:
            outcome = self._outcome_of_answer(error)
            if isinstance(outcome, Blocked | Retry):
                raise _Failed(outcome) from None
            raise
        said.append(
            f"stream {name} takes {', '.join(config.subjects or ())}, keeps "
            f"{config.num_replicas or 1} copies and looks {config.duplicate_window or 0:g} s back "
            "for what came before"
        )

    async def close(self) -> None:
        """Let go. What was not acknowledged was never called delivered."""
        with suppress(Exception):  # of a connection that is gone: whatever it says
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}  # the client waits for none of its
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _publish(self, event: Mapped) -> Outcome:
        from nats.js.errors import NoStreamResponseError

        headers = _headers_of(event, self._settings.stream)
        size = len(event.body) + sum(len(f"{k}: {v}".encode()) + 2 for k, v in headers.items())
        if size + _HEADERS_BYTES > self._client.max_payload:
            limit = self._client.max_payload
            return Rejected(f"the message has {size} bytes; the server's max_payload is {limit}")
        subject = fill_name(self._settings.subject, event)
        try:
            await self._jetstream.publish(subject, event.body, headers=headers)
        except NoStreamResponseError:
            return await self._outcome_of_silence(subject)
        except Exception as error:
            return self._outcome_of_answer(error)
        return Delivered()

    async def _outcome_of_silence(self, subject: str) -> Outcome:
        """Nobody listens at a subject: ask whether that is for ever or for a moment."""
        try:
            await self._jetstream.find_stream_name_by_subject(subject)
        except Exception as error:
            return self._outcome_of_answer(error)
        return Retry(f"the stream of {subject} does not answer at present")

    def _outcome_of_answer(self, error: Exception) -> Outcome:
        from nats.js.errors import APIError

        if self.trouble is not None or not isinstance(error, APIError):
            return self.trouble or Retry(_words_of(error))
        # Without words it is the client's own: it asked for the streams of the subject, in vain.
        words = error.description or f"no stream takes {self._settings.subject}"
        said = f"JetStream: {words} (code {error.err_code or error.code or 404})"
        if error.err_code == _TOO_LARGE_CODE:
            return Rejected(f"{said}; see the stream's max_msg_size")
        if 400 <= (error.code or 404) < 500:
            return Blocked(f"{said}; correct the settings, or the stream")
        return Retry(said)

    async def _hear(self, error: Exception) -> None:
        self._said.append(error)
        if "permissions violation" in str(error).lower():
            # The server does not answer a message that it may not take: nothing else will come.
            self._break(Blocked(f"{_words_of(error)}; grant it, or correct the settings"))

    async def _end(self) -> None:
        self._break(Retry("the connection ended before the acknowledgement"))

    def _break(self, trouble: Blocked | Retry) -> None:
        self.trouble = self.trouble or trouble
        self._broken.set()

    def _outcome_of_start(self, errors: Sequence[Exception]) -> Blocked | Retry:
        """Return what it means that no server let us in: one that may yet decides it."""
        outcomes = [outcome for error in errors if (outcome := self._outcome_of(error)) is not None]
        waiting = [outcome for outcome in outcomes if isinstance(outcome, Retry)]
        return (waiting or outcomes or [Retry("no server answers")])[0]

    def _outcome_of(self, error: Exception) -> Blocked | Retry | None:
        servers = self._settings.servers
        if isinstance(error, ssl.SSLCertVerificationError):
            return Blocked(f"{servers}: {error.verify_message}; correct tls_ca or servers")
        if isinstance(error, socket.gaierror):
            return Blocked(f"{servers}: {error.strerror}; correct servers")
        if isinstance(error, _NotSealed):
            return Blocked(f"{servers}: the server offers no TLS; correct it, or tls")
        text = _words_of(error)
        if "authorization" in text.lower():
            return Blocked(f"the sign-in is refused: {text}; correct username, password or token")
        if type(error).__name__ == "NoServersError":
            return None  # says that, and not why
        return Retry(f"{servers}: {text}")


class _NotSealed(Exception):
    """A server does not ask for TLS where the settings do. Nothing was signed in to."""


def _new_client(*, is_sealed: bool) -> Client:
    from nats.aio.client import Client

    class SealedClient(Client):
        async def _process_info(
            self, info: dict[str, Any], initial_connection: bool = False
        ) -> None:
            # The library would go on in the clear, and send the password.
            if is_sealed and not info.get("tls_required"):
                raise _NotSealed
            await super()._process_info(info, initial_connection)

    return SealedClient()


def _tls_of(settings: NatsSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    context = ssl.create_default_context(cafile=settings.tls_ca)
    if settings.tls_certificate:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context


def _names_in(servers: str) -> list[str]:
    return [name.strip() for name in servers.split(",") if name.strip()]


def _lanes_of(events: Sequence[Mapped]) -> list[list[int]]:
    """Return the events' numbers by user; events of nobody have no order."""
    lanes: dict[str | int, list[int]] = {}
    for number, event in enumerate(events):
        lanes.setdefault(event.user or number, []).append(number)
    return list(lanes.values())


def _headers_of(event: Mapped, stream: str | None) -> dict[str, str]:
    message_id = quote(event.message_id.encode("utf-8", "surrogatepass"), safe="")
    headers = {
        "Nats-Msg-Id": f"{event.app}:{message_id}",
        "app": event.app,
        "type": event.type,
        "event": _CONTROL.sub(" ", event.name).strip(),
        "Nats-Expected-Stream": stream or "",
    }
    return {name: value for name, value in headers.items() if value}


def _words_of(error: Exception) -> str:
    return (str(error) or type(error).__name__).removeprefix("nats: ")[:500]
