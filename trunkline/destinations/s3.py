"""`s3`: events as objects in a bucket of S3, and of what speaks its protocol.

A delivery becomes one object for each app and hour in which its events were received:
`PREFIX/app=APP/date=2026-11-20/hour=10/20261120T101530120Z-HASH.ndjson.gz`, where the moment is the
first event's and the hash that of the destination and the messageIds. What is sent again because an
answer was lost has the same name and replaces what is there: it comes twice only where the
forwarder has put other events together meanwhile (a restart, a batch that was split). Readers that
count keep the messageId.

Objects are lines of JSON packed by gzip, or Parquet (zstd) with the envelope in columns and the
event as JSON text in `body`. They hold at most `batch_events_max` events (1000) and about 4 MiB;
`batch_seconds_max` is how long a delivery may wait to become that large.

An event is delivered when the bucket has answered for its object. A refused key, a missing right
or bucket, a wrong region park the destination; what is slow, full or away is a retry. Buckets are
never made here. A host at a private address needs `allow_private_addresses`.
"""

from __future__ import annotations

import gzip
import re
import ssl
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta

from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import (
    Attempt,
    Channel,
    Example,
    Mapped,
    SecretText,
    Settings,
    delivery_id,
)
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.kit.times import format_ms, parse_time_ms
from trunkline.model.outcome import Blocked, Delivered, Outcome, Retry

_CAUSES_MAX = 16
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*")
_ENDPOINT = re.compile(r"https?://[^/?#@\s]+/?")
_RETRY_STATUSES = frozenset({408, 409, 425, 429})
# Codes that come with a status of the 400s and pass by themselves.
_RETRY_CODES = frozenset(
    {"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "OperationAborted"}
)
_FILES = {
    "ndjson": ("ndjson.gz", "application/x-ndjson"),
    "parquet": ("parquet", "application/vnd.apache.parquet"),
}
_PURCHASE = msgspec.json.encode(PURCHASE) + b"\n"
_SIGN_UP = msgspec.json.encode(SIGN_UP) + b"\n"


class S3Settings(Settings, frozen=True, kw_only=True):
    """The settings of a bucket."""

    bucket: Annotated[str, Meta(description="The bucket; it is not made.")]
    prefix: Annotated[
        str,
        Meta(
            max_length=512,
            description="What the keys of objects begin with, without slashes at its ends. "
            "Empty: nothing.",
        ),
    ] = "events"
    file_format: Annotated[
        Literal["ndjson", "parquet"],
        Meta(description="Lines of JSON packed by gzip, or Parquet."),
    ] = "ndjson"
    endpoint: Annotated[
        str | None,
        Meta(
            description="The URL of the storage, such as `https://s3.example.com`. Left out: "
            "Amazon's of the region."
        ),
    ] = None
    region: Annotated[
        str, Meta(min_length=1, max_length=64, description="The region that requests name.")
    ] = "us-east-1"
    path_style: Annotated[
        bool | None,
        Meta(
            description="Name the bucket in the URL's path and not in its host. Left out: where an "
            "endpoint is given."
        ),
    ] = None
    access_key_id: Annotated[
        str | None,
        Meta(
            description="The id of the key to sign with. Left out: what the machine has, by its "
            "environment, its files or its role."
        ),
    ] = None
    secret_access_key: Annotated[SecretText | None, Meta(description="The key's secret.")] = None
    session_token: Annotated[
        SecretText | None, Meta(description="The token of a key that is for a time.")
    ] = None
    tls_ca: Annotated[
        str | None,
        Meta(description="A PEM file of the authorities to trust. Left out: the well-known ones."),
    ] = None
    checksums: Annotated[
        bool,
        Meta(description="Send a checksum along. Off: for storage that does not know the header."),
    ] = True
    batch_events_max: Annotated[
        int, Meta(ge=1, le=1000, description="How many events may go in one delivery.")
    ] = 1000
    batch_seconds_max: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="How long to wait for a delivery to fill, in seconds: larger objects "
            "against later ones.",
        ),
    ] = 60.0

    def __post_init__(self) -> None:
        if not _BUCKET.fullmatch(self.bucket):
            raise ValueError(
                "bucket is no name of a bucket; give 2 to 63 letters, digits, `.`, `_` and `-`"
            )
        if self.prefix and not _PREFIX.fullmatch(self.prefix):
            raise ValueError(
                "prefix may hold letters, digits, `!_.*'()=-` and single slashes between them"
            )
        if self.endpoint is not None and not _ENDPOINT.fullmatch(self.endpoint):
            raise ValueError("endpoint is no URL of http or https without path, user and query")
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ValueError("access_key_id and secret_access_key go together; give both, or none")
        if self.session_token and not self.access_key_id:
            raise ValueError("session_token goes with access_key_id and secret_access_key")


