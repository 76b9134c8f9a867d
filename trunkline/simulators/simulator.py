"""What a simulated vendor is: a request in, the vendor's answer out, and what it then has.

A simulator checks what arrives as the vendor does: who signs in, which fields must be there, in
which form, how old, how many, how large. Where the vendor answers 200 and drops the event, so does
the simulator, and a `Complaint` says what the vendor never would.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

KEPT_MAX = 100_000  # events and complaints that a simulator remembers; older ones go


class Ask(Struct, frozen=True):
    """A request. Header names are in lower case, `query` has every value of a name in order.

    `body` is as it came, unpacked where it was gzip. `now_ms` is the vendor's clock.
    """

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes
    now_ms: int

    def first(self, name: str) -> str:
        """Return the first query value of a name, or nothing."""
        return next(iter(self.query.get(name, ())), "")

    def json(self) -> Any:
        """Return the body's JSON. Raises `msgspec.DecodeError`."""
        return msgspec.json.decode(self.body)


class Reply(Struct, frozen=True):
    """An answer: `body` is sent as JSON, bytes as they are, None as no body."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


class Taken(Struct, frozen=True):
    """An event that the vendor now has. `id` is what it tells duplicates by, or nothing."""

    id: str
    name: str
    value: Any


class Complaint(Struct, frozen=True):
    """Something that is not as the vendor's contract has it: which rule, where, what came."""

    rule: str
    where: str
    message: str


class Simulator(ABC):
    """One vendor. `credentials` are what it expects to be presented, by the vendor's own names.

    `own_faults` are bad days of this vendor alone, name to what happens: an error in the body of a
    200, a batch of which some are refused, a token that ran out. `fault_outcomes` says what a
    forwarder must make of the events of such a request: `delivered`, `retry`, `rejected`,
    `blocked`, or `partial` where one answer holds several of them.

    `token_paths` are where tokens are fetched: no fault of a script is used up there.
    """

    vendor: ClassVar[str]  # the kit's name
    title: ClassVar[str]
    docs: ClassVar[str]
    credentials: ClassVar[Mapping[str, str]]
    deduplicates: ClassVar[bool] = False
    own_faults: ClassVar[Mapping[str, str]] = {}
    fault_outcomes: ClassVar[Mapping[str, str]] = {}
    token_paths: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.complaints: list[Complaint] = []
        self.duplicates = 0
        self._ids: set[str] = set()

    @abstractmethod
    def answer(self, ask: Ask) -> Reply:
        """Judge a request as the vendor does, take what it would take, and answer."""

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as the vendor does on one of its `own_faults`; some of them take events too."""
        raise LookupError(f"{self.vendor} has no fault {fault!r}; ask {ask.path}")

    def throttled(self, ask: Ask, after_seconds: int | None) -> Reply:
        """Return the vendor's 429; `after_seconds` where it says how long to wait."""
        headers = {} if after_seconds is None else {"Retry-After": str(after_seconds)}
        return Reply(429, {"error": f"too many requests to {ask.path}"}, headers)

    def unavailable(self, ask: Ask) -> Reply:
        """Return the vendor's 503."""
        return Reply(503, {"error": f"{ask.path} cannot be served now"})

    def take(self, id: str, name: str, value: Any) -> None:
        """Have an event. One whose id came before is counted and left, if the vendor does so."""
        if self.deduplicates and id and id in self._ids:
            self.duplicates += 1
            return
        self._ids.add(id)
        self.taken.append(Taken(id, name, value))
        del self.taken[:-KEPT_MAX]

    def complain(self, rule: str, where: str, message: str) -> None:
        """Note what is not as the vendor's contract has it."""
        self.complaints.append(Complaint(rule, where, message))
        del self.complaints[:-KEPT_MAX]
