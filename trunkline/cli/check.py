"""`trunkline check`: everything that is wrong with a workspace file, at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from trunkline.catalog.check import read_workspace
from trunkline.catalog.database import CatalogError
from trunkline.catalog.kits import choose_kit, kit_names
from trunkline.catalog.shaping_checks import unknown_kit
from trunkline.catalog.vault import VaultError
from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    say,
    say_json,
)
from trunkline.cli._jail import load_code
from trunkline.kit.yaml_text import CHARACTERS_MAX
from trunkline.kits.kit import Kit, KitError, parse_kit
from trunkline.node import destination_kinds
from trunkline.state.home import Home


def command(file: Path, /, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Say everything that is wrong with a workspace file, at once, with paths. Changes nothing.

    Params of kits are judged by the kits that are shipped, or imported into the home, if there is
    one.

    Secrets given as {env: NAME} or {file: PATH} are looked up, so a missing one is told too. A
    secret that stands in the file is a warning.

    Example: `trunkline check workspace.yaml`

    Parameters
    ----------
    file
        The workspace file.
    """
    text = read_file(file)
    with catalog_errors():
        reading = read_workspace(
            text,
            destination_kinds(),
            os.environ,
            file.parent,
            load_code,
            lambda name: _find_kit(Home(home), name),
        )
    if json:
        say_json(
            {
                "ok": not reading.problems,
                "problems": reading.problems,
                "warnings": reading.warnings,
            }
        )
        return 1 if reading.problems else 0
    for warning in reading.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if reading.problems:
        return say_problems(reading.problems)
    say(f"{file}: nothing wrong")
    return 0


def _find_kit(home: Home, name: str) -> Kit | str | None:
    """Return what a kit's name means in a home, which need not exist; a sentence for no kit."""
    found = choose_kit(home, name)
    if found is None:
        return unknown_kit(name, kit_names(home))
    try:
        return parse_kit(msgspec.json.decode(found.json))
    except KitError:
        return None  # `apply` says what is to be done about it


def say_problems(problems: Sequence[str]) -> int:
    """Print every problem on standard error; return the exit code."""
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1


def read_file(file: Path) -> str:
    """Return the text of a workspace file. Raises `CommandError`."""
    try:
        with file.open("rb") as opened:
            data = opened.read(4 * CHARACTERS_MAX + 1)
        return data.decode("utf-8")
    except OSError as error:
        raise CommandError(
            f"{file}: cannot be read ({error.strerror}); correct the path"
        ) from error
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{file}: is no UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error


@contextmanager
def catalog_errors() -> Generator[None]:
    """Turn what the catalog raises into one sentence for standard error."""
    try:
        yield
    except (CatalogError, VaultError) as error:
        raise CommandError(str(error)) from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise CommandError(
            f"the catalog's database cannot be used ({reason}); nothing was changed; try again, "
            "or bring catalog.db back from the backup"
        ) from error
