"""`rabbitmq`: events to an exchange of RabbitMQ, and of what speaks AMQP 0-9-1.

One event is one persistent message: the body is the event as JSON, `message_id` the messageId,
`type` its type, `app_id` its app; the headers `messageId` and `event` say it without AMQP's limit
of 255 bytes. Events go over one channel, in their order.

An event is delivered when the broker confirms it, for durable queues with the message on disk.
AMQP knows no idempotency: after a lost connection what was not confirmed is published again, and
may come twice. Consumers keep the `message_id`.

With `mandatory` an event that no queue would get is not lost in silence: the destination parks and
says which key led nowhere. So do a missing exchange, vhost or right, and a refused sign-in. An
event larger than `message_bytes_max`, or than the broker takes, becomes a dead letter alone.
Exchanges, queues and bindings are never made here.

A host at a private address needs `allow_private_addresses`.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, ClassVar, cast

import msgspec
from msgspec import Meta

from trunkline.kit.channel_settings import Authorities, UseTls
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Attempt, Channel, Example, Mapped, SecretText, Settings
from trunkline.kit.routing_names import check_name, fill_name, is_fixed, keep_user_order
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry

_SHORT_BYTES_MAX = 255  # of AMQP's short texts: names, keys, ids
_IDLE_SECONDS_MAX = 30.0  # a connection that rested longer is made anew: who knows what cut it
_CLOSE_SECONDS = 1.0
_CAUSES_MAX = 32
_SIGN_UP = msgspec.json.encode(SIGN_UP) + b"\n"
_PURCHASE = msgspec.json.encode(PURCHASE) + b"\n"
_SIGN_IN = {
    "host": "rabbitmq.example.com",
    "username": "trunkline",
    "password": "of-the-secret-store",
}
_PLACEHOLDERS = ("app", "type", "event")
_TOO_LARGE = frozenset({311, 406})
_BLOCKED = frozenset({402, 403, 404, 530})  # no such vhost, no right, no exchange, not allowed


class RabbitmqSettings(Settings, frozen=True, kw_only=True):
    """The settings of a RabbitMQ."""

    host: Annotated[str, Meta(min_length=1, max_length=253, description="The host of the broker.")]
    port: Annotated[
        int | None,
        Meta(description="Its port. Left out: 5672, with TLS 5671."),
    ] = None
    vhost: Annotated[
        str, Meta(min_length=1, max_length=255, description="The virtual host to sign in to.")
    ] = "/"
    username: Annotated[
        str, Meta(min_length=1, max_length=255, description="The user that signs in.")
    ]
    password: Annotated[SecretText, Meta(description="The password for it.")]
    exchange: Annotated[
        str,
        Meta(
            max_length=255,
            description="The exchange; `{app}`, `{type}` and `{event}` stand for those of the "
            "event. Empty: the default one, where the routing key names a queue.",
        ),
    ] = ""
    routing_key: Annotated[
        str,
        Meta(
            max_length=255,
            description="The routing key, with the same placeholders. What comes from an event has "
            "letters, digits, `_` and `-` alone, so that it adds no word to a key.",
        ),
    ] = "{app}.{type}.{event}"
    mandatory: Annotated[
        bool,
        Meta(description="Park where no queue would get an event. Off: the broker drops it."),
    ] = True
    tls: UseTls = False
    tls_ca: Authorities = None
    message_bytes_max: Annotated[
        int,
        Meta(
            ge=1000,
            le=134_217_728,
            description="Bytes of one event. A larger one becomes a dead letter.",
        ),
    ] = 16_777_216

    def __post_init__(self) -> None:
        for name in ("exchange", "routing_key"):
            check_name(name, getattr(self, name), _PLACEHOLDERS)
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}; give 1 to 65535, or leave it out")
        if not self.exchange and not self.routing_key:
            raise ValueError("routing_key is empty; with the default exchange it names a queue")


class Rabbitmq(Channel[RabbitmqSettings]):
    """Events to an exchange."""

    kind = "rabbitmq"
    host_settings = ("host",)
    title = "RabbitMQ"
    settings_type = RabbitmqSettings

    def __init__(self, settings: RabbitmqSettings) -> None:
        super().__init__(settings)
        self._clock = SystemClock()
        self._link: _Link | None = None
        self._used_at = 0.0

    def open(self) -> None:
        """Nothing yet: `deliver` connects, for it can say whose fault it is when that fails."""

    def deliver(
        self,
        events: Sequence[Mapped],
        attempt: Attempt,  # noqa: ARG002  of the contract; a message tells no attempt
    ) -> Sequence[Outcome]:
        """Publish the events and wait until each is confirmed or returned."""
        deadline = self._clock.monotonic() + self.settings.timeout_seconds
        found: list[Outcome | None] = [self._refusal_of(event) for event in events]
        wanted = [number for number, outcome in enumerate(found) if outcome is None]
        code = self._publish(events, wanted, found, deadline)
        if code in _TOO_LARGE:
            # The broker closes the channel at a message it finds too large, and does not say which.
            for number in [n for n in wanted if isinstance(found[n], Retry)]:
                if self._publish(events, [number], found, deadline) in _TOO_LARGE:
                    found[number] = Rejected("the broker finds it too large; see max_message_size")
        self._used_at = self._clock.monotonic()
        return keep_user_order(events, cast("list[Outcome]", found))

    def check(self) -> str:
        """Sign in and look for the exchange, or the queue; nothing is published."""
        link = _Link(self.settings, self._clock)
        deadline = self._clock.monotonic() + self.settings.timeout_seconds
        try:
            link.connect(deadline)
            said = self._look(link, deadline)
        except _Failed as failure:
            raise ConnectionError(failure.reason) from None
        finally:
            link.close()
        return f"Signed in to vhost {self.settings.vhost}; {said}. Nothing was published."

    def close(self) -> None:
        """Disconnect."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def encode(self, events: Sequence[Mapped]) -> bytes:
        """Return the messages as text: where to, the properties, and the body in its own line."""
        lines: list[bytes] = []
        for event in events:
            exchange, key = self._route(event)
            shown = [f"exchange={exchange} routing_key={key} message_id={_short(event.message_id)}"]
            shown += [f"type={event.type} app_id={event.app}"]
            shown += [f"event={event.name}"] if event.name else []
            lines += [" ".join(shown).encode(), event.body]
        return b"".join(line + b"\n" for line in lines)

    def _route(self, event: Mapped) -> tuple[str, str]:
        settings = self.settings
        return (
            _short(fill_name(settings.exchange, event)),
            _short(fill_name(settings.routing_key, event)),
        )

    def _refusal_of(self, event: Mapped) -> Outcome | None:
        limit = self.settings.message_bytes_max
        if len(event.body) <= limit:
            return None
        return Rejected(f"the event has {len(event.body)} bytes; message_bytes_max is {limit}")

    def _publish(
        self,
        events: Sequence[Mapped],
        numbers: Sequence[int],
        found: list[Outcome | None],
        deadline: float,
    ) -> int:
        """Publish these, write down what became of each; return the code of a closed channel."""
        try:
            link = self._connected(deadline)
        except _Failed as failure:
            for number in numbers:
                found[number] = failure.outcome
            return 0
        for number in numbers:
            event = events[number]
            link.publish(number, self._route(event), event, mandatory=self.settings.mandatory)
        link.wait(deadline)
        for number in numbers:
            found[number] = link.outcome_of(number)
        if link.is_done:
            return 0
        code = link.code
        self.close()
        return code

    def _connected(self, deadline: float) -> _Link:
        rested = self._clock.monotonic() - self._used_at
        if self._link is not None and (rested > _IDLE_SECONDS_MAX or not self._link.is_up()):
            self.close()
        if self._link is None:
            link = _Link(self.settings, self._clock)
            try:
                link.connect(deadline)
            except _Failed:
                link.close()
                raise
            self._link = link
        return self._link

    def _look(self, link: _Link, deadline: float) -> str:
        exchange, key = self.settings.exchange, self.settings.routing_key
        what, name = ("exchange", exchange) if exchange else ("queue", key)
        if not is_fixed(name):
            return f"each event names its {what} ({name})"
        link.look(what, name, deadline)
        return f"{what} {name} is there"

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "One event, into a topic exchange",
            settings={**_SIGN_IN, "exchange": "events"},
            events=(PURCHASE,),
            text=(
                b"exchange=events routing_key=zcmwmxbkmuodelu.track.Purchase_Completed "
                b"message_id=7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901 "
                b"type=track app_id=zcmwmxbkmuodelu event=Purchase Completed\n" + _PURCHASE
            ),
        ),
        Example(
            "Straight into one queue, over TLS",
            settings={**_SIGN_IN, "routing_key": "crm", "tls": True},
            events=(SIGN_UP,),
            text=(
                b"exchange= routing_key=crm message_id=order-1002-signup "
                b"type=identify app_id=zcmwmxbkmuodelu\n" + _SIGN_UP
            ),
        ),
        Example(
            "An exchange for each app; what nobody listens for may go",
            settings={
                **_SIGN_IN,
                "vhost": "shop",
                "exchange": "{app}",
                "routing_key": "{type}",
                "mandatory": False,
            },
            events=(SIGN_UP,),
            text=(
                b"exchange=zcmwmxbkmuodelu routing_key=identify message_id=order-1002-signup "
                b"type=identify app_id=zcmwmxbkmuodelu\n" + _SIGN_UP
            ),
        ),
    )


