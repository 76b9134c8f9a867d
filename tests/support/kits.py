"""The public starter kits that Trunkline reads as they are: where they lie, and what is in them.

They come with the other packages of `tests/clients/node` (`make client-libraries`). Without them a
test is skipped; under CI that is a failure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.client_libraries import NODE_FOLDER

PACKAGE = "@metarouter/ajs-starter-kit"
KITS = 124
PARTS = ("metadata", "connection", "playbook")
_FOLDER = NODE_FOLDER / "node_modules" / PACKAGE / ".dist"


class KitBody(NamedTuple):
    """A piece of Lua in a kit: the kit, the part, the path inside of it, the text."""

    kit: str
    part: str
    path: str
    body: str


@pytest.fixture(scope="session")
def kits_folder() -> Path:
    """The folder that holds `<kit>/{metadata,connection,playbook}.json` for every kit."""
    return find_kits()


def find_kits() -> Path:
    """Return the folder of the kits, or skip the test that asks."""
    if not _FOLDER.is_dir():
        end = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        end(f"{PACKAGE} is not installed; run make client-libraries")
    return _FOLDER


def kit_names() -> list[str]:
    """Return the names of the kits, sorted."""
    return sorted(path.name for path in find_kits().iterdir() if path.is_dir())


@cache
def _text_of(path: Path) -> str:
    return path.read_text("utf-8")


def read_kit(name: str) -> dict[str, Any]:
    """Return the parts of a kit by name; a fresh copy each time. A part it lacks is left out."""
    folder = find_kits() / name
    return {p: json.loads(_text_of(f)) for p in PARTS if (f := folder / f"{p}.json").exists()}


def kit_params(kit: dict[str, Any]) -> dict[str, str]:
    """Return a value for every param of a kit: its default, else its example, else its name."""
    declared = [
        param
        for part in ("connection", "playbook")
        for param in (kit.get(part) or {}).get("params") or ()
    ]
    return {p["name"]: _value_of(p) for p in declared}


def _value_of(param: dict[str, Any]) -> str:
    return str(param.get("defaultValue") or param.get("exampleValue") or param["name"])


@cache
def kit_bodies() -> tuple[KitBody, ...]:
    """Return every Lua body of every kit, in order, with the `$$NAME$$` as they stand."""
    found: list[KitBody] = []
    for name in kit_names():
        for part, tree in read_kit(name).items():
            found += [KitBody(name, part, path, body) for path, body in _bodies(tree, "")]
    return tuple(found)


def _bodies(tree: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        if "lang" in tree and "body" in tree:
            yield path, tree["body"]
        for key, child in tree.items():
            yield from _bodies(child, f"{path}.{key}" if path else key)
    elif isinstance(tree, list):
        for number, child in enumerate(tree):
            yield from _bodies(child, f"{path}[{number}]")
