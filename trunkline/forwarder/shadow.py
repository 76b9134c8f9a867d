"""A revision that runs beside the deployed one and sends nothing: what would it have made?

It gets each event that was shaped for sending, once, and never holds one up: what waits for it is
bounded, and what comes while that is full is skipped and counted. A revision that is data takes at
most a quarter of the event loop's time, one with code has a worker of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from trunkline.forwarder.item import Item
from trunkline.forwarder.shaping import make_shaper
from trunkline.kit.shapers import encode_output, moment_of
from trunkline.kit.shaping import CodeHeld, Held, Shaper
from trunkline.model.snapshot import Destination as Configured
from trunkline.playbook.comparing import changes
from trunkline.playbook.program import Failure, Moment, PlaybookError, Shaped
from trunkline.telemetry import forwarder as telemetry

if TYPE_CHECKING:
    from trunkline.forwarder.shared import Shared

QUEUE_EVENTS_MAX = 1000
QUEUE_BYTES_MAX = 8_388_608
AT_ONCE = 20
REST = 3.0  # seconds of rest for each second of work
DETAIL_LENGTH = 500

Kind = Literal["same", "different", "filtered_differently", "failed", "skipped"]


class Case(NamedTuple):
    """One event, and what the deployed revision made of it."""

    offset: int
    message_id: str
    size: int
    event: dict[str, Any]
    moment: Moment
    shaped: Shaped


class Broken(Shaper):
    """A revision that cannot be used: it fails for every event."""

    def __init__(self, sentence: str) -> None:
        self._answer = Shaped(failure=Failure("", 0, sentence, "", None))

    async def shape(
        self,
        events: Sequence[tuple[dict[str, Any], Moment]],
        *,
        explain: bool = False,  # noqa: ARG002  there is nothing to explain
    ) -> Sequence[Shaped | Held]:
        return [self._answer] * len(events)

    async def call(self, name: str, values: dict[str, Any]) -> Any:  # noqa: ARG002
        raise CodeHeld(name)

    async def close(self) -> None:
        """There is nothing to let go of."""


class Shadow:
    """The shadow of one destination."""

    def __init__(self, config: Configured, shared: Shared, shaper: Shaper) -> None:
        self._uid = config.uid
        self._app = config.app
        self._name = f"{config.app}/{config.id}"
        self._revision = config.shadow_revision
        self._shared = shared
        self._shaper = shaper
        self._cases: deque[Case] = deque()
        self._bytes = 0
        self._is_working = False
        self._is_closed = False

    def offer(self, items: Sequence[Item], now_ms: int, shaped: Sequence[Shaped]) -> None:
        """Take what was shaped for a first attempt, as far as there is room."""
        for item, each in zip(items, shaped, strict=True):
            if item.attempts:
                continue
            size = len(item.shown.body)
            if len(self._cases) >= QUEUE_EVENTS_MAX or self._bytes + size > QUEUE_BYTES_MAX:
                self._count("skipped")
                self._shared.writer.touch()
                continue
            id_ = item.shown.message_id
            moment = moment_of(self._name, id_, now_ms)
            self._cases.append(Case(item.offset, id_, size, item.shown.value, moment, each))
            self._bytes += size
        if self._cases and not self._is_working:
            self._is_working = True
            self._shared.tasks.start(self._work())

    def close(self) -> None:
        """Forget what waits, and let go of the worker."""
        self._is_closed = True
        self._cases.clear()
        if not self._is_working:
            self._shared.tasks.start(self._shaper.close())

    async def _work(self) -> None:
        clock = self._shared.clock
        while self._cases and not self._is_closed:
            cases = [self._cases.popleft() for _ in range(min(AT_ONCE, len(self._cases)))]
            self._bytes -= sum(case.size for case in cases)
            start = clock.monotonic()
            await self._run(cases)
            await clock.sleep(REST * (clock.monotonic() - start))
        self._is_working = False
        if self._is_closed:
            await self._shaper.close()

    async def _run(self, cases: list[Case]) -> None:
        answers: Sequence[Shaped | Held]
        try:
            answers = await self._shaper.shape([(case.event, case.moment) for case in cases])
        except PlaybookError as error:  # it would fail for every event once it is deployed
            answers = [Shaped(failure=Failure("", 0, str(error), "", None))] * len(cases)
        except CodeHeld as error:
            answers = [Held(str(error))] * len(cases)
        if self._is_closed:
            return
        for case, answer in zip(cases, answers, strict=True):
            if isinstance(answer, Held):
                self._count("skipped")
                continue
            kind, detail = compare(case.shaped, answer)
            self._count(kind)
            if kind != "same":
                self._sample(case, kind, detail)
        self._shared.writer.touch()

    def _count(self, kind: Kind) -> None:
        shadows = self._shared.writer.changes.shadows
        key = (self._uid, self._revision, kind)
        shadows[key] = shadows.get(key, 0) + 1

    def _sample(self, case: Case, kind: Kind, detail: str) -> None:
        """Offer a sample; the file keeps the first of each kind."""
        erased, samples = self._shared.erased, self._shared.writer.changes.shadow_samples
        if erased.knows(self._app) and erased.hold(
            self._app, case.offset, msgspec.json.encode(case.event)
        ):
            return
        if len(samples) < QUEUE_EVENTS_MAX:
            samples.append((self._uid, self._revision, kind, case.offset, case.message_id, detail))


def compare(deployed: Shaped, shadow: Shaped) -> tuple[Kind, str]:
    """Say how a shadow's answer differs, and at which paths."""
    if shadow.failure is not None:
        return "failed", shadow.failure.sentence[:DETAIL_LENGTH]
    if deployed.failure is not None:
        return "different", f"{deployed.failure.sentence} → {_told(shadow)}"[:DETAIL_LENGTH]
    if bool(shadow.outputs) != bool(deployed.outputs):
        return "filtered_differently", f"{_told(deployed)} → {_told(shadow)}"
    if encode_output(deployed.outputs) == encode_output(shadow.outputs):
        return "same", ""
    differing = changes(list(deployed.outputs), list(shadow.outputs))
    if not differing:
        return "same", ""
    return "different", "; ".join(str(change) for change in differing[:5])[:DETAIL_LENGTH]


def _told(shaped: Shaped) -> str:
    return "sent" if shaped.outputs else f"dropped by {shaped.filtered or 'giving nothing'}"


def make_shadow(config: Configured, params: Mapping[str, str], shared: Shared) -> Shadow | None:
    """Make the shadow of a destination; None where it has none. Never raises: it fails instead."""
    if not config.shadow:
        return None
    try:
        shaper = make_shaper(config, config.shadow, params, {}, shared)
    except ValueError as error:
        telemetry.shadow_unusable(config.app, config.id, config.shadow_revision, str(error))
        shaper = Broken(str(error))
    return Shadow(config, shared, shaper)
