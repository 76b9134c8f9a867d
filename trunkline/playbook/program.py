"""What a compiled playbook is to those who run it: an event in, what is sent of it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

Language = Literal["lua", "python", "javascript"]


class Problem(Struct, frozen=True):
    """One mistake: where (`default.mappings[3].transforms[0]`), what, and what was expected."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class PlaybookError(ValueError):
    """A playbook with mistakes: all of them at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class CodeError(Exception):
    """Code that an operator wrote does not load, or failed. `line` counts from 1; 0: not known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Moment(Struct, frozen=True):
    """What makes a run repeatable: its clock, and the seed of its ids and dice.

    The clock is the attempt's; the seed is destination, NUL, messageId, so that the ids that a
    receiver tells duplicates by are the same at every attempt.
    """

    now_ms: int
    seed: str


class Failure(Struct, frozen=True):
    """Why an event could not be shaped: the line, what stood in front of it, what there was so far.

    `path` names the part of the playbook, `line` the line of its code (0: no code). `input` is an
    excerpt of what the part was given, `partial` the output until then.
    """

    path: str
    line: int
    message: str
    input: str
    partial: Any

    @property
    def sentence(self) -> str:
        """The failure as a person reads it."""
        at = f", line {self.line}" if self.line else ""
        return f"playbook {self.path}{at}: {self.message}"


class Step(Struct, frozen=True):
    """What one part of a playbook did to the output: `path` made `output_key` hold `value`."""

    path: str
    output_key: str
    value: Any


class Shaped(Struct, frozen=True):
    """What became of one event.

    `outputs`: what is sent; several where `_metarouter_batch` or a function made several of one.
    None of them: `filtered` names the filter (or function) that dropped it, or `failure` says why
    it could not be shaped. `steps` only where they were asked for.
    """

    outputs: tuple[dict[str, Any], ...] = ()
    filtered: str = ""
    failure: Failure | None = None
    steps: tuple[Step, ...] = ()


Code = Callable[[Any, Moment], Any]
"""Code of an operator, loaded: a value in, a value out. Raises `CodeError`."""


class CodeLoader(Protocol):
    """What a jailed worker can do and nobody else: load what an operator wrote."""

    def expression(self, lang: str, body: str) -> Code:
        """Load an expression: a body that reads `input` and returns. Raises `CodeError`."""
        ...

    def function(self, lang: str, body: str) -> Callable[[Any, dict[str, Any], Moment], Any]:
        """Load a body that defines `transform_event(event, meta)`. Raises `CodeError`.

        Whatever the code does to what it is given, the caller's own values stay as they are. It
        may have a method `take` besides, which does the same without copying them first.
        """
        ...


class Program(Protocol):
    """A playbook ready to run. Never raises for what an event holds."""

    def shape(self, event: dict[str, Any], moment: Moment) -> Shaped:
        """Shape one canonical event. The event is not changed."""
        ...

    def explain(self, event: dict[str, Any], moment: Moment) -> Shaped:
        """Do the same and say which part made what."""
        ...


class WritingProgram(Program, Protocol):
    """A program that reads and writes JSON as well."""

    def write(self, event: bytes, moment: Moment) -> tuple[Shaped, Sequence[bytes]]:
        """Shape one canonical event from JSON to JSON: `Shaped` comes without its outputs."""
        ...
