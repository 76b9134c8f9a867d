"""The kits that come with Trunkline: one YAML file for each vendor, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from trunkline.kit.yaml_text import read_yaml
from trunkline.kits.kit import Kit, parse_kit

_FOLDER = "vendors"
_SUFFIX = ".yaml"


@cache
def shipped_names() -> tuple[str, ...]:
    """Return the names of the kits that are shipped, sorted. Reads none of them."""
    folder = files("trunkline.kits") / _FOLDER
    if not folder.is_dir():
        return ()
    names = [one.name for one in folder.iterdir()]
    return tuple(sorted(n.removesuffix(_SUFFIX) for n in names if n.endswith(_SUFFIX)))


@cache
def _read(name: str) -> Kit:
    file = files("trunkline.kits") / _FOLDER / f"{name}{_SUFFIX}"
    return parse_kit(read_yaml(file.read_text("utf-8")), name)


def find_shipped(name: str) -> Kit | None:
    """Return a shipped kit, or None. Raises `KitError` or `YamlError` for a file at fault."""
    return _read(name) if name in shipped_names() else None


class _Shipped(Mapping[str, Kit]):
    """Kits by name; each is read and checked when it is taken out, once for the process."""

    def __getitem__(self, name: str) -> Kit:
        kit = find_shipped(name)
        if kit is None:
            raise KeyError(name)
        return kit

    def __iter__(self) -> Iterator[str]:
        return iter(shipped_names())

    def __len__(self) -> int:
        return len(shipped_names())


def shipped_kits() -> Mapping[str, Kit]:
    """Return the shipped kits by name. Taking one out raises as `find_shipped` does."""
    return _Shipped()
