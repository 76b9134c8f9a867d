"""The documentation is true: its commands are run, its links lead somewhere, its reference is new.

How a page says what a block is for stands in `tests/support/pages.py`.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import trunkline.telemetry
from tests.support.client_libraries import LIBRARIES
from tests.support.installing import Unavailable
from tests.support.page_session import Session
from tests.support.pages import ROOT, Page, documentation, fits, read_page
from trunkline.kit.settings import list_settings
from trunkline.telemetry.metrics import list_metrics

PAGES = [page for page in map(read_page, documentation()) if page.is_run]
WHEELS = ROOT / ".cache" / "docs-wheels"
LOCKS = [
    ROOT / "tests" / "clients" / "python" / f"{name}.lock"
    for name in ("segment-analytics-python-2.4", "rudder-sdk-python-2.1")
]
NODE_MODULES = ROOT / "tests" / "clients" / "node" / "node_modules"
LANGUAGES = {"node": "JavaScript", "mvn": "Java", "go": "Go"}
_LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*$", re.MULTILINE)


@pytest.fixture(scope="session")
def wheels() -> Path:
    """What `pip install` on the pages gets: downloaded once, the same on every run."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(WHEELS)]
    for lock in LOCKS:
        package = lock.stem.rpartition("-")[0].replace("-", "_")
        if list(WHEELS.glob(f"{package}-*.whl")):
            continue
        done = subprocess.run([*pip, "-r", lock], capture_output=True, text=True, check=False)
        if done.returncode:
            _miss(f"{lock.name} cannot be downloaded: {done.stderr.strip()[-200:]}")
    return WHEELS


def _fetch(language: str) -> None:
    """Have the libraries that a page installs here, at the versions that it names."""
    try:
        for library in LIBRARIES:
            if library.language == language:
                library.command()
    except Unavailable as error:
        _miss(f"what the page of {language} installs cannot be fetched: {error}")


def _miss(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=[str(p.path.relative_to(ROOT)) for p in PAGES])
def test_every_block_of_a_page_does_what_the_page_says(
    page: Page, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    commands = "\n".join(b.text for b in page.blocks if b.role in ("run", "eventually"))
    environment = {"NODE_PATH": str(NODE_MODULES)}
    for program, language in LANGUAGES.items():
        if re.search(rf"^\s*{program}\b", commands, re.MULTILINE) and not shutil.which(program):
            _miss(f"{page.path.name} runs {language}, and there is no {program}")
    if page.path.stem in ("java", "go"):
        _fetch(page.path.stem)
    if "@segment/" in "\n".join(b.text for b in page.blocks) and not NODE_MODULES.is_dir():
        _miss(
            f"{page.path.name} needs the Node clients: make tests/clients/node/node_modules/.ready"
        )
    if "pip install" in commands:
        folder = request.getfixturevalue("wheels")
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    with Session(tmp_path, environment) as session:
        session.run(page)


def test_every_block_of_every_page_is_run_or_says_why_not() -> None:
    complaints = [text for path in documentation() for text in read_page(path).complaints()]
    assert not complaints, "\n" + "\n".join(complaints)


def test_output_is_compared_loosely_but_not_blindly() -> None:
    printed = "a 2026-11-20T10:15:30.000Z 12.5 ms\nb\nc one two"
    assert fits("a 2020-01-01T00:00:00Z 3 ms\nc … two", printed)
    assert not fits("c … two\na 2020-01-01T00:00:00Z 3 ms", printed)
    assert not fits("c three", printed)


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*documentation(), *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    broken = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in pages
        for link in _LINK.findall(_without_blocks(path.read_text("utf-8")))
        if not link.startswith(("http://", "https://", "mailto:"))
        and not _leads_somewhere(path, link)
    ]
    assert not broken, "\n" + "\n".join(broken)


def _without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def _leads_somewhere(page: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = page if not file else (page.parent / file)
    if not target.exists():
        return False
    if not anchor:
        return True
    return anchor in {_anchor(title) for title in _HEADING.findall(target.read_text("utf-8"))}


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_metrics_and_settings_that_pages_name_exist() -> None:
    for module in pkgutil.iter_modules(trunkline.telemetry.__path__):
        importlib.import_module(f"trunkline.telemetry.{module.name}")
    metrics = {metric.name for metric in list_metrics()}
    settings = {(setting.section, setting.name) for setting in list_settings()}
    unknown: list[str] = []
    for path in documentation():
        text = path.read_text("utf-8")
        unknown += [
            f"{path.name}: {name}"
            for name in re.findall(r"\btrunkline_(?!sdk\b)[a-z_]+\w", text)
            if re.sub(r"_(bucket|count|sum)$", "", name) not in metrics
        ]
        unknown += [
            f"{path.name}: [{section}] {name}"
            for section, name in re.findall(r"`\[([a-z]+)\] ([a-z_]+)", text)
            if (section, name) not in settings
        ]
    assert not unknown, "\n" + "\n".join(unknown)


def test_the_reference_is_what_the_code_says_now(monkeypatch: pytest.MonkeyPatch) -> None:
    # Under `python -m pytest` cyclopts takes "-m pytest" for a part of our command's name.
    monkeypatch.setattr(sys, "argv", ["trunkline"])
    generate = _load(ROOT / "docs" / "generate.py")
    written = dict(generate.pages())
    folder = ROOT / "docs" / "reference"
    stale = [
        name
        for name, text in written.items()
        if not (folder / name).exists() or (folder / name).read_text("utf-8") != text
    ]
    left = {str(path.relative_to(folder)) for path in folder.rglob("*.md")} - set(written)
    assert not stale and not left, f"run `make docs`: stale {stale}, left over {sorted(left)}"
    guide = dict(generate.guide_pages())
    stale = [n for n, text in guide.items() if (ROOT / "docs/guide" / n).read_text() != text]
    assert guide and not stale, f"run `make docs`: tables of {stale} are stale"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
