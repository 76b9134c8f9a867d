"""Running a playbook over one event: functions, the route, what comes out, and why not.

`Runner` is all of it but the route itself, which a compiled playbook brings along. What one event
becomes is checked here: 1 MB of JSON for all its outputs together, and of what code makes of it at
most 1,000 events and 80 levels. Mappings alone add 12 levels to an event's 64 at most.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from trunkline.playbook.code import CodeShelf, RunFunction
from trunkline.playbook.program import Failure, Moment, Shaped, Step
from trunkline.playbook.spec import ITEMS_MAX, OUTPUT_BYTES_MAX, OUTPUT_DEPTH_MAX, Function
from trunkline.playbook.writing import CannotShape, Output, merge, own

BATCH = "_metarouter_batch"
EXCERPT_BYTES_MAX = 2048
PARTIAL_BYTES_MAX = 65_536
TOO_DEEP = f"nests more than {OUTPUT_DEPTH_MAX} levels deep; map a part of it, or flatten it"

Note = Callable[[str, str, Any], None]
_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(dict[str, Any]).decode
_UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


class LoadedFunction(Struct, frozen=True):
    """A function of an operator, and where it stands. `take` may change what it is given."""

    path: str
    run: RunFunction
    take: RunFunction


def load_functions(
    functions: Sequence[Function], when: Literal["before", "after"], shelf: CodeShelf
) -> tuple[LoadedFunction, ...]:
    """Load the functions that run before the sections, or after them."""
    return tuple(
        LoadedFunction(path, *shelf.function(path, each.lang, each.body))
        for path, each in ((f"functions[{n}]", each) for n, each in enumerate(functions))
        if each.when == when
    )


_SENT = Shaped()  # and what is sent stands beside it


class Runner(ABC):
    """Shapes events. Implements `WritingProgram`."""

    def __init__(
        self,
        before: tuple[LoadedFunction, ...],
        after: tuple[LoadedFunction, ...],
        has_code: bool,
    ) -> None:
        self._has_code = has_code
        self._before = before
        self._after = after

    @abstractmethod
    def make(self, event: Output, moment: Moment, out: Output, note: Note | None) -> str:
        """Run the route of an event. Returns the path of the filter that dropped it, or ""."""

    def shape(self, event: Output, moment: Moment) -> Shaped:
        """Shape one canonical event. The event is not changed; outputs share values with it."""
        if self._before or self._after:
            return self._shape_whole(event, moment, None)
        out: Output = {}
        try:
            dropped = self.make(event, moment, out, None)
            if dropped:
                return Shaped(filtered=dropped)
            if BATCH not in out and not self._has_code and _fits(out):
                return Shaped((out,))
            return _finish(split_batch(out), "", self._has_code)
        except CannotShape as error:
            return Shaped(failure=_failure(error, event, out))
        except RecursionError:
            return Shaped(failure=_failure(CannotShape("output", 0, TOO_DEEP), event, None))

    def explain(self, event: Output, moment: Moment) -> Shaped:
        """Do the same and say which part made what."""
        steps: list[Step] = []
        shaped = self._shape_whole(event, moment, steps)
        return msgspec.structs.replace(shaped, steps=tuple(steps))

    def write(self, event: bytes, moment: Moment) -> tuple[Shaped, Sequence[bytes]]:
        """Shape one canonical event from JSON to JSON: `Shaped` comes without its outputs."""
        run = _WholeRun(self, moment, None)
        try:
            outputs = run.outputs_of_json(event, self._before, self._after)
            if not outputs:
                return Shaped(filtered=run.dropped or BATCH), ()
            return _SENT, _texts_of(outputs, self._has_code)
        except CannotShape as error:
            return Shaped(failure=_failure(error, event, run.partial)), ()
        except RecursionError:
            return Shaped(failure=_failure(CannotShape("output", 0, TOO_DEEP), event, None)), ()

    def _shape_whole(self, event: Output, moment: Moment, steps: list[Step] | None) -> Shaped:
        run = _WholeRun(self, moment, steps)
        try:
            outputs = run.outputs_of(event, self._before, self._after)
            return _finish(outputs, run.dropped, self._has_code)
        except CannotShape as error:
            return Shaped(failure=_failure(error, event, run.partial))
        except RecursionError:
            return Shaped(failure=_failure(CannotShape("output", 0, TOO_DEEP), event, None))


class _WholeRun:
    """One event through functions and route, with notes where they are wanted."""

    def __init__(self, runner: Runner, moment: Moment, steps: list[Step] | None) -> None:
        self.dropped = ""  # the first part that dropped one
        self.partial: Any = None
        self._runner = runner
        self._moment = moment
        self._steps = steps

    def outputs_of(
        self,
        event: Output,
        before: Sequence[LoadedFunction],
        after: Sequence[LoadedFunction],
    ) -> list[Output]:
        return self._go_on([event], event, before, after)

    def outputs_of_json(
        self,
        text: bytes,
        before: Sequence[LoadedFunction],
        after: Sequence[LoadedFunction],
    ) -> list[Output]:
        """Do the same. The first function is given the event itself: there is its text for another.

        So what it does to the event must show in no failure: that is told by the text.
        """
        event = _DECODE(text)
        if not before:
            return self._go_on([event], event, before, after)
        first, meta = before[0], self._meta(None)
        try:
            made = first.take(event, meta, self._moment)
        except CannotShape as error:
            error.given = None
            raise
        events = self._kept(first, made, text)
        _check_count(events, first.path)
        return self._go_on(events, _DECODE(text) if after else event, before[1:], after)

    def _go_on(
        self,
        events: list[Output],
        event: Output,
        before: Sequence[LoadedFunction],
        after: Sequence[LoadedFunction],
    ) -> list[Output]:
        for function in before:
            events = [made for each in events for made in self._apply(function, each, None)]
            _check_count(events, function.path)
        outputs = [out for n, each in enumerate(events) for out in self._route(each, n)]
        for function in after:
            outputs = [made for each in outputs for made in self._apply(function, each, event)]
            _check_count(outputs, function.path)
        return outputs

    def _route(self, event: Output, index: int) -> list[Output]:
        moment = self._moment
        if index:  # so that ids differ between the events that a function made of one
            moment = Moment(moment.now_ms, f"{moment.seed}\0{index}")
        out: Output = {}
        self.partial = out
        dropped = self._runner.make(event, moment, out, self._noting())
        if dropped:
            self.dropped = self.dropped or dropped
            return []
        return split_batch(out)

    def _noting(self) -> Note | None:
        steps = self._steps
        if steps is None:
            return None

        def note(path: str, key: str, value: Any) -> None:
            if key:
                steps.append(Step(path, key, value))
            elif isinstance(value, dict):
                entries = cast("Output", value).items()
                steps.extend(Step(path, name, child) for name, child in entries)

        return note

    def _meta(self, event: Output | None) -> Output:
        now_ms = self._moment.now_ms
        return {"nowMs": now_ms} if event is None else {"nowMs": now_ms, "event": event}

    def _apply(self, function: LoadedFunction, value: Output, event: Output | None) -> list[Output]:
        if event is not None:
            self.partial = value
        return self._kept(function, function.run(value, self._meta(event), self._moment), value)

    def _kept(self, function: LoadedFunction, made: Any, given: Output | bytes) -> list[Output]:
        if self._steps is None and isinstance(made, dict):
            return [cast("Output", made)]
        items = cast("list[Any]", made) if isinstance(made, list) else [made]
        kept = [item for item in items if item is not None]
        for item in kept:
            if not isinstance(item, dict):
                message = "returned neither an object, a list of objects, nor nothing"
                raise CannotShape(function.path, 0, message, given)
        if not kept:
            self.dropped = self.dropped or function.path
        if self._steps is not None:
            self._steps.extend(Step(function.path, "", item) for item in kept)
        return kept


def _check_count(items: Sequence[Any], path: str) -> None:
    if len(items) > ITEMS_MAX:
        raise CannotShape(path, 0, f"made {len(items)} events of one; at most {ITEMS_MAX} are made")


def split_batch(out: Output) -> list[Output]:
    """Return the outputs that an output stands for: itself, or the entries of its batch.

    What else the output holds goes into each entry, under what the entry says itself.
    """
    if BATCH not in out:
        return [out]
    found: Any = out[BATCH] or []
    entries = cast("list[Any]", found) if isinstance(found, list) else [None]
    if not all(isinstance(entry, dict) for entry in entries):
        raise CannotShape(BATCH, 0, "is no list of objects; each entry is one event to send")
    common = {key: value for key, value in out.items() if key != BATCH}
    outputs: list[Output] = []
    for entry in cast("list[Output]", entries):
        output = own(common)
        merge(output, entry)
        outputs.append(output)
    _check_count(outputs, BATCH)
    return outputs


def _fits(output: Output) -> bool:
    try:
        return len(_ENCODE(output)) <= OUTPUT_BYTES_MAX
    except _UNENCODABLE:
        return False


def _finish(outputs: list[Output], dropped: str, has_code: bool) -> Shaped:
    """Check what came out against the limits. Raises `CannotShape`."""
    if not outputs:
        return Shaped(filtered=dropped or BATCH)
    _texts_of(outputs, has_code)
    return Shaped(tuple(outputs))


def _texts_of(outputs: list[Output], has_code: bool) -> list[bytes]:
    """Return the JSON of outputs that are within the limits. Raises `CannotShape`."""
    texts: list[bytes] = []
    size = 0
    for output in outputs:
        text = _json_of(output)
        if has_code and may_nest(text, OUTPUT_DEPTH_MAX) and depth_of(output) > OUTPUT_DEPTH_MAX:
            raise CannotShape("output", 0, TOO_DEEP)
        size += len(text)
        if size > OUTPUT_BYTES_MAX:
            message = f"is larger than {OUTPUT_BYTES_MAX:,} bytes of JSON; map less of the event"
            raise CannotShape("output", 0, message)
        texts.append(text)
    return texts


def _json_of(output: Output) -> bytes:
    """Return the JSON of an output. Raises `CannotShape` for what is none."""
    try:
        return _ENCODE(output)
    except RecursionError:
        raise CannotShape("output", 0, TOO_DEEP) from None
    except _UNENCODABLE as error:
        raise CannotShape("output", 0, f"is no JSON: {error}") from None


def may_nest(text: bytes, levels: int) -> bool:
    """Say whether JSON may hold objects and lists more than so many levels inside each other.

    Counting brackets takes a fraction of the time of looking, and nearly always settles the matter;
    taking them out and measuring what is left counts three times as fast as `count` does.
    """
    size = len(text)
    objects = size - len(text.replace(b"{", b""))
    return objects + size - len(text.replace(b"[", b"")) > levels


def depth_of(value: Any) -> int:
    """Return how many objects and lists stand inside each other."""
    level = 0
    below = _children(value)
    while below is not None:
        level += 1
        deeper = [c for c in map(_children, below) if c is not None]
        below = [child for children in deeper for child in children] if deeper else None
    return level


def _children(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        return list(cast("Output", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else None


def _failure(error: CannotShape, event: Output | bytes, partial: Any) -> Failure:
    given = event if error.given is None else error.given
    return Failure(error.path, error.line, str(error), excerpt(given), bounded(partial))


def excerpt(value: Any) -> str:
    """Return the beginning of a value's JSON (bytes are JSON already); empty where it has none."""
    try:
        text = value if type(value) is bytes else _ENCODE(value)
        return text[:EXCERPT_BYTES_MAX].decode("utf-8", "ignore")
    except _UNENCODABLE:
        return ""


def bounded(value: Any) -> Any:
    """Return a value, or None where its JSON is too long to keep, or there is none."""
    try:
        return value if len(_ENCODE(value)) <= PARTIAL_BYTES_MAX else None
    except _UNENCODABLE:
        return None
