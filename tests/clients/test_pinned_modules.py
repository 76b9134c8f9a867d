"""The Go libraries that run, and that the page installs, are those that `go.mod` pins."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support.client_libraries import LIBRARIES, Library
from tests.support.go_libraries import GO, GO_FOLDER, build_driver
from tests.support.installing import ROOT, Unavailable, find_program

PAGE = ROOT / "docs/guide/sdks/go.md"
LIBRARIES_IN_GO = [library for library in LIBRARIES if library.language == "go"]


@pytest.fixture(params=LIBRARIES_IN_GO, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    return request.param


def test_the_page_installs_the_pinned_version(library: Library) -> None:
    named = re.findall(rf"go -C shop get {library.package}@v(\S+)", PAGE.read_text("utf-8"))
    assert named == [library.version]


@pytest.mark.clients
@pytest.mark.slow
@pytest.mark.parametrize(
    ("digest", "said"), [(" h1:" + "A" * 43 + "=", "checksum mismatch"), ("", "missing go.sum")]
)
def test_a_module_that_is_another_than_the_pinned_one_is_refused(
    tmp_path: Path, library: Library, digest: str, said: str
) -> None:
    try:
        find_program("go", GO)
    except Unavailable as error:
        end = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        end(str(error))
    module = shutil.copytree(GO_FOLDER, tmp_path / "module")
    pin = f"{library.package} v{library.version}"
    lines = (module / "go.sum").read_text("utf-8").splitlines(keepends=True)
    changed = "".join(
        (f"{pin}{digest}\n" if digest else "") if line.startswith(f"{pin} ") else line
        for line in lines
    )
    (module / "go.sum").write_text(changed, "utf-8")
    with pytest.raises(Unavailable, match=said):
        build_driver(module, library.driver, tmp_path / "built")
    assert not (tmp_path / "built").exists()
