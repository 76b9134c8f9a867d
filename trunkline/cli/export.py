"""`trunkline export`: the catalog as a workspace file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from trunkline.catalog.export import export_workspace
from trunkline.catalog.vault import replace_private
from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    say,
    say_json,
)
from trunkline.cli.check import catalog_errors
from trunkline.kit.clock import SystemClock


def command(
    file: Path | None = None,
    /,
    *,
    reveal: Annotated[
        bool, cyclopts.Parameter(negative="", help="Write secrets in clear.")
    ] = False,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Write the catalog as a workspace file: to FILE (readable by you alone), else to the screen.

    Secrets become references such as {env: WALLET_DEV_KEY}; with --reveal they stand in clear, and
    the file applies back to nothing to change.

    Example: `trunkline export workspace.yaml`

    Parameters
    ----------
    file
        Where to write; left out, standard output.
    """
    with catalog_errors():
        exported = export_workspace(open_home(home), SystemClock(), reveal=reveal)
    if file is not None:
        try:
            replace_private(file, exported.text.encode())
        except OSError as error:
            raise CommandError(
                f"{file}: cannot be written ({error.strerror}); give another path"
            ) from error
    if json:
        say_json(
            {
                "file": None if file is None else str(file),
                "workspace": exported.text if file is None else None,
                "variables": exported.variables,
            }
        )
    elif file is None:
        sys.stdout.write(exported.text)
    else:
        say(f"{file} written")
        for name in exported.variables:
            say(f"  set {name} before you apply it")
    return 0
