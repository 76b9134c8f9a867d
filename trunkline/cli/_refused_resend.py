"""The parts of `trunkline refused resend`: what is asked, what it comes to, how it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.bulk.mending import Change
from trunkline.bulk.resending import Judged, Resender, ResendJudge, ResendStopped
from trunkline.cli._frame import CommandError, read_boot
from trunkline.cli._node import read_snapshot
from trunkline.kit.clock import SystemClock
from trunkline.kit.redact import redact
from trunkline.model.snapshot import App, Snapshot, fold_name
from trunkline.node import open_log, protocol_shelf, stamp_base, stamp_from
from trunkline.reports.refused import RefusedFilter, read_refused
from trunkline.state.home import Home
from trunkline.state.resent import open_resent

SOME_NOT_SENT = 3  # the exit code
EDIT_BYTES_MAX = 65_536
_WORDS = {
    "ready": "would be accepted",
    "refused": "would be refused again",
    "unable": "cannot be sent",
    "resent": "was sent again before",
}


class Asked(Struct, frozen=True):
    """What the command line asks for; `which` says nothing of the app."""

    home: Home
    app: str
    which: RefusedFilter
    change: Change
    is_again: bool


class Line(Struct, frozen=True, rename="camel"):
    """What is told of one refused event; `message_ids` of the events that it becomes."""

    id: int
    at: str
    code: str
    outcome: str
    sentence: str
    body: str
    message_ids: Sequence[str]


class Totals(Struct, frozen=True, rename="camel"):
    """What is told of all; `sent` is how many events were stored, None for a look only."""

    sent: int | None
    refused: Sequence[Line]


def read_change(pairs: Sequence[str], edit: Path | None, key: str, ids: Sequence[int]) -> Change:
    """Return what is to be changed. Raises `CommandError`."""
    if edit is not None and len(ids) != 1:
        raise CommandError("--edit gives one event anew: say which with one --id")
    values: dict[str, Any] = {}
    for pair in pairs:
        path, separator, text = pair.partition("=")
        if not separator or not all(path.split(".")):
            raise CommandError(f"--set {pair!r}: expected PATH=VALUE, say properties.size=42")
        try:
            values[path] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            values[path] = text
    return Change(values, b"" if edit is None else _read_file(edit), key)


def _read_file(path: Path) -> bytes:
    try:
        content = path.read_bytes()[: EDIT_BYTES_MAX + 1]
    except OSError as error:
        raise CommandError(
            f"--edit {path}: {error.strerror}; give a file with one event"
        ) from error
    if not content or len(content) > EDIT_BYTES_MAX:
        raise CommandError(f"--edit {path}: expected one event of 1 to {EDIT_BYTES_MAX:,} bytes")
    return content


def judge_refused(asked: Asked) -> list[Judged]:
    """Return what sending each again would come to, oldest first. Raises `CommandError`."""
    snapshot = read_snapshot(asked.home)
    app = _find_app(snapshot, asked.app)
    named = bool(asked.which.ids)  # who names one by its id is told that it was sent before
    which = msgspec.structs.replace(asked.which, app=app.id)
    found = read_refused(asked.home, which, is_resent_wanted=asked.is_again or named)
    missing = {*(asked.which.ids or ())} - {each.refused.id for each in found}
    if missing:
        raise CommandError(
            f"no refused event {min(missing)} of {app.name}; `trunkline refused list` shows what "
            "is kept"
        )
    judge = ResendJudge(protocol_shelf(), snapshot, app, asked.change)
    now_ms = SystemClock().now_ms()
    return [judge.judge(each, now_ms, is_again=asked.is_again) for each in found]


def _find_app(snapshot: Snapshot, name: str) -> App:
    found = [a for a in snapshot.apps if a.id == name or fold_name(a.name) == fold_name(name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{app.id} ({app.name})" for app in snapshot.apps[:20]) or "none"
    raise CommandError(
        f"{name!r} names {'several apps' if found else 'no app'}; there are: {known}"
    )


def send_judged(asked: Asked, judged: Sequence[Judged]) -> int:
    """Store what is ready; return how many events. Raises `CommandError`."""
    clock = SystemClock()
    log = open_log(asked.home, read_boot(asked.home), clock)
    try:
        stamp = stamp_from(stamp_base(log, clock), clock)
        with (
            open_resent(asked.home) as book,
            closing(Resender(log, book, clock, stamp)) as resender,
        ):
            marked = resender.mark_appended()  # by a command that was killed meanwhile
            left = [each for each in judged if asked.is_again or each.origin.known_by not in marked]
            return resender.send(left)
    except ResendStopped as error:
        raise CommandError(str(error)) from error
    finally:
        log.close()


def totals_of(judged: Sequence[Judged], sent: int | None) -> Totals:
    """Return the outcome for programs."""
    return Totals(sent, [_line(each) for each in judged])


def lines_of(judged: Sequence[Judged], sent: int | None) -> Iterator[str]:
    """Yield the outcome for people: each refused event, then how many there are of which kind."""
    for each in judged:
        line = _line(each)
        why = f": {line.sentence}" if line.sentence else ""
        word = "sent" if sent is not None and each.outcome == "ready" else _WORDS[each.outcome]
        yield f"{line.id:>6}  {line.at}  {line.code}  {word}{why}"
        if line.body:
            yield f"        {line.body}"
    counts = Counter(each.outcome for each in judged)
    if not judged:
        yield "Nothing that was refused fits, or all of it was sent again."
        return
    if sent is None:
        others = [f"{counts[kind]} {_WORDS[kind]}" for kind in _WORDS if counts[kind]]
        yield f"{', '.join(others)}. Nothing was sent" + (
            "; --yes sends the good ones." if counts["ready"] else "."
        )
    else:
        left = len(judged) - counts["ready"]
        yield f"{sent} events of {counts['ready']} refused were sent again; {left} were not."


def _line(judged: Judged) -> Line:
    refused = judged.origin.refused
    return Line(
        refused.id,
        refused.at,
        refused.code,
        judged.outcome,
        judged.sentence,
        redact(judged.body).decode() if judged.body else "",
        [record.message_id for record in judged.records],
    )
