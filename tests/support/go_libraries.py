"""The Go libraries: fetched by Go as `go.mod` and `go.sum` pin them, each built with its driver.

The drivers are the programs of one module, `tests/clients/go`: a folder each, and `story`, which
they share. A change of any file makes a new folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from tests.support.installing import CACHE, ROOT, find_program, run

GO_FOLDER = ROOT / "tests/clients/go"
GO = "Go 1.21 or later"


def go_command(driver: str, package: str) -> list[str]:
    """Return the command that runs a driver, built with its library. Raises `Unavailable`."""
    place = go_folder(driver, package)
    if not place.exists():
        build_driver(GO_FOLDER, driver, place)
    return [str(place / driver)]


def go_version(package: str) -> str:
    """Return the version of a module that `go.mod` pins."""
    pins = (GO_FOLDER / "go.mod").read_text("utf-8")
    found = re.search(rf"{re.escape(package)} v(\S+)$", pins, re.MULTILINE)
    assert found, f"{GO_FOLDER / 'go.mod'} names no {package}"
    return found[1]


def go_folder(driver: str, package: str) -> Path:
    """Return where a driver is built."""
    digest = hashlib.sha256()
    for path in sorted(path for path in GO_FOLDER.rglob("*") if path.is_file()):
        digest.update(path.read_bytes())
    return CACHE / f"go-{driver}-{go_version(package)}-{digest.hexdigest()[:8]}"


def build_driver(module: Path, driver: str, place: Path) -> None:
    """Build a driver of a module into a new folder. Raises `Unavailable`."""
    go = find_program("go", GO)
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        fresh.mkdir(parents=True)
        # Read-only: what is fetched must be what go.sum says, to the byte, or Go refuses it.
        build = [go, "build", "-mod=readonly", "-buildvcs=false", "-o", str(fresh / driver)]
        run([*build, f"./{driver}"], module)
        # Renamed when it is whole: of two test processes that both built it, one wins.
        if not place.exists():
            fresh.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
