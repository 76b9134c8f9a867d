"""The style that a machine can check. All complaints at once: `path:line: what; what instead`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINES_MAX = 500
FUNCTION_LINES_MAX = 60
VAGUE = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "base",
    "manager",
    "core",
    "service",
}
# A synonym of a glossary word → the word.
SYNONYMS = {
    "dlq": "dead letter",
    "sink": "destination",
    "whitelist": "allowed list",
    "blacklist": "denied list",
    "exactly_once": "at least once",
    "redrive": "replay",
}
EXEMPT: dict[str, str] = {}  # path → reason

SOURCES = sorted(
    path
    for folder in ("trunkline", "tests", "bench", "examples", "docs", "sdks")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
)


def complaints_of(path: Path) -> list[str]:
    name = str(path.relative_to(ROOT))
    if name in EXEMPT:
        return []
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    found = [*size_complaints(name, text), *function_complaints(name, tree)]
    if path.stem in VAGUE:
        found.append(f"{name}:1: a vague name; say what the file is for")
    if name.startswith(("trunkline", "sdks")):
        found += word_complaints(name, text)
        if not ast.get_docstring(tree):
            found.append(f"{name}:1: no docstring; say what the file is for, and its idea")
    return found


def size_complaints(name: str, text: str) -> list[str]:
    lines = text.count("\n")
    if lines <= LINES_MAX:
        return []
    return [f"{name}:1: {lines} lines; at most {LINES_MAX}: find the second idea in it"]


def function_complaints(name: str, tree: ast.Module) -> list[str]:
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [
        f"{name}:{node.lineno}: {node.name} is too long; at most {FUNCTION_LINES_MAX} lines: "
        "name its steps"
        for node in functions
        if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]


def word_complaints(name: str, text: str) -> list[str]:
    return [
        f"{name}:{number}: {synonym}; the glossary says {word}"
        for number, line in enumerate(text.splitlines(), 1)
        for synonym, word in SYNONYMS.items()
        if re.search(rf"\b{synonym}\b", line, re.IGNORECASE)
    ]


def test_every_source_file_is_tidy() -> None:
    complaints = [complaint for path in SOURCES for complaint in complaints_of(path)]
    assert not complaints, "\n" + "\n".join(complaints)


def test_every_room_has_a_line_on_the_map() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rooms = sorted(p.parent.name for p in (ROOT / "trunkline").glob("*/__init__.py"))
    missing = [room for room in rooms if f"`{room}/`" not in page]
    assert not missing, f"ARCHITECTURE.md has no line for {missing}"


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of a development machine and no registry host stands in what is committed."""
    forbidden = re.compile(
        r"/work/|/root/|registry\.npmjs|pypi\.org|proxy\.golang|repo1\.maven|deb\.debian"
    )
    suffixes = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".lock", ".js", ""}
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked_files()
        if path.suffix in suffixes and path.name != "test_tidy.py"
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not found, found


def tracked_files() -> list[Path]:
    skipped = {
        ".git",
        ".venv",
        "node_modules",
        ".hypothesis",
        ".trunkline",
        "__pycache__",
        ".cache",
    }
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file()
        and not skipped & set(path.parts)
        and not any(part.startswith(".") and part.endswith("_cache") for part in path.parts)
        and not any(part.endswith(".egg-info") for part in path.parts)
    ]
