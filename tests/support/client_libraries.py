"""The client libraries that Trunkline is held against, and how each is installed: unmodified.

The Python ones conflict with each other, so each lives in a folder of its own under
`.cache/clients`, named after its lock file and made from it. The Node ones share one
`node_modules`. The Java ones are fetched and compiled by `java_libraries.py`, the Go ones by
`go_libraries.py`.
`python -m tests.support.client_libraries` installs what is missing, as `make` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.support import installing
from tests.support.go_libraries import GO_FOLDER, go_command, go_folder, go_version
from tests.support.installing import CACHE, ROOT, Unavailable, run
from tests.support.java_libraries import JAVA_FOLDER, java_command, java_folder, java_version

PYTHON_FOLDER = ROOT / "tests/clients/python"
NODE_FOLDER = ROOT / "tests/clients/node"
NODE_MAJOR_MIN = 20


@dataclass(frozen=True)
class Library:
    """One published library: its package, the driver that uses it, and what is known of it.

    `app` is the id of the app that it sends to. `is_ordered`: it sends one batch at a time, so what
    one user did arrives in the order it was done. `tries_refused`: how often it sends what is
    answered 401. `named_version`: what it calls itself in its events, left out where it is true.
    """

    name: str
    package: str
    language: Literal["python", "node", "java", "go"]
    driver: str
    app: str
    is_ordered: bool
    tries_refused: int = 1
    named_version: str = ""

    def command(self) -> list[str]:
        """Return the command that runs its driver, with the library installed. `Unavailable`."""
        if self.language == "node":
            install_node()
            return [find_program("node"), str(NODE_FOLDER / self.driver)]
        if self.language == "java":
            return java_command(self.driver)
        if self.language == "go":
            return go_command(self.driver, self.package)
        install_python(self)
        return [sys.executable, str(PYTHON_FOLDER / self.driver)]

    def environment(self) -> dict[str, str]:
        """Return what its process needs to find the library, and no other one."""
        return {"PYTHONPATH": str(self.folder)} if self.language == "python" else {}

    @property
    def lock_file(self) -> Path:
        """What pins it."""
        if self.language == "node":
            return NODE_FOLDER / "package-lock.json"
        if self.language == "java":
            return (JAVA_FOLDER / self.driver).with_name("jars.sha256")
        if self.language == "go":
            return GO_FOLDER / "go.sum"
        return PYTHON_FOLDER / f"{self.name}.lock"

    @property
    def folder(self) -> Path:
        """Where it is installed. A changed lock file makes a new folder."""
        if self.language == "node":
            return NODE_FOLDER / "node_modules"
        if self.language == "java":
            return java_folder(self.driver)
        if self.language == "go":
            return go_folder(self.driver, self.package)
        digest = hashlib.sha256(self.lock_file.read_bytes()).hexdigest()[:8]
        return CACHE / f"{self.name}-{self.version}-{digest}"

    @property
    def version(self) -> str:
        """The pinned version."""
        if self.language == "node":
            packages = json.loads(self.lock_file.read_text("utf-8"))["packages"]
            return str(packages[f"node_modules/{self.package}"]["version"])
        if self.language == "java":
            return java_version(self.driver)
        if self.language == "go":
            return go_version(self.package)
        pins = (line.split("==") for line in self.lock_file.read_text("utf-8").splitlines())
        return next(pin[1] for pin in pins if pin[0] == self.package)


LIBRARIES = (
    Library(
        "segment-analytics-python-2.4", "segment-analytics-python", "python",
        "drive_segment.py", "pysegmenttwofou", True,
    ),
    Library(
        "segment-analytics-python-2.2", "segment-analytics-python", "python",
        "drive_segment.py", "pysegmenttwotwo", True,
    ),
    Library(
        "analytics-python-1.4", "analytics-python", "python",
        "drive_analytics.py", "pyanalyticsonef", True,
    ),
    Library(
        "rudder-sdk-python-2.1", "rudder-sdk-python", "python",
        "drive_rudder.py", "pyruddertwoonee", True,
    ),
    Library(
        "segment-analytics-node-3", "@segment/analytics-node", "node",
        "drive_segment.js", "nodesegmentthre", False,
    ),
    Library(
        "analytics-node-6", "analytics-node", "node",
        "drive_analytics.js", "nodeanalyticssx", False,
    ),
    Library(
        "rudder-sdk-node-3", "@rudderstack/rudder-sdk-node", "node",
        "drive_rudder.js", "noderudderthree", False,
    ),
    Library(
        "segment-analytics-java-3", "com.segment.analytics.java:analytics", "java",
        "segment/DriveSegment.java", "javasegmentthre", True,
    ),
    Library(
        "rudder-analytics-java-3", "com.rudderstack.sdk.java.analytics:analytics", "java",
        "rudder/DriveRudder.java", "javarudderthree", True,
    ),
    Library(
        "segment-analytics-go-3", "github.com/segmentio/analytics-go/v3", "go",
        "segment", "gosegmentvthree", False, tries_refused=10, named_version="3.0.0",
    ),
    Library(
        "rudder-analytics-go-4", "github.com/rudderlabs/analytics-go/v4", "go",
        "rudder", "gorudderverfour", False, tries_refused=10,
    ),
)  # fmt: skip


def install_python(library: Library) -> None:
    """Install a Python library into its own folder, once. Raises `Unavailable`."""
    if library.folder.exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    fresh = library.folder.with_name(f"{library.folder.name}.{os.getpid()}")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    try:
        run([*pip, "install", "--no-deps", "--target", str(fresh), "-r", str(library.lock_file)])
        # Renamed when it is whole: of two test processes that both installed it, one wins.
        if not library.folder.exists():
            fresh.rename(library.folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def install_node() -> None:
    """Install the Node libraries, once. Raises `Unavailable`."""
    node = find_program("node")
    version = run([node, "--version"]).lstrip("v").partition(".")[0]
    if int(version) < NODE_MAJOR_MIN:
        raise Unavailable(f"Node.js {NODE_MAJOR_MIN} or later is needed; {node} is {version}")
    lock = NODE_FOLDER / "package-lock.json"
    ready = NODE_FOLDER / "node_modules/.ready"
    if ready.exists() and ready.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm = [find_program("npm"), "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    run(npm, NODE_FOLDER)
    ready.touch()


def find_program(name: str) -> str:
    """Return the path of a program that comes with Node.js. Raises `Unavailable`."""
    return installing.find_program(name, f"Node.js {NODE_MAJOR_MIN} or later")


def main() -> int:
    """Install everything; say what could not be. Only under CI is that a failure."""
    missing = 0
    for library in LIBRARIES:
        try:
            library.command()
        except Unavailable as error:
            missing += 1
            print(f"{library.name} cannot be tested here: {error}", file=sys.stderr)
    return 1 if missing and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
