"""Workspace files that are wrong, and every sentence they are told.

The cases stand in `golden/wrong_workspaces.txt`: a title, the file, ten dashes, the problems.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.workspaces import ENVIRONMENT, FULL, KINDS
from trunkline.catalog.check import read_workspace
from trunkline.catalog.workspace import reveal

CASES = [
    tuple(re.split(r"\n", chunk, maxsplit=1))
    for chunk in (Path(__file__).parent / "golden" / "wrong_workspaces.txt")
    .read_text("utf-8")
    .removeprefix("==== ")
    .split("\n==== ")
]


def problems_of(text: str, base: Path = Path("/nonexistent")) -> tuple[str, ...]:
    return read_workspace(text, KINDS, ENVIRONMENT, base).problems


@pytest.mark.parametrize(("title", "body"), CASES, ids=[case[0] for case in CASES])
def test_a_wrong_file_is_told_everything_that_is_wrong(title: str, body: str) -> None:
    text, _, expected = body.partition("----------\n")
    assert "\n".join(problems_of(text)) == expected.strip("\n")


def test_there_are_enough_wrong_files() -> None:
    assert len(CASES) >= 60


def test_the_contract_s_own_file_has_nothing_wrong() -> None:
    reading = read_workspace(FULL, KINDS, ENVIRONMENT, Path())
    assert reading.problems == ()
    assert reading.workspace is not None
    destination = reading.workspace.apps[0].destinations[0]
    assert reveal(destination.settings)["secret"] == "hush-hush-hush"


def test_a_literal_secret_is_a_warning_and_no_problem() -> None:
    reading = read_workspace(FULL, KINDS, ENVIRONMENT, Path())
    assert reading.warnings == (
        "apps[0].keys[1] `web`: secret stands in the file for all who read it; "
        "{env: NAME} keeps it out",
    )


def test_a_slug_of_an_unusual_shape_is_a_warning() -> None:
    text = "apps: [{name: A, events: [{slug: Paid-1, name: Paid}]}]"
    assert read_workspace(text, KINDS, {}, Path()).warnings == (
        'apps[0].events[0] `Paid`: slug is "Paid-1"; slugs are usually 5 lower-case letters',
    )


def test_a_secret_comes_from_a_file_beside_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("from-a-file\n")
    text = "apps: [{name: A, s2s: {enabled: true, dev_key: {file: key.txt}}}]"
    workspace = read_workspace(text, KINDS, {}, tmp_path).workspace
    assert workspace is not None
    assert workspace.apps[0].s2s.dev_key is not None
    assert workspace.apps[0].s2s.dev_key.text == "from-a-file"


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (b"", "which is empty"),
        (b"\xff\xfe", "which is no UTF-8 text"),
        (b"x" * 65_537, "which is longer than 65536 bytes"),
    ],
)
def test_a_secret_file_that_holds_no_secret_is_told(
    tmp_path: Path, content: bytes, came: str
) -> None:
    (tmp_path / "key.txt").write_bytes(content)
    text = "apps: [{name: A, s2s: {enabled: true, dev_key: {file: key.txt}}}]"
    (problem,) = problems_of(text, tmp_path)
    assert came in problem


def test_no_message_repeats_a_secret() -> None:
    wrong = FULL.replace("api_key", "apikey").replace("wk_web_0123456789abcdef", '"wk web secret"')
    problems = problems_of(wrong.replace("kind: webhook", "kind: klaviyo"))
    told = "\n".join(problems)
    assert problems
    for secret in (*filter(None, ENVIRONMENT.values()), "wk web secret"):
        assert secret not in told
