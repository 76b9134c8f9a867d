"""The inside of a jailed process: load one work, then answer requests until the socket closes.

What the code did to this process is its own loss: whatever goes wrong here outside the code ends
the process, and the node starts another.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any

import msgspec

from trunkline.jail.frames import (
    Answers,
    Broken,
    CodeFailed,
    Load,
    Loaded,
    Run,
    Said,
    Shape,
    TooLong,
    Value,
    decode_asked,
    encode_message,
    receive_frame,
    send_frame,
)
from trunkline.jail.loader import JailLoader, Runner
from trunkline.jail.notes import Notes
from trunkline.jail.python_code import close_modules
from trunkline.kit.shaping import Work
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.program import (
    CodeError,
    Moment,
    PlaybookError,
    Problem,
    Program,
    Shaped,
    Step,
)


class Workplace:
    """What one process has loaded."""

    def __init__(self, load: Load) -> None:
        """Load the work. Raises `PlaybookError`."""
        self._notes = Notes()
        sys.stdout = sys.stderr = self._notes
        close_modules()
        loader = JailLoader(self._notes, load.heap_bytes)
        self._program = _compile(load.work, loader)
        self._code = _load_code(load.work, loader)

    def answer(self, asked: Shape | Run) -> Said | Answers:
        """Answer one request."""
        if isinstance(asked, Run):
            return self._run(asked)
        if asked.explain:
            return Answers(tuple(self._explain(*event) for event in asked.events), ())
        if self._program is None:
            return Answers(tuple(Shaped((event,)) for event, _ in asked.events), ())
        shape = self._program.shape
        shaped = tuple([shape(event, moment) for event, moment in asked.events])
        return Answers(shaped, self._notes.take())

    def _explain(self, event: dict[str, Any], moment: Moment) -> Shaped:
        if self._program is None:
            return Shaped((event,))
        shaped = self._program.explain(event, moment)
        said = tuple(Step("log", "", line) for line in self._notes.take())
        return msgspec.structs.replace(shaped, steps=(*shaped.steps, *said))

    def _run(self, asked: Run) -> Said:
        try:
            value = self._code[asked.name](asked.values, asked.moment)
            return Value(value, self._notes.take())
        except CodeError as error:
            return CodeFailed(str(error), error.line, self._notes.take())


def _compile(work: Work, loader: JailLoader) -> Program | None:
    if not work.playbook:
        return None
    playbook = parse_playbook(msgspec.json.decode(work.playbook))
    return compile_playbook(playbook, work.params, loader)


def _load_code(work: Work, loader: JailLoader) -> dict[str, Runner]:
    loaded: dict[str, Runner] = {}
    problems: list[Problem] = []
    for name, source in work.code.items():
        try:
            loaded[name] = loader.named(source)
        except CodeError as error:
            at = f"line {error.line}: " if error.line else ""
            problems.append(Problem(source.path, f"{at}{error}"))
    if problems:
        raise PlaybookError(tuple(problems))
    return loaded


def serve(descriptor: int) -> None:
    """Load what is asked first, then answer until the other end closes."""
    workplace: Workplace | None = None
    bytes_max = 0
    while frame := receive_frame(descriptor):
        number, text = frame
        try:
            asked = decode_asked(text)
            if isinstance(asked, Load):
                workplace, said = _load(asked)
                bytes_max = asked.reply_bytes_max
            else:
                assert workplace is not None
                said = workplace.answer(asked)
            reply = encode_message(said)
            if len(reply) > bytes_max:
                reply = encode_message(TooLong(len(reply)))
        except BaseException as error:
            send_frame(descriptor, number, encode_message(Broken(_last_words(error))))
            return
        send_frame(descriptor, number, reply)


def _load(load: Load) -> tuple[Workplace | None, Loaded]:
    try:
        return Workplace(load), Loaded(())
    except PlaybookError as error:
        return None, Loaded(error.problems)
    except (MemoryError, RecursionError) as error:
        return None, Loaded((Problem("", f"it does not load: {type(error).__name__}"),))


def _last_words(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-3))[-1000:]
