"""The inside of a jailed process: load one work, then answer requests until the socket closes.

What the code did to this process is its own loss: whatever goes wrong here outside the code ends
the process, and the node starts another.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import msgspec

from trunkline.jail.frames import (
    Answer,
    Answers,
    Broken,
    CodeFailed,
    Load,
    Loaded,
    Run,
    Shape,
    TooLong,
    Value,
    Written,
    decode_asked,
    encode_message,
    parts_of,
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
    Shaped,
    Step,
    WritingProgram,
)

_DECODE = msgspec.json.Decoder(dict[str, Any]).decode
_ENCODE = msgspec.json.Encoder().encode


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

    def answer(self, asked: Shape | Run, parts: bytes) -> tuple[Written, Sequence[bytes]]:
        """Answer one request, whose events are `parts`; outputs go beside the answer."""
        if isinstance(asked, Run):
            return self._run(asked), ()
        answer = self._explained if asked.explain else self._shaped
        answers: list[Answer] = []
        outputs: list[bytes] = []
        # One event after the other, so that no more than one is in memory as more than its text.
        events = parts_of(parts, asked.sizes)
        for event, moment in zip(events, asked.moments, strict=True):
            shaped, texts = answer(event, moment)
            sizes = tuple(map(len, texts))
            answers.append(Answer(sizes, shaped.filtered, shaped.failure, shaped.steps))
            outputs += texts
        return Answers(tuple(answers), self._notes.take()), outputs

    def _shaped(self, event: bytes, moment: Moment) -> tuple[Shaped, Sequence[bytes]]:
        return self._program.write(event, moment) if self._program else (Shaped(), (event,))

    def _explained(self, event: bytes, moment: Moment) -> tuple[Shaped, Sequence[bytes]]:
        if self._program is None:
            return Shaped(), (event,)
        shaped = self._program.explain(_DECODE(event), moment)
        said = tuple(Step("log", "", line) for line in self._notes.take())
        shaped = msgspec.structs.replace(shaped, steps=(*shaped.steps, *said))
        return shaped, [_ENCODE(output) for output in shaped.outputs]

    def _run(self, asked: Run) -> Written:
        try:
            value = self._code[asked.name](asked.values, asked.moment)
            return Value(value, self._notes.take())
        except CodeError as error:
            return CodeFailed(str(error), error.line, self._notes.take())


def _compile(work: Work, loader: JailLoader) -> WritingProgram | None:
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
        outputs: Sequence[bytes] = ()
        try:
            asked = decode_asked(frame.message)
            if isinstance(asked, Load):
                workplace, said = _load(asked)
                bytes_max = asked.reply_bytes_max
            else:
                assert workplace is not None
                said, outputs = workplace.answer(asked, frame.parts)
            reply = encode_message(said)
            size = len(reply) + sum(map(len, outputs))
            if size > bytes_max:
                reply, outputs = encode_message(TooLong(size)), ()
        except BaseException as error:
            send_frame(descriptor, frame.number, encode_message(Broken(_last_words(error))))
            return
        send_frame(descriptor, frame.number, reply, outputs)


def _load(load: Load) -> tuple[Workplace | None, Loaded]:
    try:
        return Workplace(load), Loaded(())
    except PlaybookError as error:
        return None, Loaded(error.problems)
    except (MemoryError, RecursionError) as error:
        return None, Loaded((Problem("", f"it does not load: {type(error).__name__}"),))


def _last_words(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-3))[-1000:]