class _Failed(Exception):
    """There is no connection; `outcome` is what that means for the events, `reason` says why."""

    def __init__(self, outcome: Blocked | Retry) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
        self.reason = outcome.reason


class _Link:
    """One connection with one channel that confirms. Its loop runs while somebody waits on it."""

    def __init__(self, settings: RabbitmqSettings, clock: SystemClock) -> None:
        self._settings = settings
        self._clock = clock
        self._connection: Any = None
        self._channel: Any = None
        self._failure: BaseException | None = None  # why it is closed
        self._tags: dict[
            int, tuple[int, str]
        ] = {}  # delivery tag → number, message id, of what is not confirmed yet
        self._next_tag = 1
        self._outcomes: dict[int, Outcome] = {}
        self._returned: dict[str, str] = {}  # message id → where it led
        self._is_answered = False
        self._is_over: Callable[[], bool] = bool

    @property
    def is_done(self) -> bool:
        """Say whether all is confirmed and the channel still open."""
        return self._failure is None and not self._tags

    @property
    def code(self) -> int:
        """The broker's code where it closed the channel or the connection, else 0."""
        return int(getattr(self._failure, "reply_code", 0))

    def connect(self, deadline: float) -> None:
        """Connect, sign in, open the channel. Raises `_Failed`."""
        import pika

        logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it has to say comes as errors
        try:
            parameters = _parameters_of(self._settings)
        except (OSError, ValueError) as error:
            raise _Failed(Blocked(f"tls_ca cannot be used: {error}; correct it")) from error
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=self._open_channel,
            on_open_error_callback=self._end,
            on_close_callback=self._end,
        )
        self._run(deadline, lambda: self._is_answered or self._failure is not None)
        if self._failure is not None or not self._is_answered:
            raise _Failed(_outcome_of(self._failure, self._settings))

    def look(self, what: str, name: str, deadline: float) -> None:
        """Raise `_Failed` where an exchange or a queue is not there."""
        self._is_answered = False
        declare = getattr(self._channel, f"{what}_declare")
        declare(name, passive=True, callback=self._answer)
        self._run(deadline, lambda: self._is_answered or self._failure is not None)
        if not self._is_answered:
            raise _Failed(_outcome_of(self._failure, self._settings))

    def is_up(self) -> bool:
        """Say whether the connection stands, after hearing what came in while it rested."""
        self._run(self._clock.monotonic(), lambda: False)
        return self.is_done

    def publish(
        self, number: int, route: tuple[str, str], event: Mapped, *, mandatory: bool
    ) -> None:
        """Publish an event; `wait` tells what became of it."""
        from pika import BasicProperties

        if self._failure is not None:
            return
        if not self._tags:
            self._returned.clear()  # what led nowhere once may lead somewhere by now
        properties = BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=_short(event.message_id),
            type=event.type,
            app_id=event.app,
            headers={"messageId": event.message_id, "event": event.name},
        )
        self._channel.basic_publish(*route, event.body, properties, mandatory)
        self._tags[self._next_tag] = (number, _short(event.message_id))
        self._next_tag += 1

    def wait(self, deadline: float) -> None:
        """Run until everything is confirmed, the channel closed or time over."""
        self._run(deadline, lambda: not self._tags or self._failure is not None)

    def outcome_of(self, number: int) -> Outcome:
        """Return what became of an event."""
        return self._outcomes.pop(number, None) or _outcome_of(self._failure, self._settings)

    def close(self) -> None:
        """Let go. What was not confirmed was never called delivered."""
        connection = self._connection
        if connection is None:
            return
        if connection.is_open:
            connection.close()
        self._run(self._clock.monotonic() + _CLOSE_SECONDS, lambda: connection.is_closed)
        self._connection = None
        connection.ioloop.close()

    def _run(self, deadline: float, is_over: Callable[[], bool]) -> None:
        """Run the loop until it is over, or time is; with a deadline that is past, once."""
        loop = self._connection.ioloop
        self._is_over = is_over
        timer = loop.call_later(max(0.0, deadline - self._clock.monotonic()), loop.stop)
        if not is_over():
            loop.start()
        loop.remove_timeout(timer)

    def _stop_if_over(self) -> None:
        if self._is_over():
            self._connection.ioloop.stop()

    def _open_channel(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._set_up)

    def _set_up(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._end)
        channel.add_on_return_callback(self._take_return)
        channel.confirm_delivery(self._confirm, callback=self._answer)

    def _answer(self, _: Any) -> None:
        self._is_answered = True
        self._stop_if_over()

    def _end(self, _: Any, reason: Any) -> None:
        # The channel's end comes before the connection's, and knows better.
        self._failure = self._failure or reason
        self._stop_if_over()

    def _take_return(self, _: Any, method: Any, properties: Any, __: bytes) -> None:
        # Comes before the confirmation of the same message.
        self._returned[str(properties.message_id)] = (
            f"exchange {method.exchange!r} has no queue for {method.routing_key!r}; bind one, or "
            "correct exchange and routing_key"
        )

    def _confirm(self, frame: Any) -> None:
        tag, is_ack = frame.method.delivery_tag, frame.method.NAME == "Basic.Ack"
        confirmed = [t for t in self._tags if t <= tag] if frame.method.multiple else [tag]
        for one in confirmed:
            number, message_id = self._tags.pop(one)
            self._outcomes[number] = self._outcome_of_confirmation(message_id, is_ack=is_ack)
        self._stop_if_over()

    def _outcome_of_confirmation(self, message_id: str, *, is_ack: bool) -> Outcome:
        if message_id in self._returned:
            return Blocked(self._returned[message_id])
        return Delivered() if is_ack else Retry("the broker refused the message: a queue is full")


