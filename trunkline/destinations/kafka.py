"""`kafka`: events into topics of Apache Kafka, and of what speaks its protocol.

One event is one message: the key is the user (`u:` and the userId, or `a:` and the anonymousId),
so that one user's events share a partition, in order; events of nobody have no key. The value is
the event as JSON, the headers are `messageId`, `app`, `type` and `event`.

An event is delivered when all in-sync replicas have it (`acks=all`). The producer is idempotent:
what it sends again because an answer was lost, also across a restart of the broker, is stored
once. Past `timeout_seconds`, or after a restart of this node, the attempt is a new one for the
broker and a message may come twice: readers keep the header `messageId`.

Topics are never made here. A missing topic, a missing right and a refused sign-in park the
destination; an event that is larger than `message_bytes_max`, or than the topic takes, becomes a
dead letter alone. A batch that the broker refuses for its size is sent again one by one.

A broker of `bootstrap_servers` at a private address needs `allow_private_addresses`; which
addresses the cluster names after that is its own say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta

from trunkline.kit.channel_settings import Authorities
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Attempt, Channel, Example, Mapped, SecretText, Settings
from trunkline.kit.routing_names import check_name, fill_name, is_fixed, keep_user_order
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer

_QUEUE_KIBIBYTES_MAX = 262_144  # of a batch that waits in the client; more waits for its turn
_POLL_SECONDS = 0.1
_PROPAGATION_MS = 3000  # how long a topic that is not there may be one that is just being made
_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 1.0  # past the time-out, for the client to report its own
_TOPIC = re.compile(r"[A-Za-z0-9._-]{0,249}")

_SIGN_UP = msgspec.json.encode(SIGN_UP) + b"\n"
_PURCHASE = msgspec.json.encode(PURCHASE) + b"\n"
_TOO_LARGE = "MSG_SIZE_TOO_LARGE"
_UNUSABLE = "unusable"
_REJECTED = frozenset({_TOO_LARGE, "INVALID_RECORD", "INVALID_TIMESTAMP", "POLICY_VIOLATION"})
# A person must act: a right, a password, a topic, a name.
_BLOCKED = frozenset(
    {
        _UNUSABLE,
        "_AUTHENTICATION",
        "_RESOLVE",
        "_SSL",
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
        "_UNSUPPORTED_FEATURE",
        "CLUSTER_AUTHORIZATION_FAILED",
        "SASL_AUTHENTICATION_FAILED",
        "TOPIC_AUTHORIZATION_FAILED",
        "TOPIC_EXCEPTION",
        "UNKNOWN_TOPIC_OR_PART",
        "UNSUPPORTED_SASL_MECHANISM",
    }
)
_SECURITY = {
    "plaintext": "plaintext",
    "tls": "ssl",
    "sasl": "sasl_plaintext",
    "sasl_tls": "sasl_ssl",
}
_SIGN_IN = frozenset({"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"})


class KafkaSettings(Settings, frozen=True, kw_only=True):
    """The settings of a Kafka cluster."""

    bootstrap_servers: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4096,
            description="Brokers to begin with: `HOST:PORT`, several parted by commas.",
        ),
    ]
    topic: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=249,
            description="The topic. `{app}` and `{type}` stand for those of the event.",
        ),
    ]
    security: Annotated[
        Literal["plaintext", "tls", "sasl", "sasl_tls"],
        Meta(description="How to connect: with TLS, with a sign-in (SASL), with both, or neither."),
    ] = "plaintext"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        Meta(description="How a sign-in (SASL) is made."),
    ] = "SCRAM-SHA-512"
    username: Annotated[
        str | None, Meta(description="The user that signs in, with `sasl` and `sasl_tls`.")
    ] = None
    password: Annotated[SecretText | None, Meta(description="The password for it.")] = None
    tls_ca: Authorities = None
    tls_certificate: Annotated[
        str | None, Meta(description="A PEM file of our certificate, where brokers ask for one.")
    ] = None
    tls_key: Annotated[str | None, Meta(description="A PEM file of its private key.")] = None
    tls_key_password: Annotated[
        SecretText | None, Meta(description="The private key's password.")
    ] = None
    compression: Annotated[
        Literal["none", "gzip", "snappy", "lz4", "zstd"],
        Meta(description="How batches are packed on the wire and on the brokers' disks."),
    ] = "lz4"
    message_bytes_max: Annotated[
        int,
        Meta(
            ge=1000,
            le=100_000_000,
            description="Bytes of one message with key and headers; keep it at or below "
            "the topic's `max.message.bytes`. A larger event becomes a dead letter.",
        ),
    ] = 1_000_000

    def __post_init__(self) -> None:
        if not _TOPIC.fullmatch(check_name("topic", self.topic, ("app", "type"))):
            raise ValueError("topic may hold letters, digits, `.`, `_` and `-` alone")
        if self.security.startswith("sasl") and not (self.username and self.password):
            raise ValueError(f"security is {self.security}; give username and password as well")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key go together; give both or neither")


class Kafka(Channel[KafkaSettings]):
    """Events into topics."""

    kind = "kafka"
    host_settings = ("bootstrap_servers",)
    title = "Apache Kafka"
    settings_type = KafkaSettings

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__(settings)
        self._clock = SystemClock()
        self._producer: Producer | None = None
        self._trouble = ""  # the last thing that the client said of its connections: code, …
        self._trouble_text = ""  # … and sentence

    def open(self) -> None:
        """Nothing yet: `deliver` makes the client, for it can say whose fault it is if it fails."""

    def deliver(
        self,
        events: Sequence[Mapped],
        attempt: Attempt,  # noqa: ARG002  of the contract; a message tells no attempt
    ) -> Sequence[Outcome]:
        """Send the events and wait for what the brokers say of each."""
        reports = self._send(events, {})
        found = self._judge(events, reports)
        if not any(report.is_large_batch for report in reports):
            return found
        # The size of a batch is held against all in it. Alone, only the large ones are refused,
        # and what was held back behind them for order goes with them.
        again = [n for n, outcome in enumerate(found) if isinstance(outcome, Retry)]
        rest = [events[n] for n in again]
        alone = self._judge(rest, self._send(rest, {"batch.num.messages": 1}), is_alone=True)
        self.close()
        for number, outcome in zip(again, alone, strict=True):
            found[number] = outcome
        return found

    def check(self) -> str:
        """Connect and look at the topic; nothing is written and no topic made."""
        from confluent_kafka import KafkaException

        try:
            self._producer = self._make()
            cluster = self._look(self._producer)
        except KafkaException as error:
            raise ConnectionError(self._hide(error.args[0].str())) from None
        finally:
            self.close()
        reached = f"{len(cluster.brokers)} brokers answered"
        topic = self.settings.topic
        if not is_fixed(topic):
            return f"{reached}; topics are named by each event ({topic}). Nothing was written."
        if topic not in cluster.topics:
            raise ConnectionError(f"{reached}, but {_missing_topic(topic)}")
        partitions = len(cluster.topics[topic].partitions)
        return f"{reached}; topic {topic} has {partitions} partitions. Nothing was written."

    def close(self) -> None:
        """Let go of the client and what it still holds: nothing of that was called delivered."""
        producer, self._producer = self._producer, None
        self._trouble = self._trouble_text = ""
        if producer is not None:
            producer.purge()
            producer.flush(0)

    def encode(self, events: Sequence[Mapped]) -> bytes:
        """Return the messages as text: topic, key, headers, and the value in a line of its own."""
        lines: list[bytes] = []
        for event in events:
            shown = [f"topic={fill_name(self.settings.topic, event)}"]
            shown += [f"key={event.user}"] if event.user else []
            shown += [f"{name}={value}" for name, value in _headers_of(event).items()]
            lines += [" ".join(shown).encode(), event.body]
        return b"".join(line + b"\n" for line in lines)

    def _look(self, producer: Producer) -> Any:
        """Ask for all topics: to ask for one may make it."""
        from confluent_kafka import KafkaException

        deadline = self._clock.monotonic() + self.settings.timeout_seconds
        while True:
            try:
                return producer.list_topics(timeout=_LOOK_SECONDS)
            except KafkaException:
                producer.poll(0)
                if self._is_refused() or (self._clock.monotonic() > deadline and self._trouble):
                    raise ConnectionError(self._hide(self._trouble_text)) from None
                if self._clock.monotonic() > deadline:
                    raise

    def _make(self, changes: dict[str, Any] | None = None) -> Producer:
        from confluent_kafka import Producer

        options = _options_of(self.settings) | (changes or {})
        return Producer({**options, "error_cb": self._hear})

    def _hear(self, error: KafkaError) -> None:
        if error.name() != "_ALL_BROKERS_DOWN":  # says that, and not why
            self._trouble, self._trouble_text = error.name(), error.str()

    def _send(self, events: Sequence[Mapped], changes: dict[str, Any]) -> list[_Report]:
        from confluent_kafka import KafkaException

        try:
            producer = self._producer = self._producer or self._make(changes)
        except KafkaException as error:  # a file that is not there, an option that is none
            return [_Report(_UNUSABLE, error.args[0].str())] * len(events)
        self._trouble = self._trouble_text = ""
        batch = _Batch(len(events))
        deadline = self._clock.monotonic() + self.settings.timeout_seconds + _GRACE_SECONDS
        for number, event in enumerate(events):
            self._put(producer, batch, number, event, deadline)
        while batch.is_open and self._clock.monotonic() < deadline and not self._is_refused():
            producer.flush(_POLL_SECONDS)
        if batch.is_open:
            producer.purge()
            producer.flush(_GRACE_SECONDS)
        return batch.reports

    def _put(
        self, producer: Producer, batch: _Batch, number: int, event: Mapped, deadline: float
    ) -> None:
        from confluent_kafka import KafkaException

        while self._clock.monotonic() < deadline:
            try:
                producer.produce(
                    fill_name(self.settings.topic, event),
                    key=event.user.encode() if event.user else None,
                    value=event.body,
                    headers=_headers_of(event),
                    on_delivery=partial(batch.take, number),
                )
            except BufferError:  # the client holds as much as it may
                producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                batch.reports[number] = _Report(error.args[0].name(), error.args[0].str())
                return
            else:
                batch.open += 1
                return

    def _is_refused(self) -> bool:
        is_untrusted = self._trouble == "_SSL" and "certificate" in self._trouble_text
        return is_untrusted or self._trouble in _SIGN_IN

    def _judge(
        self, events: Sequence[Mapped], reports: Sequence[_Report], *, is_alone: bool = False
    ) -> list[Outcome]:
        outcomes = [self._outcome_of(report, is_alone=is_alone) for report in reports]
        if any(isinstance(outcome, Retry | Blocked) for outcome in outcomes):
            self.close()  # the next attempt begins with a producer that has nothing behind it
        return keep_user_order(events, outcomes)

    def _outcome_of(self, report: _Report, *, is_alone: bool) -> Outcome:
        if not report.code:
            return Delivered()
        if report.is_large_batch and not is_alone:
            return Retry("the batch is larger than the topic takes")
        if report.code in _REJECTED:
            return Rejected(f"{report.text}; see message_bytes_max and the limits of the topic")
        if "UNKNOWN_TOPIC" in report.code:
            return Blocked(_missing_topic(report.topic))
        if report.code in _BLOCKED:
            return Blocked(self._hide(f"{report.text}; correct the settings or the rights there"))
        if self._trouble in _BLOCKED:
            return Blocked(self._hide(f"{self._trouble_text}; correct the settings"))
        return Retry(self._hide(f"{report.text}. {self._trouble_text}".strip(". ")))

    def _hide(self, text: str) -> str:
        for secret in (self.settings.password, self.settings.tls_key_password):
            text = text.replace(secret, "***") if secret else text
        return text[:500]

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "One event",
            settings={"bootstrap_servers": "kafka-1:9092,kafka-2:9092", "topic": "events"},
            events=(SIGN_UP,),
            text=(
                b"topic=events key=u:u-43 messageId=order-1002-signup "
                b"app=zcmwmxbkmuodelu type=identify\n" + _SIGN_UP
            ),
        ),
        Example(
            "A topic for each type of event, with a sign-in over TLS",
            settings={
                "bootstrap_servers": "kafka.example.com:9094",
                "topic": "{app}.{type}",
                "security": "sasl_tls",
                "username": "trunkline",
                "password": "of-the-secret-store",
                "tls_ca": "/etc/ssl/kafka-ca.pem",
            },
            events=(PURCHASE,),
            text=(
                b"topic=zcmwmxbkmuodelu.track key=u:u-42 "
                b"messageId=7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901 "
                b"app=zcmwmxbkmuodelu type=track event=Purchase Completed\n" + _PURCHASE
            ),
        ),
        Example(
            "Large batches, packed tightly",
            settings={
                "bootstrap_servers": "kafka-1:9092",
                "topic": "events",
                "compression": "zstd",
                "batch_events_max": 1000,
                "batch_seconds_max": 0.2,
            },
            events=(SIGN_UP,),
            text=(
                b"topic=events key=u:u-43 messageId=order-1002-signup "
                b"app=zcmwmxbkmuodelu type=identify\n" + _SIGN_UP
            ),
        ),
    )


class _Report(NamedTuple):
    """What became of a message: error code ("" for none), sentence, and where it was sent to.

    Without a topic the client itself refused it.
    """

    code: str
    text: str
    topic: str = ""

    @property
    def is_large_batch(self) -> bool:
        """Say whether a broker found the batch too large that the message was in."""
        return self.code == _TOO_LARGE and bool(self.topic)


class _Batch:
    """The messages of one attempt: what became of each, and how many are still open."""

    def __init__(self, count: int) -> None:
        self.open = 0
        self.reports = [_Report("_TIMED_OUT", "no answer within timeout_seconds")] * count

    @property
    def is_open(self) -> bool:
        """Say whether reports are still to come."""
        return self.open > 0

    def take(self, number: int, error: KafkaError | None, message: Any) -> None:
        """Take the delivery report of a message."""
        topic = str(message.topic())
        said = (error.name(), error.str()) if error else ("", "")
        self.reports[number] = _Report(*said, topic)
        self.open -= 1


def _headers_of(event: Mapped) -> dict[str, str | bytes | None]:
    named: dict[str, str | bytes | None] = {
        "messageId": event.message_id,
        "app": event.app,
        "type": event.type,
    }
    return named | ({"event": event.name} if event.name else {})


def _missing_topic(topic: str) -> str:
    return f"topic {topic} is not there, or may not be seen; make it, grant it, or change topic"


def _options_of(settings: KafkaSettings) -> dict[str, Any]:
    """Return the client's options. Texts that are left out keep the client's own default."""
    timeout_ms = int(settings.timeout_seconds * 1000)
    options: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": "trunkline",
        "security.protocol": _SECURITY[settings.security],
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",  # as the Java clients do, so that joins find each other
        "compression.type": settings.compression,
        "message.max.bytes": settings.message_bytes_max,
        "message.timeout.ms": timeout_ms,
        "linger.ms": 0,
        "queue.buffering.max.kbytes": _QUEUE_KIBIBYTES_MAX,
        "topic.metadata.propagation.max.ms": min(timeout_ms // 2, _PROPAGATION_MS),
        "reconnect.backoff.max.ms": 1000,
        "log_level": 0,  # what it has to say comes as errors
        "ssl.ca.location": settings.tls_ca,
        "ssl.certificate.location": settings.tls_certificate,
        "ssl.key.location": settings.tls_key,
        "ssl.key.password": settings.tls_key_password,
    }
    if settings.security.startswith("sasl"):
        options["sasl.mechanism"] = settings.sasl_mechanism
        options["sasl.username"] = settings.username
        options["sasl.password"] = settings.password
    return {name: value for name, value in options.items() if value is not None}
