"""Events that a vendor took and judges later: remembered, asked after, judged.

Between two questions nothing is held but a few words an event: no request is under way, no slot is
taken. All of it is memory. After a restart, or a change of the destination's settings, what waited
is sent again, and the vendor tells it by its id; that is what "at least once" means here.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from trunkline.kit.destination import Request, Response
from trunkline.kits.answers import OUTCOME_UNKNOWN, decode
from trunkline.kits.filled import FilledRequest
from trunkline.kits.follow_up import FilledFollowUp
from trunkline.kits.job import Job
from trunkline.model.outcome import Blocked, Delivered, Filtered, Outcome, Rejected, Retry

EVENTS_MAX = 50_000  # that wait for the vendor's word: about 15 MB; past it the oldest go again
NAME_MAX = 200  # characters of what an answer names an event by
_ASKED_MS = 10_000  # how long others leave a question alone that is under way
_BEHIND = "waits behind an earlier event of its user, of which the vendor has not told yet"
_WAITING = "the vendor has it, and has not told yet what became of it"


class Receipt:
    """One answer that took events: what asks after them, and what is known by now."""

    __slots__ = ("names", "next_ms", "outcomes", "taken_ms", "url")

    def __init__(self, url: str, names: Sequence[Any], taken_ms: int, next_ms: int) -> None:
        self.url = url
        self.names = names
        self.taken_ms = taken_ms
        self.next_ms = next_ms
        self.outcomes: list[Outcome] = [Retry(_WAITING, was_taken=True)] * len(names)

    @property
    def is_open(self) -> bool:
        """Say whether something of it is not known yet."""
        return any(_is_open(one) for one in self.outcomes)


class Held(NamedTuple):
    """An event of a receipt, by its position in the request."""

    receipt: Receipt
    position: int


Asking = Generator[Request, Response, Response | Outcome]


class Following:
    """What one destination's vendor has and has not judged yet. All times are the attempts'."""

    def __init__(self, follow_up: FilledFollowUp, status: FilledRequest, gives_up: bool) -> None:
        self.status = status
        self._follow_up = follow_up
        self._gives_up = gives_up
        self._held: dict[str, Held] = {}
        self._is_refused = False

    def find(self, job: Job) -> list[Held | None]:
        """Return for each event of an attempt the receipt that it waits by, or None."""
        return [self._held.get(key) for key in job.keys]

    def take(
        self,
        keys: Sequence[str],
        batch: Sequence[Any],
        answer: Response,
        outcomes: list[Outcome],
        now_ms: int,
    ) -> None:
        """Hold the events of a request that the vendor took; their outcomes become "later"."""
        endpoint = self.status.endpoint
        try:
            tree: Any = decode(answer.body)
            url = self.status.url if endpoint is None else endpoint.url_for(tree)
        except ValueError:
            # It took them and gave nothing to ask by: nobody can know more.
            outcomes[:] = [_unverified(outcome) for outcome in outcomes]
            return
        events = self._follow_up.spec.events
        names = [None] * len(batch) if events is None else events.names(batch)
        due_ms = now_ms + self._follow_up.after_ms
        receipt = Receipt(url, [*map(_short, names)], now_ms, due_ms)
        for position, outcome in enumerate(outcomes):
            if isinstance(outcome, Delivered):
                self._keep(keys[position], Held(receipt, position))
                outcomes[position] = _later(receipt, now_ms)

    def _keep(self, key: str, held: Held) -> None:
        self._held.pop(key, None)
        if len(self._held) >= EVENTS_MAX:
            del self._held[next(iter(self._held))]
        self._held[key] = held

    def is_due(self, receipt: Receipt, now_ms: int) -> bool:
        """Say whether to ask after a receipt now.

        While the vendor refuses to be asked at once: the probe of a parked destination must find
        out, or it would pass, and park again with the next question.
        """
        return (self._is_refused or receipt.next_ms <= now_ms) and receipt.is_open

    def begin(self, receipt: Receipt, now_ms: int) -> None:
        """Keep other attempts from asking the same, for as long as a request may take."""
        receipt.next_ms = now_ms + _ASKED_MS

    def learn(self, receipt: Receipt, answer: Response | Outcome, now_ms: int) -> Outcome | None:
        """Take an answer over; return what it means for all, where it is no answer to this."""
        if not isinstance(answer, Response):
            self._is_refused = isinstance(answer, Blocked)
            return answer
        found = self._follow_up.spec.judge(answer, receipt.names)
        blocked = next((one for one in found if isinstance(one, Blocked)), None)
        self._is_refused = blocked is not None
        if blocked is not None:
            return blocked
        # What was told once holds; a vendor may leave it out of its next answer.
        known = zip(receipt.outcomes, found, strict=True)
        receipt.outcomes = [new if _is_open(old) else old for old, new in known]
        receipt.next_ms = now_ms + self._follow_up.every_ms
        return None

    def put_off(self, held: Held | None, failure: Outcome) -> Outcome:
        """Return what an event comes to where nobody answered; None: it was not sent yet."""
        if held is None or not isinstance(failure, Retry):
            return failure
        seconds = max(failure.after_seconds, self._follow_up.every_ms / 1000)
        return Retry(failure.reason, seconds, was_taken=True)

    def outcome(self, held: Held, now_ms: int) -> Outcome:
        """Return what is known of an event now."""
        found = held.receipt.outcomes[held.position]
        if not _is_open(found):
            return found
        waited_ms = now_ms - held.receipt.taken_ms
        if waited_ms < self._follow_up.give_up_ms:
            return _later(held.receipt, now_ms)
        reason = f"{OUTCOME_UNKNOWN}: the vendor took it and told nothing in {waited_ms // 1000} s"
        return Rejected(reason, is_sure=True) if self._gives_up else Retry(reason)

    def forget(self, job: Job, outcomes: Sequence[Outcome | Filtered]) -> None:
        """Let go of what is settled, and of what is to be sent again.

        Of an event of which a part comes again the settled parts are kept: they are not sent again.
        """
        told = [*zip(job.events, job.keys, outcomes, strict=True)]
        open_ids = {e.message_id for e, _, one in told if isinstance(one, Retry | Blocked)}
        for event, key, outcome in told:
            is_sent_again = isinstance(outcome, Retry) and not outcome.was_taken
            if is_sent_again or event.message_id not in open_ids:
                self._held.pop(key, None)


def waits_behind() -> Retry:
    """Return the outcome of an event whose user has an earlier one that is not judged yet."""
    return Retry(_BEHIND)


def _is_open(outcome: Outcome) -> bool:
    return isinstance(outcome, Retry) and outcome.was_taken


def _later(receipt: Receipt, now_ms: int) -> Retry:
    return Retry(_WAITING, max(receipt.next_ms - now_ms, 1000) / 1000, was_taken=True)


def _unverified(outcome: Outcome) -> Outcome:
    return Delivered(verified=False) if isinstance(outcome, Delivered) else outcome


def _short(name: Any) -> Any:
    """Return what an event is named by, cut: it is kept for long."""
    if isinstance(name, list):
        return [str(one)[:NAME_MAX] for one in name[:10]]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return None if name is None or isinstance(name, dict) else str(name)[:NAME_MAX]
