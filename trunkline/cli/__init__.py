"""The verbs: one file each, named as it is typed. The folder is the list.

A file holds `command`: a function, or a cyclopts `App` where the verb has verbs of its own. It is
imported only when its verb is used, so that a short command starts fast.
"""

from __future__ import annotations

import keyword
from pathlib import Path

import cyclopts

import trunkline


def list_verbs() -> list[str]:
    """Return every verb, in the order of the alphabet."""
    files = Path(__file__).parent.glob("[a-z]*.py")
    return sorted(file.stem.rstrip("_").replace("_", "-") for file in files)


def build(*, is_whole: bool = False) -> cyclopts.App:
    """Return the command line; `is_whole` loads every verb, as a page about all of them needs."""
    app = cyclopts.App(
        name="trunkline",
        help="A self-hosted server-to-server event platform.",
        version=trunkline.__version__,
        result_action="return_value",
    )
    for verb in list_verbs():
        stem = verb.replace("-", "_")
        # A word of Python's own cannot be the name of a file that is imported.
        module = f"{stem}_" if keyword.iskeyword(stem) else stem
        app.command(f"trunkline.cli.{module}:command", name=verb)
        if is_whole:
            app[verb]
    return app
