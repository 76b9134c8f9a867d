"""`redis`: events into streams of Redis, and of what speaks its protocol (Valkey).

One event is one entry: the fields `messageId`, `app`, `type`, `event` and `user` where there are
such, and `body` with the event as JSON. Entries are written in the order of the events.

An event is delivered when the server has answered. A script writes entry and marker in one step:
while the marker is kept (`dedupe_hours`), an event that is sent again because an answer was lost
is not written again, also across a restart of the server. Markers are keys of the form
`trunkline:{STREAM}:` and a hash of app and messageId; each takes about 180 bytes.

What the server keeps is its own setting: without an append-only file a crash of it loses what it
had answered for, and a `maxmemory-policy` other than `noeviction` may throw streams away. `check`
says so. A cluster is not spoken to; give it a server that holds the whole.

A refused sign-in, a missing right and a key that is no stream park the destination; a server that
is full, loading or a replica is a retry. An event larger than `message_bytes_max` becomes a dead
letter alone. A host at a private address needs `allow_private_addresses`.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import msgspec
from msgspec import Meta

from trunkline.kit.channel_settings import Authorities, UseTls
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Attempt, Channel, Example, Mapped, SecretText, Settings
from trunkline.kit.routing_names import check_name, fill_name, is_fixed
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry

if TYPE_CHECKING:
    from redis import Redis as Client

_PLACEHOLDERS = ("app", "type", "event")
_SCRIPT_EVENTS_MAX = 250  # in one call: it holds up everybody else for about a millisecond
_IDLE_SECONDS_MAX = 30.0  # a connection that rested longer is made anew: who knows what cut it
_CAUSES_MAX = 16
_PURCHASE = msgspec.json.encode(PURCHASE) + b"\n"
_SIGN_UP = msgspec.json.encode(SIGN_UP) + b"\n"
# KEYS: the stream, then one marker for each event. ARGV: its length (0: any), the markers' time in
# milliseconds (0: no markers), then for each event how many fields and values it has, and those.
# It stops at the first entry that is refused, so that nothing is written before what it follows.
_SCRIPT = """
local at = 3
for number = 2, #KEYS do
  local count = tonumber(ARGV[at])
  if ARGV[2] == '0' or redis.call('EXISTS', KEYS[number]) == 0 then
    local command = {'XADD', KEYS[1]}
    if ARGV[1] ~= '0' then
      for _, word in ipairs({'MAXLEN', '~', ARGV[1]}) do table.insert(command, word) end
    end
    table.insert(command, '*')
    for i = at + 1, at + count do table.insert(command, ARGV[i]) end
    local added = redis.pcall(unpack(command))
    if type(added) == 'table' then return {number - 2, added.err} end
    if ARGV[2] ~= '0' then redis.call('SET', KEYS[number], added, 'PX', ARGV[2]) end
  end
  at = at + count + 1
