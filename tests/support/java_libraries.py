"""The Java libraries: each fetched by Maven and compiled with its driver, once, apart.

Beside a driver, in its folder of `tests/clients/java`, stand a `pom.xml`, which names the library,
and `jars.sha256`, which says which files that must come to. A change of any makes a new folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from tests.support.installing import CACHE, ROOT, Unavailable, find_program, run

JAVA_FOLDER = ROOT / "tests/clients/java"
JDK = "a JDK, 11 or later"
_VERSION = re.compile(r"<artifactId>analytics</artifactId>\s*<version>([^<]+)<")


def java_command(driver: str) -> list[str]:
    """Return the command that runs a driver, with its library installed. Raises `Unavailable`."""
    java = find_program("java", JDK)
    place = java_folder(driver)
    if not place.exists():
        _install(JAVA_FOLDER / driver, place)
    return [java, "-cp", f"{place / 'lib'}/*:{place / 'classes'}", Path(driver).stem]


def java_version(driver: str) -> str:
    """Return the version that the `pom.xml` beside a driver pins."""
    found = _VERSION.search((JAVA_FOLDER / driver).with_name("pom.xml").read_text("utf-8"))
    assert found, f"the pom.xml beside {driver} names no library"
    return found[1]


def java_folder(driver: str) -> Path:
    """Return where a library is installed: `lib` with its jars, `classes` with its driver."""
    digest = hashlib.sha256()
    source = (JAVA_FOLDER / driver).parent
    for path in (JAVA_FOLDER / "Story.java", *sorted(source.iterdir())):
        digest.update(path.read_bytes())
    return CACHE / f"java-{source.name}-{java_version(driver)}-{digest.hexdigest()[:8]}"


def _install(driver: Path, place: Path) -> None:
    maven, javac = find_program("mvn", "Maven"), find_program("javac", JDK)
    CACHE.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    classes, lib = fresh / "classes", fresh / "lib"
    try:
        classes.mkdir(parents=True)
        shutil.copy(driver.with_name("pom.xml"), fresh)  # Maven leaves a folder beside the file
        fetch = ["dependency:copy-dependencies", f"-DoutputDirectory={lib}"]
        run([maven, "--quiet", "--batch-mode", *fetch], fresh)
        check_jars(lib, driver.with_name("jars.sha256"))
        compile_it = [javac, "-encoding", "UTF-8", "-cp", f"{lib}/*", "-d", str(classes)]
        run([*compile_it, str(JAVA_FOLDER / "Story.java"), str(driver)], fresh)
        # Renamed when it is whole: of two test processes that both installed it, one wins.
        if not place.exists():
            fresh.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check_jars(lib: Path, lock: Path) -> None:
    """Compare a folder of jars with what is pinned. Raises `Unavailable` with what is other."""
    pinned = {
        name: digest
        for digest, name in (line.split() for line in lock.read_text("utf-8").splitlines())
    }
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in lib.glob("*.jar")}
    other = sorted({name for name, _ in pinned.items() ^ found.items()})
    if other:
        raise Unavailable(f"what was fetched is not what {lock} names: {', '.join(other)}")
