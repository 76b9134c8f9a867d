"""Maven has no lock file; ours says which jars a library must come to, to the byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.support.client_libraries import LIBRARIES, Library
from tests.support.installing import Unavailable
from tests.support.java_libraries import check_jars

JAVA = [library for library in LIBRARIES if library.language == "java"]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Pins two jars that lie in a folder beside it."""
    lib = tmp_path / "lib"
    lib.mkdir()
    lines: list[str] = []
    for name in ("a-1.0.jar", "b-2.0.jar"):
        (lib / name).write_bytes(name.encode())
        lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    lock = tmp_path / "jars.sha256"
    lock.write_text("".join(lines))
    return lock


def test_the_pinned_jars_are_taken(lock: Path) -> None:
    check_jars(lock.with_name("lib"), lock)


@pytest.mark.parametrize("change", ["changed", "missing", "more"])
def test_any_other_set_of_jars_is_refused_by_name(lock: Path, change: str) -> None:
    jar = lock.with_name("lib") / ("c-3.0.jar" if change == "more" else "a-1.0.jar")
    if change == "missing":
        jar.unlink()
    else:
        jar.write_bytes(b"something else")
    with pytest.raises(Unavailable, match=rf"names: {jar.name}$"):
        check_jars(lock.with_name("lib"), lock)


@pytest.mark.parametrize("library", JAVA, ids=lambda library: library.name)
def test_the_library_itself_is_among_its_pinned_jars(library: Library) -> None:
    assert f"  analytics-{library.version}.jar\n" in library.lock_file.read_text("utf-8")
