"""Kits as files: a folder of three JSON files, as the public ones are, or one YAML file."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.cli._frame import CommandError
from trunkline.kit.yaml_text import YamlError, read_yaml
from trunkline.kits.kit import PARTS, Kit, KitError, parse_kit
from trunkline.kits.params import fill_params
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.lua_world import LuaLoader
from trunkline.playbook.program import CodeError, Moment, PlaybookError, Problem

KITS_MAX = 2000
FILE_BYTES_MAX = 4_194_304
# Where kits lie below the folder that somebody names: itself, a package, a folder of packages.
_PLACES = ("", "*/", ".dist/*/", "*/.dist/*/", "*/*/.dist/*/", "node_modules/*/*/.dist/*/")
_YAML = (".yaml", ".yml", ".json")


class Unread(Struct, frozen=True):
    """A kit that cannot be taken: its name, and all that is wrong."""

    name: str
    reasons: tuple[str, ...]


def find_kits(path: Path) -> list[Path]:
    """Return the kits below a path: folders of JSON files, or files. Raises `CommandError`."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CommandError(f"{path}: is no folder and no file; name a folder of kits, or one kit")
    found: list[Path] = []
    for place in _PLACES:
        found = found or sorted(file.parent for file in path.glob(f"{place}playbook.json"))
    if not found:
        found = sorted(file for file in path.iterdir() if file.suffix in _YAML[:2])
    if not found:
        raise CommandError(
            f"{path}: holds no kit; expected folders with a playbook.json in each, or YAML files"
        )
    if len(found) > KITS_MAX:
        raise CommandError(f"{path}: holds {len(found)} kits; at most {KITS_MAX} are read at once")
    return found


def read_kits(paths: Sequence[Path]) -> Iterator[Kit | Unread]:
    """Yield each kit, checked and compiled, or what is wrong with it."""
    names: set[str] = set()
    for path in paths:
        name = path.stem if path.is_file() else path.resolve().name
        try:
            kit = read_kit(path)
            check_compiles(kit)
        except PlaybookError as error:
            yield Unread(name, tuple(map(str, error.problems)))
            continue
        if kit.name in names:
            yield Unread(kit.name, ("another kit of the same name was read before; rename one",))
            continue
        names.add(kit.name)
        yield kit


def read_kit(path: Path) -> Kit:
    """Return the kit of a folder or a file. Raises `KitError` with all that is wrong."""
    if path.is_file():
        return parse_kit(_read_file(path), path.stem)
    if not path.is_dir():
        raise _fault(path, "is not there; name a kit's file, or its folder")
    files = {part: path / f"{part}.json" for part in PARTS}
    tree = {part: _read_file(file) for part, file in files.items() if file.is_file()}
    return parse_kit(tree, path.resolve().name)


def _read_file(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise _fault(file, f"is larger than {FILE_BYTES_MAX} bytes; no kit is")
        if file.suffix == ".json":
            return msgspec.json.decode(content)
        return read_yaml(content.decode())
    except OSError as error:
        raise _fault(file, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _fault(file, "is no UTF-8 text; save it as UTF-8") from error
    except (msgspec.DecodeError, YamlError) as error:
        raise _fault(file, str(error)) from error


def _fault(file: Path, message: str) -> KitError:
    return KitError((Problem(file.name, message),))


def check_compiles(kit: Kit) -> None:
    """Compile the playbook, its params filled in with what the kit gives as examples.

    Code is loaded and not run. Raises `PlaybookError`.
    """
    given = {one.name: one.default or one.example or one.name for one in kit.params}
    loader = _Reader()
    compile_playbook(kit.book, given, loader)
    for request in kit.way.requests():
        if request.transform is not None:
            try:
                loader.world.expression(
                    fill_params(request.transform.body, given), ("request", "batch")
                )
            except CodeError as error:
                path = f"connection.{request.name}.transform"
                raise KitError((Problem(path, f"line {error.line}: {error}"),)) from error


class _Reader(LuaLoader):
    """Reads code without a jail: Lua and Python are parsed, JavaScript is left to its first run."""

    def function(self, lang: str, body: str) -> Callable[[Any, dict[str, Any], Moment], Any]:
        """Parse a function. Raises `CodeError`."""
        if lang == "python":
            try:
                ast.parse(body)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                line = getattr(error, "lineno", None) or 0
                raise CodeError(f"is no Python: {error.args[0]}", line) from error
        return _unrun


def _unrun(*_: Any) -> Any:
    raise CodeError("this is read only to check it, and never run")
