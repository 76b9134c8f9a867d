"""The connection test of a destination, carried as an attempt is; and that of a channel.

A test asks and is answered like an exchange, so it goes through the same sender, jail and limits.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from trunkline.forwarder.carrier import private_host
from trunkline.forwarder.threads import WorkThread
from trunkline.forwarder.trial import NO_CODE, Step, Tools, carry, shaper_of
from trunkline.kit.destination import (
    Attempt,
    Call,
    Channel,
    Destination,
    Mapped,
    Request,
    Settings,
    delivery_id,
)
from trunkline.kit.shaping import CodeSource, Work
from trunkline.kits.test_request import ConnectionTest, TestVerdict
from trunkline.model.outcome import Blocked, Delivered, Outcome

SENTENCE_MAX = 500
_NOTHING = Mapped("connection-test", "", "", "track", "", b"{}", b"{}")


class TestReport(Struct, frozen=True):
    """What a connection test showed, and the requests that it made."""

    ok: bool
    sentence: str
    steps: Sequence[Step] = ()


class _Tested(Destination[Settings]):
    """A connection test in the place of a destination: the verdict is kept beside the outcome."""

    kind = "connection test"
    title = "Connection test"
    settings_type = Settings
    examples = ()

    def __init__(self, settings: Settings, test: ConnectionTest) -> None:
        super().__init__(settings)
        self.verdict: TestVerdict | None = None
        self._test = test

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        """A test builds its requests itself."""
        raise NotImplementedError

    def code(self) -> Mapping[str, CodeSource]:
        return NO_CODE if self._test.exchanges is None else self._test.exchanges.code()

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request | Call, Any, Sequence[Outcome]]:
        self.verdict = yield from self._test.steps(attempt.now_ms)
        ended: Outcome = Delivered() if self.verdict.ok else Blocked(self.verdict.sentence)
        return [ended] * len(events)


async def test_connection(
    test: ConnectionTest, name: str, settings: Settings, tools: Tools
) -> TestReport:
    """Run the connection test of a kit for `app/id`: its requests for real, what they prove."""
    tested = _Tested(settings, test)
    attempt = Attempt(tools.clock.now_ms(), 1, name, delivery_id(name, [_NOTHING.message_id]))
    try:
        shaper = await shaper_of(Work(name, b"", settings.params, tested.code()), tools)
    except ValueError as error:
        return TestReport(False, str(error))
    try:
        trial = await carry(tested, [_NOTHING], attempt, shaper, tools)
    finally:
        if shaper is not None:
            await shaper.close()
    if tested.verdict is not None:
        return TestReport(tested.verdict.ok, tested.verdict.sentence, trial.steps)
    return TestReport(False, trial.ends[0].reason, trial.steps)


async def check_channel(channel: Channel[Any], *, allow_private: bool) -> TestReport:
    """Ask a channel whether it can do its work. `allow_private`: the node lets all reach that."""
    worker = WorkThread(f"check {channel.kind}")
    allow = allow_private or channel.settings.allow_private_addresses
    try:
        if refusal := await worker.run(lambda: private_host(channel, allow_private=allow)):
            return TestReport(False, refusal)
        return TestReport(True, await worker.run(channel.check))
    except Exception as error:  # of the channel's own libraries: whatever it is, it is the answer
        return TestReport(False, f"{type(error).__name__}: {error}"[:SENTENCE_MAX])
    finally:
        worker.close()
