"""What requests came to, as it reaches metrics and the trace: added up first, and never lost."""

from __future__ import annotations

from trunkline.forwarder.carrier import Carried
from trunkline.forwarder.fates import fate_rows
from trunkline.kit.destination import Attempt
from trunkline.model.outcome import Delivered, Outcome, Rejected, Retry
from trunkline.state.forwarder import BUCKET, unpack_offsets
from trunkline.telemetry.forwarder import UNTOLD_MAX, KindMetrics
from trunkline.telemetry.metrics import REGISTRY

ATTEMPT = Attempt(1_700_000_000_000, 2, "app/crm", "key")


def counted(kind: str, outcome: str) -> float:
    labels = {"kind": kind, "outcome": outcome}
    return REGISTRY.get_sample_value("trunkline_forwarder_outcomes_total", labels) or 0.0


def requests(kind: str) -> float:
    labels = {"kind": kind}
    return REGISTRY.get_sample_value("trunkline_forwarder_attempt_seconds_count", labels) or 0.0


def carried(*outcomes: Outcome) -> Carried:
    return Carried(list(outcomes), 200, 1.234, b"ok")


def test_every_outcome_and_request_is_told_once() -> None:
    metrics = KindMetrics("told-once")
    metrics.attempted([Delivered(), Retry("later"), Delivered()], 3.0)
    metrics.attempted([Delivered()], 5.0)
    metrics.tell()
    metrics.tell()
    assert counted("told-once", "delivered") == 3
    assert counted("told-once", "retry") == 1
    assert requests("told-once") == 2


def test_no_more_than_a_bounded_number_of_requests_waits_to_be_told() -> None:
    metrics = KindMetrics("told-early")
    for _ in range(UNTOLD_MAX):
        metrics.attempted([Delivered()], 1.0)
    assert requests("told-early") == UNTOLD_MAX


def test_a_row_has_its_offsets_in_order_with_the_outcome_of_each() -> None:
    made = carried(Delivered(), Rejected("no"), Delivered())
    rows, spans = fate_rows([(7, 1, 3, ATTEMPT, made, [BUCKET + 5, 9, 4])], [])
    (row,) = rows
    assert unpack_offsets(bytes(row[11])) == [4, 9, BUCKET + 5]  # pyright: ignore[reportArgumentType]
    assert row[12] == b"DJD"
    assert row[9] == "no"
    assert spans == [(1, 0, 7), (1, 1, 7)]


def test_a_row_whose_events_came_to_the_same_has_one_outcome() -> None:
    rows, spans = fate_rows([(7, 1, 3, ATTEMPT, carried(Delivered(), Delivered()), [4, 5])], [])
    assert rows[0][12] == b"D"
    assert rows[0][8:10] == (1.23, "HTTP 200")
    assert spans == [(1, 0, 7)]
