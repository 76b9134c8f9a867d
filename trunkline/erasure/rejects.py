"""What imports over HTTP keep of a person: files that wait, and the rows they rejected."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from trunkline.kit.erasure import ERASED, Person, mentions
from trunkline.kit.eventlog import LogFailure
from trunkline.reports.imports import rejects_file
from trunkline.state.home import Home
from trunkline.state.imports import looking_at_imports

IMPORTS_MAX = 10_000  # looked at, the newest of an app


def has_open_imports(home: Home, app: str, before_ms: int) -> bool:
    """Say whether a file that came before a time has yet to be taken in."""
    with looking_at_imports(home) as imports:
        rows = [] if imports is None else imports.latest(app, IMPORTS_MAX)
        return any(row.spool and not row.is_over and row.started_ms <= before_ms for row in rows)


def erase_rejects(home: Home, person: Person) -> int:
    """Blank the rejected rows that hold an id of the person; return how many. Durable.

    Rejected rows were not understood, so ids are looked for as text. Raises `LogFailure`.
    """
    with looking_at_imports(home) as imports:
        rows = [] if imports is None else imports.latest(person.app, IMPORTS_MAX)
    hints = person.hints()
    return sum(_erase(rejects_file(home, row.name), hints) for row in rows if row.is_over)


def _erase(file: Path, hints: list[bytes]) -> int:
    if not file.exists():
        return 0
    copy = file.with_name(file.name + ".copy")
    blanked = 0
    try:
        with file.open("rb") as old, copy.open("wb") as new:
            for line in old:
                is_theirs = mentions(line, hints)
                blanked += is_theirs
                new.write(_rest_of(line) if is_theirs else line)
            new.flush()
            os.fsync(new.fileno())
        if blanked:
            copy.replace(file)
    except OSError as error:
        raise LogFailure(f"{file}: cannot be written anew ({error.strerror})") from error
    finally:
        copy.unlink(missing_ok=True)
    return blanked


def _rest_of(line: bytes) -> bytes:
    """Return a line with its number alone, and of the length that it had: readers go by that."""
    try:
        number = msgspec.json.decode(line, type=dict[str, object]).get("line", 0)
    except msgspec.MsgspecError:
        number = 0
    left = msgspec.json.encode({"line": number, "code": ERASED, "message": ERASED})
    return left.ljust(len(line) - 1) + b"\n"
