"""When code is paused: after so many kills within a minute, for a minute. Pure."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

from trunkline.kit.clock import Clock

WINDOW_SECONDS = 60.0
PAUSE_SECONDS = 60.0


class Kills:
    """The kills of one work."""

    def __init__(self, clock: Clock, per_minute_max: int) -> None:
        self._clock = clock
        self._max = per_minute_max
        self._times: deque[float] = deque(maxlen=per_minute_max)
        self._paused_until: float | None = None
        self.reason = ""

    def note(self, reason: str) -> bool:
        """Count a kill. True: this one pauses the code."""
        now = self._clock.monotonic()
        self._times.append(now)
        if len(self._times) < self._max or now - self._times[0] > WINDOW_SECONDS:
            return False
        self._times.clear()
        self._paused_until = now + PAUSE_SECONDS
        until = datetime.fromtimestamp(self._clock.now_ms() / 1000 + PAUSE_SECONDS, UTC)
        self.reason = (
            f"the code was killed {self._max} times within a minute (the last time: {reason}) and "
            f"is paused until {until:%H:%M:%S} UTC; its events wait. Mend the code and deploy it"
        )
        return True

    def forgive(self) -> None:
        """Take the last kill back: no event was to blame."""
        if self._times:
            self._times.pop()

    @property
    def is_paused(self) -> bool:
        """Say whether the code must not run now."""
        return self._paused_until is not None and self._clock.monotonic() < self._paused_until

    def resume(self) -> bool:
        """Note that a pause is over. True: there was one."""
        was_paused = self._paused_until is not None
        self._paused_until = None
        return was_paused
