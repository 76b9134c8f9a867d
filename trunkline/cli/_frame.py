"""What the verbs share: where the home is, how to say a result, how to fail with one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from trunkline.kit.settings import Boot, SettingsError, load_boot
from trunkline.kit.times import parse_time_ms
from trunkline.state.home import Home, HomeError

HomeOption = Annotated[
    Path,
    cyclopts.Parameter(
        name="--home", env_var="TRUNKLINE_HOME", help="The folder that holds everything."
    ),
]
JsonOption = Annotated[
    bool, cyclopts.Parameter(name="--json", negative="", help="Print JSON, for programs.")
]
HOME_DEFAULT = Path(".trunkline")


class CommandError(Exception):
    """A command failed; the message is the one sentence for standard error.

    Where that is not enough, each of `problems` is said on a line of its own below it.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = problems


def open_home(folder: Path) -> Home:
    """Return the home, made or checked. Raises `CommandError`."""
    home = Home(folder)
    try:
        home.prepare()
    except HomeError as error:
        raise CommandError(str(error)) from error
    return home


def read_boot(home: Home, flags: Mapping[tuple[str, str], Any] | None = None) -> Boot:
    """Return the boot settings of a home. Raises `CommandError`."""
    try:
        return load_boot(home.settings_file, os.environ, flags or {})
    except SettingsError as error:
        raise CommandError(str(error)) from error


def say(text: str = "") -> None:
    """Print a line of the result."""
    print(text, flush=True)  # `tail | grep` and `serve > log` see it at once


def say_json(value: object) -> None:
    """Print a result as indented JSON."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.flush()


def parse_moment(text: str, now_ms: int) -> int:
    """Return Unix milliseconds of a time, or of a span back from now: `90s`, `15m`, `2h`, `3d`."""
    units = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    if text[:-1].isdigit() and text[-1:] in units:
        return now_ms - int(text[:-1]) * units[text[-1]]
    at_ms = parse_time_ms(text)
    if at_ms is None:
        raise CommandError(f"{text!r} is no time; expected 2026-11-20T10:15:30Z, or 2h, or 3d")
    return at_ms
