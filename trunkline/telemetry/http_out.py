"""What the sending of HTTP requests tells: metrics only, for all of it is on the hot path."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.telemetry.metrics import counter, gauge

_ANSWERS = counter(
    "trunkline_forwarder_http_answers_total",
    "Answers of destinations over HTTP, by the first digit of the status.",
    ("status_class",),
)
_FAILURES = counter(
    "trunkline_forwarder_http_failures_total",
    "Requests to destinations that got no answer, by cause.",
    ("cause",),
)
_CLIENTS = gauge(
    "trunkline_forwarder_http_clients",
    "HTTP clients kept open; one for each host and address that is sent to.",
)
_BY_CLASS = tuple(_ANSWERS.labels(f"{digit}xx") for digit in range(1, 10))


class HttpOutMetrics:
    """The metrics of a sender, bound once. `causes` is the closed set of its failures."""

    def __init__(self, causes: Sequence[str]) -> None:
        self._failures = {cause: _FAILURES.labels(cause) for cause in causes}
        self._clients = 0

    def answered(self, status: int) -> None:
        """An answer came, whatever it says."""
        _BY_CLASS[min(max(status // 100, 1), 9) - 1].inc()

    def failed(self, cause: str) -> None:
        """A request got no answer."""
        self._failures[cause].inc()

    def clients(self, count: int) -> None:
        """The pool has so many clients now; told after every request, written when it changed."""
        if count != self._clients:
            self._clients = count
            _CLIENTS.set(count)
