"""Whether a destination runs, and the time that only passes while it does.

Parked by us, because no event will be taken until something is mended; paused by a person. Both
keep everything. A destination's *own time* is the wall clock without the time it was held and
without the wall clock's jumps: retry horizons run in it.
"""

from __future__ import annotations

from typing import Literal, cast

from trunkline.state.forwarder import GroupRow

State = Literal["running", "paused", "parked"]
# settings: they or the playbook cannot be used. lane, space: a limit of the waiting table.
# code: what an operator wrote is paused, or its worker does not start.
Cause = Literal["", "blocked", "fuse", "lane", "space", "settings", "code"]

PROBE_SECONDS_MAX = 60.0
CALM_SECONDS = 60.0  # running this long, a destination that parks again probes after 1 s again


class Standing:
    """State, cause and reason of one destination, and when it probes."""

    def __init__(self, now_ms: int, row: GroupRow | None = None) -> None:
        self.state: State = "running"
        self.cause: Cause = ""
        self.reason = ""
        self.since_ms = now_ms
        self.held_ms = 0
        self.probe_at = 0.0
        self._probes = 0
        self._ran_at = 0.0
        if row is not None:
            self.state = cast("State", row.state)
            self.cause = cast("Cause", row.cause)
            self.reason = row.reason
            self.since_ms = row.state_since_ms
            self.held_ms = row.held_ms

    @property
    def runs(self) -> bool:
        """Say whether events may be sent."""
        return self.state == "running"

    def own_ms(self, now_ms: int) -> int:
        """Return the destination's own time. It stands still while held."""
        return (now_ms if self.runs else self.since_ms) - self.held_ms

    def park(self, cause: Cause, reason: str, now_ms: int, now: float) -> None:
        """Hold until a probe passes."""
        if now - self._ran_at >= CALM_SECONDS:
            self._probes = 0
        self._hold("parked", cause, reason, now_ms)
        self.put_off_probe(now)

    def pause(self, now_ms: int) -> None:
        """Hold until a person resumes."""
        self._hold("paused", "", "paused by a person", now_ms)

    def run(self, now_ms: int, now: float) -> float:
        """Deliver again. Returns the seconds it was held."""
        held_ms = 0 if self.runs else max(0, now_ms - self.since_ms)
        self.held_ms += 0 if self.runs else now_ms - self.since_ms
        self.state, self.cause, self.reason, self.since_ms = "running", "", "", now_ms
        self._ran_at = now
        return held_ms / 1000

    def put_off_probe(self, now: float) -> None:
        """Probe after 1, 2, 4 … 60 s."""
        self.probe_at = now + min(2.0**self._probes, PROBE_SECONDS_MAX)
        self._probes = min(self._probes + 1, 6)

    def probe_now(self, now: float) -> None:
        """Probe at once, and after 1 s again: something has changed."""
        self._probes = 0
        self.probe_at = now

    def trust(self) -> None:
        """Forget how often it was put off: the destination works, an event was at fault."""
        self._probes = 0

    def shift(self, jump_ms: int) -> None:
        """Leave a jump of the wall clock out of the own time."""
        if self.runs:
            self.held_ms += jump_ms

    def _hold(self, state: State, cause: Cause, reason: str, now_ms: int) -> None:
        if self.runs:
            self.since_ms = now_ms
        self.state, self.cause, self.reason = state, cause, reason
