"""What the forwarder tells: deliveries, parked destinations, dead letters, what it cannot save."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prometheus_client import Counter

from trunkline.model.outcome import (
    Blocked,
    Delivered,
    Filtered,
    Outcome,
    Rejected,
    Retry,
    Unsent,
    Unshaped,
)
from trunkline.telemetry.log import get_logger
from trunkline.telemetry.metrics import counter, gauge, histogram

_OUTCOMES = counter(
    "trunkline_forwarder_outcomes_total",
    "Outcomes of attempts, one for each event of a request.",
    ("kind", "outcome"),
)
_UNSENT = counter(
    "trunkline_forwarder_unsent_events_total",
    "Events that nothing was sent of: filtered, the playbook failed for them (unshaped), or the "
    "contract of the vendor rejects them (forbidden).",
    ("kind", "outcome"),
)
_REQUESTS = histogram(
    "trunkline_forwarder_attempt_seconds",
    "How long attempts took.",
    (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 120),
    ("kind",),
)
_DEAD = counter(
    "trunkline_forwarder_dead_letters_total", "Deliveries given up, by reason.", ("reason",)
)
_PARKED = gauge("trunkline_forwarder_parked_destinations", "Destinations that are parked now.")
_PARKS = counter(
    "trunkline_forwarder_parked_total", "How often a destination was parked.", ("cause",)
)
_EXPIRED = counter("trunkline_forwarder_expired_events_total", "Events given up unsent, for space.")
_UNSAVED = counter(
    "trunkline_forwarder_save_failures_total", "Saves of the state file that the disk refused."
)
_UNREADABLE = counter(
    "trunkline_forwarder_unreadable_records_total", "Records of EVENTS that could not be decoded."
)
_READ = counter("trunkline_forwarder_records_total", "Records of EVENTS read at the head.")
_CATCHING_UP = gauge(
    "trunkline_forwarder_behind_destinations", "Destinations that read by themselves to catch up."
)

UNTOLD_MAX = 500  # requests that are added up: told in less than a millisecond
_NAMES: tuple[tuple[type[Outcome], str], ...] = (
    (Delivered, "delivered"),
    (Retry, "retry"),
    (Rejected, "rejected"),
    (Blocked, "blocked"),
)
_UNSENT_NAMES: tuple[tuple[type[Unsent], str], ...] = (
    (Filtered, "filtered"),
    (Unshaped, "unshaped"),
)


class KindMetrics:
    """The hot path's metrics of one kind, bound once.

    What requests came to is added up in memory until `tell`: numbers that other processes can read
    cost 7 µs a request, 4 % of what the event loop does for one.
    """

    def __init__(self, kind: str) -> None:
        self._outcomes: dict[type[Outcome | Unsent], Counter] = {
            **{type_: _OUTCOMES.labels(kind, name) for type_, name in _NAMES},
            **{type_: _UNSENT.labels(kind, name) for type_, name in _UNSENT_NAMES},
        }
        self._forbidden = _UNSENT.labels(kind, "forbidden")
        self._seconds = _REQUESTS.labels(kind)
        self._counts: dict[type[Outcome | Unsent], int] = {}  # since the last `tell`
        self._took_ms: list[float] = []

    def unsent(self, filtered: int, unshaped: int, forbidden: int = 0) -> None:
        """Count events of which nothing was sent; `forbidden`: by the vendor's contract."""
        self._outcomes[Filtered].inc(filtered)
        self._outcomes[Unshaped].inc(unshaped)
        self._forbidden.inc(forbidden)

    def attempted(self, outcomes: Sequence[Outcome | Unsent], took_ms: float) -> None:
        """Count a request."""
        counts = self._counts
        for outcome in outcomes:
            type_ = type(outcome)
            counts[type_] = counts.get(type_, 0) + 1
        self._took_ms.append(took_ms)
        if len(self._took_ms) >= UNTOLD_MAX:
            self.tell()

    def tell(self) -> None:
        """Move what was added up to the metrics."""
        counts, self._counts = self._counts, {}
        took_ms, self._took_ms = self._took_ms, []
        for type_, count in counts.items():
            self._outcomes[type_].inc(count)
        for each in took_ms:
            self._seconds.observe(each / 1000)


