"""What a replay would send, beside what was sent or tried then: before anything leaves.

Both sides are shaped at the moment of the last attempt, so that what differs is what the revision
changed, not the clock. A replay itself goes by the clock of its own attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from trunkline.kit.destination import Attempt, Mapped, delivery_id
from trunkline.kit.protection import protect_all
from trunkline.model.snapshot import Destination, Snapshot
from trunkline.playbook.comparing import changes
from trunkline.playbook.program import Shaped
from trunkline.reports.failures import FailureLine
from trunkline.reports.letters import LetterContent
from trunkline.reports.rendering import Renderer, RequestLine, mapped_outputs


class Side(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one revision makes of an event.

    `payload` is what is sent, one value for each thing that was made of the event. Without one:
    `filtered` names the filter, `failure` is the sentence of what failed, with its `line` and the
    `partial` output, or `note` says why it cannot be told.
    """

    revision: int
    payload: list[Any] = []
    filtered: str = ""
    failure: str = ""
    line: int = 0
    partial: Any = None
    note: str = ""

    @property
    def is_sent(self) -> bool:
        """Say whether there is something to send."""
        return bool(self.payload)


class Preview(Struct, frozen=True, rename="camel"):
    """One dead letter: then, now, and the paths that differ. `request` is the one of now."""

    then: Side
    now: Side
    changes: list[str]
    request: RequestLine | None
    delivery_id: str


def preview_all(
    letters: Sequence[LetterContent], snapshot: Snapshot, renderer: Renderer
) -> list[Preview | None]:
    """Return what letters were and would be; None where the destination is not configured."""
    destinations = {d.uid: d for app in snapshot.apps for d in app.destinations}
    known = [(destinations[each.uid], each) for each in letters if each.uid in destinations]
    now = _sides(renderer, [(d, d.revision, letter) for d, letter in known])
    then = _sides(
        renderer,
        [(d, letter.letter.revision, letter) for d, letter in known if letter.failure is None],
    )
    found: dict[int, Preview] = {}
    for destination, letter in known:
        id_ = letter.letter.id
        before = _failed(letter, letter.failure) if letter.failure else then[id_].side
        found[id_] = _preview(renderer, destination, letter, before, now[id_])
    return [found.get(letter.letter.id) for letter in letters]


class _Made(NamedTuple):
    side: Side
    sent: Sequence[Mapped]


def _preview(
    renderer: Renderer, destination: Destination, letter: LetterContent, then: Side, now: _Made
) -> Preview:
    name = f"{destination.app}/{destination.id}"
    key = delivery_id(name, [letter.event.message_id])
    request = None
    if now.sent:
        attempt = Attempt(letter.at_ms, 1, name, key)
        request = renderer.request(destination, now.sent, attempt, runs_code=False).request
    differing = [str(change) for change in changes(_shown(then), _shown(now.side))]
    return Preview(then, now.side, differing, request, key)


def _sides(
    renderer: Renderer, wanted: Sequence[tuple[Destination, int, LetterContent]]
) -> dict[int, _Made]:
    """Shape letters, those of one destination and revision together; by the letter's id."""
    together: dict[tuple[int, int], list[tuple[Destination, int, LetterContent]]] = {}
    for each in wanted:
        together.setdefault((each[0].uid, each[1]), []).append(each)
    made: dict[int, _Made] = {}
    for group in together.values():
        destination, revision, _ = group[0]
        letters = [letter for _, _, letter in group]
        events = protect_all(destination, [each.event for each in letters])
        at_ms = [each.at_ms for each in letters]
        shaped, note = renderer.shape(destination, revision, events, at_ms)
        is_shaped = renderer.has_playbook(destination, revision)
        for position, letter in enumerate(letters):
            if note:
                made[letter.letter.id] = _Made(Side(revision, note=note), ())
                continue
            event, each = events[position], shaped[position]
            sent = mapped_outputs([event], [each]) if is_shaped else [event]
            made[letter.letter.id] = _Made(_told(revision, sent, each), sent)
    return made


def _failed(letter: LetterContent, failure: FailureLine) -> Side:
    told = letter.letter
    return Side(told.revision, [], "", told.detail, failure.line, failure.partial)


def _told(revision: int, sent: Sequence[Mapped], shaped: Shaped) -> Side:
    failure = shaped.failure
    if failure is not None:
        return Side(revision, [], "", failure.sentence, failure.line, failure.partial)
    payload = [msgspec.json.decode(each.body) for each in sent]
    return Side(revision, payload, "" if payload else shaped.filtered)


def _shown(side: Side) -> Any:
    """Return what the two sides are compared by: the one value where there is only one."""
    if not side.payload:
        return side.partial
    return side.payload[0] if len(side.payload) == 1 else side.payload
