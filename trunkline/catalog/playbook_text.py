"""A playbook as it stands in a workspace file, inline or by `{file: PATH}`, or in its own file.

Whatever way it came, it leaves here in its canonical form: what is equal has equal text, so that a
revision is known again by its digest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec

from trunkline.catalog.conform import INVALID, Context, Invalid, Place, show
from trunkline.kit.yaml_text import YamlError, read_yaml
from trunkline.playbook.check import parse_playbook, playbook_json
from trunkline.playbook.program import PlaybookError, Problem

PLAYBOOK_BYTES_MAX = 1_048_576
FILE_BYTES_MAX = 4 * PLAYBOOK_BYTES_MAX

Tree = dict[str, Any]


class PlaybookFileError(Exception):
    """A playbook's file cannot be used; the message says why and what to do."""


def canonical_tree(tree: Any) -> Tree:
    """Return a playbook in its canonical form. Raises `PlaybookError` with all its mistakes."""
    content = playbook_json(parse_playbook(tree))
    if len(content) > PLAYBOOK_BYTES_MAX:
        raise PlaybookError(
            (
                Problem(
                    "",
                    f"has {len(content)} bytes; at most {PLAYBOOK_BYTES_MAX} are kept; "
                    "shorten its code, or send to two destinations",
                ),
            )
        )
    return msgspec.json.decode(content, type=Tree)


def read_playbook(value: Any, place: Place, context: Context) -> Tree | Invalid | None:
    """Return the playbook that a workspace file gives a destination, after reporting what is wrong.

    None stands for null: the kind's own form.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        expected = "a mapping with default, global, eventSpecific, or {file: PATH}"
        return context.wrong(place, show(value), expected, "write it so, or leave it out")
    tree, source = cast(Tree, value), ""
    if set(tree) == {"file"}:
        found = _load_beside(tree["file"], place, context)
        if isinstance(found, Invalid):
            return found
        tree, source = found, f" (in {tree['file']})"
    try:
        return canonical_tree(tree)
    except PlaybookError as error:
        report(error.problems, place, context.problems, source)
        return INVALID


def report(problems: tuple[Problem, ...], place: Place, told: list[str], source: str = "") -> None:
    """Tell the mistakes of a playbook by their place in the workspace file."""
    for problem in problems:
        path = f"{place.path}.{problem.path}".rstrip(".")
        at = Place(place.absolute, place.anchor, path)
        told.append(at.says(problem.message + source))


def _load_beside(name: Any, place: Place, context: Context) -> Any:
    """Return what a file beside the workspace file holds. It may not lie outside its folder."""
    advice = "correct the path; it starts at the workspace file"
    if not isinstance(name, str) or not name:
        return context.wrong(place.key("file"), show(name), "a path, as text", advice)
    folder = context.base.resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        came = f"{show(name)}, which lies outside {folder}"
        return context.wrong(place.key("file"), came, "a file beside the workspace file", advice)
    try:
        return load_file(path)
    except PlaybookFileError as error:
        context.problems.append(place.key("file").says(f"is {show(name)}: {error}"))
        return INVALID


def load_file(path: Path) -> Any:
    """Return what a file of YAML or JSON holds. Raises `PlaybookFileError`."""
    if not path.is_file():  # a pipe or a device could block us for ever
        raise PlaybookFileError(f"{path} is not there, or no file; correct the path")
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise PlaybookFileError(f"{path} has more than {FILE_BYTES_MAX} bytes; shorten it")
        text = data.decode("utf-8")
        return _read_json(data) if path.suffix == ".json" else read_yaml(text)
    except OSError as error:
        reason = f"{path} cannot be read ({error.strerror}); correct the path"
        raise PlaybookFileError(reason) from error
    except UnicodeDecodeError as error:
        raise PlaybookFileError(f"{path} is no UTF-8 text; save it as UTF-8") from error
    except YamlError as error:
        raise PlaybookFileError(f"{path}: {error}") from error


def _read_json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise YamlError(f"not JSON: {error}; correct it") from error
