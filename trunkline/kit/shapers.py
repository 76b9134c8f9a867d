"""Playbooks that are data, run where the events are: compiled once for all who have the same one.

What holds code of an operator is not run here: `Programs.find` says so with None, and the caller
goes to a `Workshop` (kit/shaping.py).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from trunkline.kit.shaping import CodeHeld, Held, Shaper
from trunkline.playbook.check import needs_code, parse_playbook
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.program import Failure, Moment, Program, Shaped

PROGRAMS_MAX = 1000  # compiled at a time: about 30 KB each
PARTIAL_BYTES_MAX = 65_536  # of an output so far that is kept with a dead letter
EXCERPT_LENGTH = 2000

Run = Callable[[dict[str, Any], Moment], Shaped]


def moment_of(destination: str, message_id: str, now_ms: int) -> Moment:
    """Return the moment an event is shaped at for `app/id`: the same seed at every attempt."""
    return Moment(now_ms, f"{destination}\0{message_id}")


class Programs:
    """Compiled playbooks by their content, the last used ones kept. None: it holds code."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Program | None] = OrderedDict()

    def find(self, playbook: bytes, params: Mapping[str, str]) -> Program | None:
        """Return a playbook ready to run here, or None where it needs the jail.

        Raises `PlaybookError` with every mistake, or `msgspec.DecodeError` for no JSON.
        """
        key = _digest(playbook, params)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        parsed = parse_playbook(msgspec.json.decode(playbook))
        program = None if needs_code(parsed) else compile_playbook(parsed, params)
        self._kept[key] = program
        if len(self._kept) > PROGRAMS_MAX:
            self._kept.popitem(last=False)
        return program


def _digest(playbook: bytes, params: Mapping[str, str]) -> bytes:
    return hashlib.sha256(msgspec.json.encode(sorted(params.items())) + b"\0" + playbook).digest()


class InProcess(Shaper):
    """A playbook that is data, run at once."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def shape(
        self, events: Sequence[tuple[dict[str, Any], Moment]], *, explain: bool = False
    ) -> Sequence[Shaped | Held]:
        return self.shape_now(events, explain=explain)

    def shape_now(
        self, events: Sequence[tuple[dict[str, Any], Moment]], *, explain: bool = False
    ) -> list[Shaped]:
        """Do the same without an event loop."""
        run = self._program.explain if explain else self._program.shape
        return [_run(run, event, moment) for event, moment in events]

    async def call(self, name: str, values: dict[str, Any]) -> Any:  # noqa: ARG002
        raise CodeHeld(f"{name} is code, which runs in a jail only")

    async def close(self) -> None:
        """There is nothing to let go of."""


def _run(run: Run, event: dict[str, Any], moment: Moment) -> Shaped:
    try:
        return run(event, moment)
    except Exception as error:  # a fault of ours costs one event its way, and nobody else's
        message = f"the playbook failed in our own code: {type(error).__name__}: {error}"[:300]
        return Shaped(failure=Failure("", 0, message, "", None))


def encode_output(output: Any) -> bytes | str:
    """Return an output as JSON, or a sentence where it cannot be written."""
    try:
        return msgspec.json.encode(output)
    except (OverflowError, TypeError, ValueError, RecursionError) as error:
        return f"the output cannot be written as JSON: {error}"


def describe_failure(failure: Failure) -> tuple[bytes, bytes]:
    """Return what is kept of a failure with its dead letter, as JSON: partial output, and where.

    An output so far that is longer than `PARTIAL_BYTES_MAX` is kept as the beginning of its text.
    """
    partial = encode_output(failure.partial)
    if isinstance(partial, str):
        partial = b""
    elif len(partial) > PARTIAL_BYTES_MAX:
        partial = msgspec.json.encode(partial[:PARTIAL_BYTES_MAX].decode("utf-8", "replace") + "…")
    where = {
        "path": failure.path,
        "line": failure.line,
        "message": failure.message[:EXCERPT_LENGTH],
        "input": failure.input[:EXCERPT_LENGTH],
    }
    return partial, msgspec.json.encode(where)