class S3(Channel[S3Settings]):
    """Events as objects."""

    kind = "s3"
    host_settings = ("endpoint",)
    title = "Object storage (S3)"
    settings_type = S3Settings

    def __init__(self, settings: S3Settings) -> None:
        super().__init__(settings)
        self._clock = SystemClock()
        self._client: Any = None

    def open(self) -> None:
        """Nothing yet: `deliver` makes the client, for it can say what is wrong with it."""

    def deliver(self, events: Sequence[Mapped], attempt: Attempt) -> Sequence[Outcome]:
        """Write the events' objects, one after the other; the first that fails holds the others."""
        deadline = self._clock.monotonic() + self.settings.timeout_seconds
        found: list[Outcome] = [Retry("waits for an object that could not be written")] * len(
            events
        )
        for numbers in _parts_of(events):
            if self._clock.monotonic() > deadline:
                break
            outcome = self._put([events[number] for number in numbers], attempt.destination)
            for number in numbers:
                found[number] = outcome
            if not isinstance(outcome, Delivered):
                break
        return found

    def check(self) -> str:
        """Sign in and look at the bucket; nothing is written."""
        failure = self._try("head_bucket", Bucket=self.settings.bucket)
        self.close()
        if failure is not None:
            raise ConnectionError(failure.reason)
        return (
            f"Bucket {self.settings.bucket} is there and may be looked at. Nothing was written, so "
            "whether it may be written to is seen with the first event."
        )

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def encode(self, events: Sequence[Mapped]) -> bytes:
        """Return the objects as text: the key, with `*` for the hash, and the events in lines."""
        pieces: list[bytes] = []
        for numbers in _parts_of(events):
            part = [events[number] for number in numbers]
            key = _key_of(self.settings, part, "*")
            pieces.append(f"bucket={self.settings.bucket} key={key}\n".encode())
            pieces += [event.body + b"\n" for event in part]
        return b"".join(pieces)

    def _put(self, events: Sequence[Mapped], destination: str) -> Outcome:
        name = delivery_id(destination, [event.message_id for event in events])
        key = _key_of(self.settings, events, name.replace("-", "")[:16])
        is_parquet = self.settings.file_format == "parquet"
        body = _parquet_of(events) if is_parquet else _lines_of(events)
        failure = self._try(
            "put_object",
            Bucket=self.settings.bucket,
            Key=key,
            Body=body,
            ContentType=_FILES[self.settings.file_format][1],
        )
        return Delivered() if failure is None else failure

    def _try(self, method: str, **values: Any) -> Blocked | Retry | None:
        """Call the storage; return what a failure of it means."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self._client is None:
                self._client = self._make()
            getattr(self._client, method)(**values)
        except ClientError as error:
            return self._outcome_of_answer(error)
        except (BotoCoreError, OSError, ValueError) as error:
            self.close()
            return self._outcome_of_failure(error)
        return None

    def _make(self) -> Any:
        from boto3.session import Session
        from botocore.config import Config

        settings = self.settings
        if settings.tls_ca is not None and not Path(settings.tls_ca).is_file():
            raise FileNotFoundError(f"tls_ca {settings.tls_ca} is not there")
        is_path_style = (
            settings.endpoint is not None if settings.path_style is None else settings.path_style
        )
        when = "when_supported" if settings.checksums else "when_required"
        session: Any = Session()
        return session.client(
            "s3",
            region_name=settings.region,
            endpoint_url=settings.endpoint,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            aws_session_token=settings.session_token,
            verify=settings.tls_ca or True,
            config=Config(
                connect_timeout=settings.timeout_seconds,
                read_timeout=settings.timeout_seconds,
                retries={"total_max_attempts": 1},  # the forwarder's
                s3={"addressing_style": "path" if is_path_style else "virtual"},
                request_checksum_calculation=when,
                response_checksum_validation=when,
            ),
        )

    def _outcome_of_answer(self, error: Any) -> Blocked | Retry:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))  # of a HEAD, which has no body, the status again
        words = [f"HTTP {status}", "" if code == str(status) else code, told.get("Message")]
        said = self._hide(f"bucket {self.settings.bucket}: {' '.join(w for w in words if w)}")
        if status < 300 or status >= 500 or status in _RETRY_STATUSES or code in _RETRY_CODES:
            return Retry(said)
        return Blocked(f"{said}; correct the settings, or the rights there")

    def _outcome_of_failure(self, error: Exception) -> Blocked | Retry:
        where = self.settings.endpoint or f"S3 of {self.settings.region}"
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Blocked(f"{where}: {cause.verify_message}; correct tls_ca or endpoint")
            if type(cause).__name__ == "NameResolutionError":
                return Blocked(f"{where}: the host has no address; correct endpoint or region")
        said = self._hide(f"{where}: {error}")
        if type(error).__name__.endswith(("CredentialsError", "TokenError")):
            return Blocked(f"{said}; give access_key_id and secret_access_key")
        if isinstance(error, ValueError | FileNotFoundError):
            return Blocked(f"{said}; correct the settings")
        return Retry(said)

    def _hide(self, text: str) -> str:
        for secret in (self.settings.secret_access_key, self.settings.session_token):
            text = text.replace(secret, "***") if secret else text
        return text[:500]

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "Parquet, on a storage of one's own, an object every five minutes at the latest",
            settings={
                "bucket": "lake",
                "prefix": "raw/trunkline",
                "file_format": "parquet",
                "endpoint": "https://s3.example.com",
                "access_key_id": "TRUNKLINE",
                "secret_access_key": "of-the-secret-store",
                "batch_seconds_max": 300,
            },
            events=(SIGN_UP,),
            text=(
                b"bucket=lake key=raw/trunkline/app=zcmwmxbkmuodelu/date=2026-11-20/hour=10/"
                b"20261120T101531045Z-*.parquet\n" + _SIGN_UP
            ),
        ),
        Example(
            "At the root of a bucket, as soon as events come",
            settings={
                "bucket": "lake",
                "prefix": "",
                "endpoint": "http://10.0.0.7:9000",
                "allow_private_addresses": True,
                "access_key_id": "TRUNKLINE",
                "secret_access_key": "of-the-secret-store",
                "batch_seconds_max": 0,
            },
            events=(PURCHASE,),
            text=(
                b"bucket=lake key=app=zcmwmxbkmuodelu/date=2026-11-20/hour=10/"
                b"20261120T101530120Z-*.ndjson.gz\n" + _PURCHASE
            ),
        ),
        Example(
            "Lines of JSON, on Amazon S3 with the role of the machine",
            settings={"bucket": "example-lake", "region": "eu-central-1"},
            events=(PURCHASE, SIGN_UP),
            text=(
                b"bucket=example-lake key=events/app=zcmwmxbkmuodelu/date=2026-11-20/hour=10/"
                b"20261120T101530120Z-*.ndjson.gz\n" + _PURCHASE + _SIGN_UP
            ),
        ),
    )


class _Hour(NamedTuple):
    app: str
    hour: str  # 2026-11-20T10


def _received_ms(event: Mapped) -> int:
    """Return when an event was received; the year 1970 for one that says no time."""
    return parse_time_ms(event.event.get("receivedAt")) or 0


def _parts_of(events: Sequence[Mapped]) -> list[list[int]]:
    """Return the numbers of the events of each app and hour, as they came."""
    parts: dict[_Hour, list[int]] = {}
    for number, event in enumerate(events):
        hour = format_ms(_received_ms(event))[:13]
        parts.setdefault(_Hour(event.app, hour), []).append(number)
    return list(parts.values())


def _key_of(settings: S3Settings, events: Sequence[Mapped], name: str) -> str:
    moment = format_ms(_received_ms(events[0]))
    stamp = re.sub(r"[-:.]", "", moment)
    folders = [f"app={events[0].app}", f"date={moment[:10]}", f"hour={moment[11:13]}"]
    file = f"{stamp}-{name}.{_FILES[settings.file_format][0]}"
    return "/".join([*([settings.prefix] if settings.prefix else []), *folders, file])


def _lines_of(events: Sequence[Mapped]) -> bytes:
    # Without a time in it, so that the same events are the same bytes.
    return gzip.compress(b"".join(event.body + b"\n" for event in events), 6, mtime=0)


def _parquet_of(events: Sequence[Mapped]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    arrow: Any = pyarrow
    moment: Any = arrow.timestamp("ms", "UTC")
    text: Any = arrow.string()
    told = [event.event for event in events]
    columns: list[tuple[str, Any, list[Any], bool]] = [
        ("message_id", text, [event.message_id for event in events], False),
        ("app", text, [event.app for event in events], False),
        ("type", text, [event.type for event in events], False),
        ("event", text, [event.name or None for event in events], True),
        ("user_id", text, [_text_in(values, "userId") for values in told], True),
        ("anonymous_id", text, [_text_in(values, "anonymousId") for values in told], True),
        ("timestamp", moment, [parse_time_ms(values.get("timestamp")) for values in told], True),
        ("received_at", moment, [parse_time_ms(v.get("receivedAt")) for v in told], True),
        ("body", text, [event.body.decode() for event in events], False),
    ]
    schema: Any = arrow.schema([arrow.field(n, kind, nullable=may) for n, kind, _, may in columns])
    arrays: list[Any] = [arrow.array(values, kind) for _, kind, values, _ in columns]
    file = BytesIO()
    table: Any = arrow.Table.from_arrays(arrays, schema=schema)
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def _text_in(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was made of: the client wraps the cause several times."""
    waiting: list[BaseException] = [error]
    for _ in range(_CAUSES_MAX):
        if not waiting:
            return
        found = waiting.pop()
        yield found
        kwargs: dict[str, Any] = getattr(found, "kwargs", None) or {}
        inner = [kwargs.get("error"), getattr(found, "reason", None), found.__cause__]
        waiting += [one for one in (*inner, *found.args) if isinstance(one, BaseException)]
