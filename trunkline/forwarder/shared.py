"""What all groups of a forwarder share: time, dice, the writer, and limits over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from trunkline.forwarder.agenda import Agenda, Tasks
from trunkline.forwarder.carrier import Sender
from trunkline.forwarder.erasing import People
from trunkline.forwarder.threads import Threads
from trunkline.forwarder.writer import Writer
from trunkline.kit.clock import Clock
from trunkline.kit.destination import Channel, Destination
from trunkline.kit.settings import ForwarderSettings
from trunkline.kit.shapers import Programs
from trunkline.kit.shaping import Workshop
from trunkline.kit.suppression import Suppressed

if TYPE_CHECKING:
    from trunkline.forwarder.group import Group

Kinds = Mapping[str, type[Destination[Any]] | type[Channel[Any]]]

BYTES_MAX = 201_326_592  # of events in memory, all groups: past it each holds what it has
LANES_MAX = 200_000  # of waiting lanes, all groups: about 50 MB of memory


class Shared:
    """One for each forwarder. The counters are over all groups; the functions are the engine's.

    `head` is the next offset that the reader at the head will offer, `version` the snapshot's,
    `suppressed` its people whose events go nowhere, by app, `erased` those who were erased.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        settings: ForwarderSettings,
        kinds: Kinds,
        sender: Sender,
        threads: Threads,
        writer: Writer,
        agenda: Agenda,
        parked_bytes_max: int,
        tasks: Tasks,
        leave_head: Callable[[Group, int], None],
        feed: Callable[[Group], None],
        look_at_clock: Callable[[], tuple[int, float]],
        workshop: Workshop | None = None,
    ) -> None:
        self.clock = clock
        self.random = random
        self.settings = settings
        self.kinds = kinds
        self.sender = sender
        self.threads = threads
        self.writer = writer
        self.agenda = agenda
        self.tasks = tasks
        self.parked_bytes_max = parked_bytes_max
        self.leave_head = leave_head
        self.feed = feed
        self.look_at_clock = look_at_clock
        self.workshop = workshop
        self.programs = Programs()
        self.suppressed: Mapping[str, Suppressed] = {}
        self.erased = People()
        self.head = 0
        self.version = 0
        self.bytes = 0
        self.lanes = 0
        self.is_stopping = False
