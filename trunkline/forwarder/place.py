"""Where a group stands in EVENTS: what it took up, what of that is not done, what it reads next.

Everything below `seen` was taken up once; what of it is not done is either `open` (in memory) or
`shed` (to be read again, after a restart or because memory is short). So the place on disk is
`seen` and the unfinished offsets below it, and its size is that of the group's queue, never that
of the traffic that passed while one event was stuck.
"""

from __future__ import annotations

from trunkline.forwarder.item import Item


class Place:
    """The place of one group. `cursor` is the next offset it reads when it is not at the head."""

    def __init__(self, seen: int, unfinished: tuple[int, ...] = ()) -> None:
        self.seen = seen
        self.open: dict[int, Item] = {}
        self.shed: set[int] = set(unfinished)
        self.cursor = min(unfinished, default=seen)
        self.is_at_head = False
        self.bytes = 0  # of `open`
        self.behind_bytes = 0  # about what the log holds that is not `open`

    def is_news(self, offset: int) -> bool:
        """Say whether the group must look at an offset; else it was done with before."""
        return offset >= self.seen or offset in self.shed

    def pass_by(self, offset: int) -> None:
        """Say that an offset was looked at and is done, or was taken with `hold`."""
        self.cursor = offset + 1
        if offset >= self.seen:
            self.seen = offset + 1
        elif self.shed:
            self.shed.discard(offset)

    def hold(self, item: Item) -> None:
        """Take an event up."""
        self.open[item.offset] = item
        self.bytes += item.size

    def finish(self, item: Item) -> None:
        """Be done with an event."""
        del self.open[item.offset]
        self.bytes -= item.size

    def put_off(self, items: list[Item]) -> None:
        """Let go of events from memory; they are read again when there is room."""
        for item in items:
            self.finish(item)
            self.behind_bytes += item.size
            self.shed.add(item.offset)
        self.cursor = min([self.cursor, *(item.offset for item in items)])
        self.is_at_head = False

    def unfinished(self) -> list[int]:
        """Return the offsets below `seen` that are not done, in order."""
        if not self.shed:
            return sorted(self.open)
        return sorted(self.shed.union(self.open))
