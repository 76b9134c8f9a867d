"""The library that a node serves to pages: taken from its npm package, as it was published.

`python -m tests.support.analytics_js_assets` copies it into the Trunkline package, after its
version was changed in `tests/clients/node`, and writes down where each file came from.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.support.client_libraries import NODE_FOLDER, install_node
from tests.support.installing import ROOT

PACKAGE = "@segment/analytics-next"
ASSETS = ROOT / "trunkline/assets/analytics_js"
ORIGIN = "ORIGIN.json"
LIBRARY = "dist/umd/index.js"
LICENCE = "LICENSE.MD"
# What the library loads when a page asks for it: addresses with `ajs_…`, clicks on links and
# forms, a plan. Its other parts load code of vendors, which the settings never tell it to do.
PARTS = ("auto-track", "queryString", "schemaFilter")


def published_files() -> dict[str, bytes]:
    """Return the files of the installed package that belong into ours, by their name there."""
    install_node()
    folder = NODE_FOLDER / "node_modules" / PACKAGE
    paths = [folder / LIBRARY, folder / LICENCE]
    for part in PARTS:
        paths += folder.glob(f"dist/umd/{part}.bundle.*.js")
    return {path.name: path.read_bytes() for path in paths}


def published_version() -> str:
    """Return the version of the installed package."""
    text = (NODE_FOLDER / "node_modules" / PACKAGE / "package.json").read_text("utf-8")
    return str(json.loads(text)["version"])


def origin_of(files: dict[str, bytes]) -> dict[str, object]:
    """Return what is written down of these files."""
    return {
        "package": PACKAGE,
        "version": published_version(),
        "licence": "MIT",
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }


def write_assets(folder: Path = ASSETS) -> None:
    """Put the files where they are served from, and take away those of another version."""
    files = published_files()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    text = json.dumps(origin_of(files), indent=2) + "\n"
    (folder / ORIGIN).write_text(text, "utf-8")


if __name__ == "__main__":
    write_assets()
