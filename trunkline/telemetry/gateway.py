"""What the gateway tells: how many requests, of what, how fast they became durable, what broke.

A request must not pay for metrics: one increment of a metric that other processes can read costs
1 to 2 µs, a whole request 30. So the hot path adds to the plain integers of a `Tally`, and once a
second `flush` moves them to the metrics. Log lines are for what a person should read: never one a
request, and never one a failed append while the disk stays full.
"""

from __future__ import annotations

from collections import defaultdict

from trunkline.telemetry.log import get_logger
from trunkline.telemetry.metrics import counter, gauge, histogram

_CODES_MAX = 64  # refusal codes are written in the protocols' tables; more would be ids

_REQUESTS = counter(
    "trunkline_gateway_requests_total",
    "Requests answered, by protocol and class of status.",
    ("protocol", "status"),
)
_ACCEPTED = counter(
    "trunkline_gateway_accepted_events_total",
    "Events that were answered yes: durable.",
    ("protocol",),
)
_REFUSED = counter(
    "trunkline_gateway_refused_events_total",
    "Events that were answered no with a known key, by code.",
    ("protocol", "code"),
)
_RECEIVED = counter("trunkline_gateway_received_bytes_total", "Bytes of bodies, as sent.")
_LIMITED = counter(
    "trunkline_gateway_rate_limited_events_total",
    "Events refused by the rate of their app, of their key, or of their sender's address.",
)
_OVERLOADED = counter(
    "trunkline_gateway_overloaded_requests_total",
    "Requests answered 503 because a limit of this process was reached.",
)
_CUT = counter(
    "trunkline_gateway_cut_requests_total",
    "Requests whose body broke off, came too slowly, was too large or could not be decompressed.",
    ("reason",),
)
_FAULTS = counter(
    "trunkline_gateway_internal_errors_total", "Requests that ended in a defect of ours."
)
_LOST = counter(
    "trunkline_gateway_unrecorded_refusals_total",
    "Refusals that were answered, but for which there was no room among the refused events.",
)
_INFLIGHT = gauge(
    "trunkline_gateway_inflight_requests", "Requests being worked on.", mode="livesum"
)
_INFLIGHT_BYTES = gauge(
    "trunkline_gateway_inflight_bytes", "Bytes of bodies being held.", mode="livesum"
)
_COMMIT_SECONDS = histogram(
    "trunkline_gateway_commit_seconds",
    "How long an append to ACCEPTED took until it was durable.",
    (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_COMMIT_RECORDS = histogram(
    "trunkline_gateway_commit_records",
    "Records that shared one append.",
    (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000),
)
_COMMIT_FAILURES = counter("trunkline_gateway_commit_failures_total", "Appends that failed.")


class Tally:
    """Counts of one gateway process since the last `flush`. Only its event loop touches them."""

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.accepted: defaultdict[str, int] = defaultdict(int)
        self.refused: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.cut: defaultdict[str, int] = defaultdict(int)
        self.received_bytes = 0
        self.rate_limited = 0
        self.overloaded = 0
        self.unrecorded = 0
        self._codes: set[str] = set()

    def flush(self, inflight_requests: int, inflight_bytes: int) -> None:
        """Move what was counted to the metrics."""
        for (protocol, status_class), count in self.requests.items():
            _REQUESTS.labels(protocol, f"{status_class}xx").inc(count)
        for protocol, count in self.accepted.items():
            _ACCEPTED.labels(protocol).inc(count)
        for (protocol, code), count in self.refused.items():
            _REFUSED.labels(protocol, self._known(code)).inc(count)
        for reason, count in self.cut.items():
            _CUT.labels(reason).inc(count)
        for counts in (self.requests, self.accepted, self.refused, self.cut):
            counts.clear()
        self._flush_totals()
        _INFLIGHT.set(inflight_requests)
        _INFLIGHT_BYTES.set(inflight_bytes)

    def _flush_totals(self) -> None:
        _RECEIVED.inc(self.received_bytes)
        _LIMITED.inc(self.rate_limited)
        _OVERLOADED.inc(self.overloaded)
        _LOST.inc(self.unrecorded)
        if self.unrecorded:
            get_logger().warning("gateway_refusals_unrecorded", events=self.unrecorded)
        self.received_bytes = self.rate_limited = self.overloaded = self.unrecorded = 0

    def _known(self, code: str) -> str:
        if len(self._codes) < _CODES_MAX:
            self._codes.add(code)
        return code if code in self._codes else "other"


def committed(records: int, seconds: float) -> None:
    """Tell that an append became durable."""
    _COMMIT_SECONDS.observe(seconds)
    _COMMIT_RECORDS.observe(records)


def commit_failed(error: Exception, is_first: bool) -> None:
    """Tell that an append failed. Only the first of a row is a line."""
    _COMMIT_FAILURES.inc()
    if is_first:
        get_logger().error("gateway_append_failed", error=str(error), kind=type(error).__name__)


def commit_broke(error: Exception, is_first: bool) -> None:
    """Tell that an append failed in a way that the event log's contract does not know."""
    _COMMIT_FAILURES.inc()
    if is_first:
        get_logger().error("gateway_append_broke", exc_info=error)


def commit_recovered(failures: int) -> None:
    """Tell that the log takes records again."""
    get_logger().info("gateway_append_recovered", failures=failures)


def request_broke(request_id: str, method: str, path: str, error: Exception) -> None:
    """Tell that a defect of ours ended a request."""
    _FAULTS.inc()
    get_logger().error(
        "gateway_request_broke",
        request_id=request_id,
        method=method,
        path=path[:256],
        exc_info=error,
    )


def telling_broke(error: Exception) -> None:
    """Tell that a request could not be told what became of its events."""
    _FAULTS.inc()
    get_logger().error("gateway_telling_broke", exc_info=error)


def housekeeping_broke(error: Exception) -> None:
    """Tell that a turn of the gateway's housekeeping failed; the next one is tried."""
    _FAULTS.inc()
    get_logger().error("gateway_housekeeping_broke", exc_info=error)


def key_uses_unwritten(error: OSError, is_first: bool) -> None:
    """Tell that the last uses of keys could not be written. Only the first of a row is a line."""
    if is_first:
        get_logger().warning("gateway_key_uses_unwritten", error=str(error))


def gateway_started(address: str, port: int) -> None:
    """Tell that requests are taken."""
    get_logger().info("gateway_started", listen=f"{address}:{port}")


def gateway_stopped(seconds: float, is_clean: bool) -> None:
    """Tell that nothing is taken any more; not clean where time ran out before all was answered."""
    get_logger().info("gateway_stopped", seconds=round(seconds, 3), is_clean=is_clean)
