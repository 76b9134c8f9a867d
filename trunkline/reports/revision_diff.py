"""What would change between two revisions, over real events: counted, and shown by example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from trunkline.playbook.comparing import Change, changes
from trunkline.playbook.program import Shaped

PATHS_MAX = 200  # told apart; an event may hold more, by what its sender calls things
SAME = "same"
DIFFERENT = "different"
NEWLY_FILTERED = "newly_filtered"
NO_LONGER_FILTERED = "no_longer_filtered"
NEWLY_FAILING = "newly_failing"
NO_LONGER_FAILING = "no_longer_failing"
KINDS = (
    SAME, DIFFERENT, NEWLY_FILTERED, NO_LONGER_FILTERED, NEWLY_FAILING, NO_LONGER_FAILING,
)  # fmt: skip


class Example(Struct, frozen=True, rename="camel"):
    """One event that comes out differently. `before` and `after`: what became of it, in words."""

    message_id: str
    event: str
    kind: str
    before: str
    after: str
    changes: tuple[Change, ...] = ()


class RevisionDiff(Struct, frozen=True, rename="camel"):
    """Events by what changes, how often each path of the output does, and some of the events."""

    events: int
    counts: dict[str, int]
    paths: dict[str, int]
    examples: tuple[Example, ...]


def compare_revisions(
    events: Iterable[tuple[str, str, Shaped, Shaped]], examples_max: int
) -> RevisionDiff:
    """Compare pairs of (messageId, name of the event, before, after)."""
    counts: dict[str, int] = dict.fromkeys(KINDS, 0)
    paths: Counter[str] = Counter()
    examples: list[Example] = []
    seen = 0
    for message_id, name, before, after in events:
        seen += 1
        differing = _changes(before, after)
        kind = _kind(before, after, differing)
        counts[kind] += 1
        for path in dict.fromkeys(_general(change.path) for change in differing):
            if path in paths or len(paths) < PATHS_MAX:
                paths[path] += 1
        if kind != SAME and len(examples) < examples_max:
            told = (_told(before), _told(after))
            examples.append(Example(message_id, name, kind, *told, tuple(differing)))
    return RevisionDiff(seen, counts, dict(paths.most_common()), tuple(examples))


def _changes(before: Shaped, after: Shaped) -> list[Change]:
    if not before.outputs or not after.outputs:
        return []
    if len(before.outputs) == len(after.outputs) == 1:
        return changes(before.outputs[0], after.outputs[0])
    return changes(list(before.outputs), list(after.outputs))


def _kind(before: Shaped, after: Shaped, differing: Sequence[Change]) -> str:
    if after.failure is not None:
        return SAME if before.failure is not None else NEWLY_FAILING
    if before.failure is not None:
        return NO_LONGER_FAILING
    if bool(before.filtered) != bool(after.filtered):
        return NEWLY_FILTERED if after.filtered else NO_LONGER_FILTERED
    return DIFFERENT if differing else SAME


def _general(path: str) -> str:
    """Name all places of a list as one: `items[3].price` is `items[].price`."""
    out: list[str] = []
    is_inside = False
    for ch in path:
        if not (is_inside and ch.isdigit()):
            out.append(ch)
        is_inside = ch == "[" or (is_inside and ch.isdigit())
    return "".join(out) or "(output)"


def _told(shaped: Shaped) -> str:
    if shaped.failure is not None:
        return f"fails: {shaped.failure.sentence}"
    if shaped.filtered:
        return f"dropped by {shaped.filtered}"
    return "sent" if len(shaped.outputs) == 1 else f"sent as {len(shaped.outputs)}"