def _parameters_of(settings: RabbitmqSettings) -> Any:
    import pika

    tls = None
    if settings.tls:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        tls = pika.SSLOptions(context, settings.host)
    return pika.ConnectionParameters(
        host=settings.host,
        port=settings.port or (5671 if settings.tls else 5672),
        virtual_host=settings.vhost,
        credentials=pika.PlainCredentials(settings.username, settings.password),
        ssl_options=tls,
        heartbeat=0,  # nobody would answer them between two deliveries
        connection_attempts=1,
        socket_timeout=settings.timeout_seconds,
        stack_timeout=settings.timeout_seconds,
    )


def _outcome_of(failure: BaseException | None, settings: RabbitmqSettings) -> Blocked | Retry:
    """Return what a closed channel, a closed connection or none means for what is open."""
    if failure is None:
        return Retry("no confirmation within timeout_seconds")
    causes = list(_causes(failure))
    names = {type(cause).__name__ for cause in causes}
    who = f"{settings.username} at vhost {settings.vhost}"
    if "ProbableAuthenticationError" in names:
        return Blocked(f"the broker refuses the sign-in of {who}; correct username or password")
    if "ProbableAccessDeniedError" in names:
        return Blocked(f"the broker does not let {who} in; grant it, or correct vhost")
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return Blocked(f"{settings.host}: {cause.strerror}; correct host")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Blocked(f"{settings.host}: {cause.verify_message}; correct tls_ca or host")
        if getattr(cause, "reply_code", 0) in _BLOCKED:
            return Blocked(f"{_words_of(cause)}; correct the settings, or what is missing there")
    return Retry(_words_of(causes[-1]))


def _words_of(failure: BaseException) -> str:
    text = getattr(failure, "reply_text", "") or str(failure) or type(failure).__name__
    return str(text)[:300]


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was made of: the client wraps the cause several times."""
    waiting, seen = [failure], 0
    while waiting and seen < _CAUSES_MAX:
        error, seen = waiting.pop(), seen + 1
        yield error
        inner = [getattr(error, "exception", None), *getattr(error, "exceptions", ()), *error.args]
        waiting += [one for one in inner if isinstance(one, BaseException)]


def _short(text: str) -> str:
    """Cut a text to what AMQP's short texts hold."""
    return text.encode()[:_SHORT_BYTES_MAX].decode("utf-8", "ignore")