end
return {#KEYS - 1, ''}
"""
# The first word of an error is its kind; all others may pass by themselves.
_BLOCKED = frozenset({"WRONGTYPE", "NOPERM", "NOAUTH", "WRONGPASS", "MOVED", "CROSSSLOT", "ERR"})


class RedisSettings(Settings, frozen=True, kw_only=True):
    """The settings of a Redis."""

    host: Annotated[str, Meta(min_length=1, max_length=253, description="The host of the server.")]
    port: Annotated[int, Meta(description="The port of the server.")] = 6379
    database: Annotated[
        int, Meta(ge=0, le=65_535, description="The number of the database, for most 0.")
    ] = 0
    username: Annotated[
        str | None,
        Meta(description="The user that signs in. Left out: the default user."),
    ] = None
    password: Annotated[
        SecretText | None, Meta(description="The password. Left out: no sign-in.")
    ] = None
    stream: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=512,
            description="The key of the stream. `{app}`, `{type}` and `{event}` stand for those of "
            "the event; of these letters, digits, `_` and `-` are kept.",
        ),
    ]
    length_max: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000_000)] | None,
        Meta(
            description="How many entries a stream keeps, roughly (`MAXLEN ~`); the oldest go, "
            "read or not. Left out: all."
        ),
    ] = None
    dedupe_hours: Annotated[
        float,
        Meta(
            ge=0,
            le=8760,
            description="How long the server remembers that an event was written, in hours. With "
            "0 no markers are kept, and an event may come twice when an answer is lost.",
        ),
    ] = 24.0
    tls: UseTls = False
    tls_ca: Authorities = None
    message_bytes_max: Annotated[
        int,
        Meta(
            ge=1000,
            le=536_870_912,
            description="Bytes of one event. A larger one becomes a dead letter.",
        ),
    ] = 16_777_216

    def __post_init__(self) -> None:
        fixed = check_name("stream", self.stream, _PLACEHOLDERS)
        if any(character.isspace() or not character.isprintable() for character in fixed):
            raise ValueError("stream may hold no spaces and no control characters")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}; give 1 to 65535")
        if self.username and not self.password:
            raise ValueError("username has no password; give both, or neither")


class Redis(Channel[RedisSettings]):
    """Events into streams."""

    kind = "redis"
    host_settings = ("host",)
    title = "Redis streams"
    settings_type = RedisSettings

    def __init__(self, settings: RedisSettings) -> None:
        super().__init__(settings)
        self._clock = SystemClock()
        self._client: Client | None = None
        self._used_at = 0.0

    def open(self) -> None:
        """Nothing yet: `deliver` connects, for it can say whose fault it is when that fails."""

    def deliver(
        self,
        events: Sequence[Mapped],
        attempt: Attempt,  # noqa: ARG002  of the contract; an entry tells no attempt
    ) -> Sequence[Outcome]:
        """Write the events, stream by stream, each once while its marker is kept."""
        deadline = self._clock.monotonic() + self.settings.timeout_seconds
        found: dict[int, Outcome] = {}
        streams: dict[str, list[int]] = {}
        for number, event in enumerate(events):
            size = len(event.body)
            if size > self.settings.message_bytes_max:
                limit = self.settings.message_bytes_max
                found[number] = Rejected(f"the event has {size} bytes; message_bytes_max: {limit}")
            else:
                streams.setdefault(fill_name(self.settings.stream, event), []).append(number)
        for stream, numbers in streams.items():
            self._write_all(stream, numbers, events, found, deadline)
        self._used_at = self._clock.monotonic()
        return [found[number] for number in range(len(events))]

    def check(self) -> str:
        """Sign in, look at the stream and at what the server keeps; nothing is written."""
        from redis.exceptions import RedisError

        try:
            client: Any = self._connect()
            server = cast("dict[str, Any]", client.info())
            said = self._look(client)
        except (RedisError, OSError) as error:
            raise ConnectionError(self._outcome_of(error).reason) from None
        finally:
            self.close()
        version = server.get("redis_version", "?")
        return f"Signed in to Redis {version}; {said}. Nothing was written.{_warnings_of(server)}"

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def encode(self, events: Sequence[Mapped]) -> bytes:
        """Return the entries as text: the stream and the short fields, and the body in its line."""
        lines: list[bytes] = []
        for event in events:
            shown = [f"stream={fill_name(self.settings.stream, event)}"]
            shown += [f"{name}={value}" for name, value in _fields_of(event).items()]
            lines += [" ".join(shown).encode(), event.body]
        return b"".join(line + b"\n" for line in lines)

    def _write_all(
        self,
        stream: str,
        numbers: Sequence[int],
        events: Sequence[Mapped],
        found: dict[int, Outcome],
        deadline: float,
    ) -> None:
        for start in range(0, len(numbers), _SCRIPT_EVENTS_MAX):
            part = numbers[start : start + _SCRIPT_EVENTS_MAX]
            is_late = self._clock.monotonic() > deadline
            done, failure = (
                (0, Retry("timeout_seconds is over"))
                if is_late
                else self._write(stream, [events[number] for number in part])
            )
            found.update((number, Delivered()) for number in part[:done])
            if failure is not None:
                # What comes after it waits, so that nobody's events change places.
                found.update((number, failure) for number in numbers[start + done :])
                return

    def _write(self, stream: str, events: Sequence[Mapped]) -> tuple[int, Outcome | None]:
        """Return how many were written, and what holds up the others."""
        from redis.exceptions import RedisError

        settings = self.settings
        keys = [stream, *(_marker_of(stream, event) for event in events)]
        values: list[Any] = [settings.length_max or 0, int(settings.dedupe_hours * 3_600_000)]
        for event in events:
            pairs = [*_fields_of(event).items(), ("body", event.body)]
            values += [2 * len(pairs), *(part for pair in pairs for part in pair)]
        try:
            client: Any = self._connect()
            done, error = client.eval(_SCRIPT, len(keys), *keys, *values)
        except (RedisError, OSError) as error:
            self.close()
            return 0, self._outcome_of(error)
        text = error.decode("utf-8", "replace")
        return int(done), self._outcome_of_words(text) if text else None

    def _connect(self) -> Client:
        from redis import Redis as Client
        from redis.backoff import NoBackoff
        from redis.retry import Retry as Retries

        if self._clock.monotonic() - self._used_at > _IDLE_SECONDS_MAX:
            self.close()
        if self._client is None:
            settings = self.settings
            if settings.tls_ca is not None and not Path(settings.tls_ca).is_file():
                raise FileNotFoundError(settings.tls_ca)
            self._client = Client(
                host=settings.host,
                port=settings.port,
                db=settings.database,
                username=settings.username,
                password=settings.password,
                socket_timeout=settings.timeout_seconds,
                socket_connect_timeout=settings.timeout_seconds,
                ssl=settings.tls,
                ssl_ca_certs=settings.tls_ca,
                retry=Retries(NoBackoff(), 0),  # the forwarder's
                protocol=2,
            )
        self._used_at = self._clock.monotonic()
        return self._client

    def _look(self, client: Any) -> str:
        stream = self.settings.stream
        if not is_fixed(stream):
            return f"each event names its stream ({stream})"
        kind = client.type(stream).decode()
        if kind == "none":
            return f"stream {stream} comes with its first event"
        if kind != "stream":
            raise ConnectionError(f"the key {stream} is a {kind} and no stream; give another name")
        return f"stream {stream} has {client.xlen(stream)} entries"

    def _outcome_of(self, error: Exception) -> Blocked | Retry:
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Blocked(f"{self.settings.host}: {cause.verify_message}; correct tls_ca")
            if isinstance(cause, socket.gaierror):
                return Blocked(f"{self.settings.host}: {cause.strerror}; correct host")
            if isinstance(cause, FileNotFoundError):
                return Blocked(f"tls_ca {self.settings.tls_ca} is not there; correct it")
        from redis.exceptions import AuthenticationError

        text = str(error) or type(error).__name__
        if isinstance(error, AuthenticationError):
            return Blocked(self._hide(f"the sign-in is refused: {text}; correct the password"))
        return self._outcome_of_words(f"{getattr(error, 'status_code', None) or ''} {text}")

    def _outcome_of_words(self, text: str) -> Blocked | Retry:
        text = self._hide(" ".join(text.split()))
        if _is_blocked(text):
            return Blocked(f"{text}; correct the settings or the rights there")
        return Retry(text)

    def _hide(self, text: str) -> str:
        secret = self.settings.password
        return (text.replace(secret, "***") if secret else text)[:500]

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "One stream, of about a million entries",
            settings={"host": "redis.example.com", "stream": "events", "length_max": 1_000_000},
            events=(PURCHASE,),
            text=(
                b"stream=events messageId=7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901 "
                b"app=zcmwmxbkmuodelu type=track event=Purchase Completed user=u:u-42\n" + _PURCHASE
            ),
        ),
        Example(
            "A stream for each name of an event",
            settings={"host": "redis.example.com", "stream": "{app}:{event}", "dedupe_hours": 72},
            events=(PURCHASE,),
            text=(
                b"stream=zcmwmxbkmuodelu:Purchase_Completed "
                b"messageId=7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901 "
                b"app=zcmwmxbkmuodelu type=track event=Purchase Completed user=u:u-42\n" + _PURCHASE
            ),
        ),
        Example(
            "With a sign-in over TLS",
            settings={
                "host": "redis.example.com",
                "port": 6380,
                "username": "trunkline",
                "password": "of-the-secret-store",
                "tls": True,
                "stream": "crm",
            },
            events=(SIGN_UP,),
            text=(
                b"stream=crm messageId=order-1002-signup app=zcmwmxbkmuodelu type=identify "
                b"user=u:u-43\n" + _SIGN_UP
            ),
        ),
    )


def _fields_of(event: Mapped) -> dict[str, str]:
    fields = {
        "messageId": event.message_id,
        "app": event.app,
        "type": event.type,
        "event": event.name,
        "user": event.user,
    }
    return {name: value for name, value in fields.items() if value}


def _marker_of(stream: str, event: Mapped) -> str:
    """Return the key that says that an event is there. The braces keep it beside its stream."""
    text = f"{event.app}\0{event.message_id}".encode("utf-8", "surrogatepass")
    return f"trunkline:{{{stream}}}:{hashlib.sha256(text).hexdigest()[:32]}"


def _is_blocked(text: str) -> bool:
    """Say whether a person must act. `ERR` is also the word for a client that may come later."""
    words = text.removeprefix("-").split(maxsplit=1)
    if not words or "max number of clients" in text:
        return False
    return words[0] in _BLOCKED or "no permissions" in text.lower()


def _warnings_of(server: Mapping[str, Any]) -> str:
    found: list[str] = []
    if not server.get("aof_enabled"):
        found.append("appendonly is off: a crash of the server loses what it has not saved.")
    policy = str(server.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and server.get("maxmemory"):
        found.append(f"maxmemory-policy is {policy}: a full server may throw events away.")
    if server.get("role") not in (None, "master"):
        found.append("This server is a replica: it takes no events.")
    return "".join(f" {sentence}" for sentence in found)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__