def records_read(count: int) -> None:
    """Records were read at the head."""
    _READ.inc(count)


def groups_behind(count: int) -> None:
    """So many destinations are not at the head."""
    _CATCHING_UP.set(count)


def destinations_parked(count: int) -> None:
    """So many destinations are parked."""
    _PARKED.set(count)


def destination_parked(app: str, destination: str, cause: str, reason: str) -> None:
    """A destination was parked: the one alert."""
    _PARKS.labels(cause).inc()
    get_logger().warning(
        "destination_parked", app=app, destination=destination, cause=cause, reason=reason
    )


def destination_runs(app: str, destination: str, after_seconds: float) -> None:
    """A parked or paused destination delivers again."""
    get_logger().info(
        "destination_runs", app=app, destination=destination, after_seconds=round(after_seconds, 1)
    )


def destination_paused(app: str, destination: str) -> None:
    """A person paused a destination."""
    get_logger().info("destination_paused", app=app, destination=destination)


def delivery_dead_lettered(
    app: str, destination: str, reason: str, detail: str, attempts: int
) -> None:
    """A delivery was given up and kept as a dead letter."""
    _DEAD.labels(reason).inc()
    get_logger().warning(
        "delivery_dead_lettered",
        app=app,
        destination=destination,
        reason=reason,
        detail=detail,
        attempts=attempts,
    )


def letters_revived(app: str, destination: str, count: int) -> None:
    """The fuse blew: the last dead letters went back to waiting."""
    get_logger().info("letters_revived", app=app, destination=destination, count=count)


def space_runs_out(app: str, destination: str, bytes_held: int, hours_left: float) -> None:
    """A parked destination will reach `parked_bytes_max` within a day."""
    get_logger().warning(
        "parked_space_runs_out",
        app=app,
        destination=destination,
        bytes_held=bytes_held,
        hours_left=round(hours_left, 1),
    )


def events_expired(app: str, destination: str, count: int) -> None:
    """The oldest events of a parked destination were given up, for space."""
    _EXPIRED.inc(count)
    get_logger().warning("parked_events_expired", app=app, destination=destination, count=count)


def state_not_saved(path: Path, error: Exception) -> None:
    """The state file took nothing; it is tried again, and no request is started until then."""
    _UNSAVED.inc()
    get_logger().error("forwarder_state_not_saved", path=str(path), error=str(error))


def record_unreadable(offset: int, error: Exception) -> None:
    """A record of EVENTS is none: skipped, because no destination could ever have it."""
    _UNREADABLE.inc()
    get_logger().error("event_record_unreadable", offset=offset, error=str(error))


def group_added(app: str, destination: str, begin: int) -> None:
    """A destination that is new got its consumer group."""
    get_logger().info("destination_added", app=app, destination=destination, begin=begin)


def group_ended(app: str, destination: str) -> None:
    """A destination was removed."""
    get_logger().info("destination_ended", app=app, destination=destination)


def revision_taken(app: str, destination: str, revision: int) -> None:
    """What is sent from now on is shaped by another revision. 0: the kind's own form."""
    get_logger().info("revision_taken", app=app, destination=destination, revision=revision)


def shadow_unusable(app: str, destination: str, revision: int, reason: str) -> None:
    """A revision that is to run beside cannot be used: it fails for every event."""
    get_logger().warning(
        "shadow_unusable", app=app, destination=destination, revision=revision, reason=reason
    )


def request_carried_out(request: str, number: int) -> None:
    """Something that a person asked for was done."""
    get_logger().info("inbox_request_carried_out", request=request, number=number)


def wall_clock_jumped(seconds: float) -> None:
    """The wall clock jumped; horizons do not jump with it."""
    get_logger().warning("wall_clock_jumped", seconds=round(seconds, 1))


def retention_failed(error: Exception) -> None:
    """Old segments could not be removed; it is tried again in a minute."""
    get_logger().error("events_retention_failed", error=str(error))


def records_missing(app: str, destination: str, count: int) -> None:
    """Events that a destination still had to get are not in EVENTS any more."""
    _UNREADABLE.inc(count)
    get_logger().error("event_records_missing", app=app, destination=destination, count=count)
