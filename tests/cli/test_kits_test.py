"""`trunkline kits test` runs fixtures of a file or a shipped kit and says what differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trunkline.__main__ import main
from trunkline.cli._kit_skeleton import skeleton
from trunkline.kits.shipped import shipped_names

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    path = tmp_path / "acme.yaml"
    path.write_text(skeleton("acme"))
    return path


def test_fixtures_that_hold_pass_and_show_their_requests(kit: Path, capsys: Capture) -> None:
    assert main(["kits", "test", str(kit), "--show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{kit}: 4 of 4 fixtures passed"
    assert "  a purchase: POST https://eu.vendor.example/v2/accounts/1234567/events" in lines
    assert "    Authorization: Bearer my-api-token" in lines


def test_what_differs_is_told_by_fixture_and_path(kit: Path, capsys: Capture) -> None:
    kit.write_text(kit.read_text().replace("total: 29.9", "total: 30"))
    assert main(["kits", "test", str(kit)]) == 1
    told = capsys.readouterr().out
    assert "3 of 4 fixtures passed" in told
    assert "a purchase: request 1: body.events[0].value is 30.0; expected 29.9" in told
    assert main(["kits", "test", str(kit), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)[0]
    assert [one["passed"] for one in found["fixtures"]] == [False, True, True, True]


def test_a_file_that_is_no_kit_and_a_name_that_is_none_are_told(kit: Path, capsys: Capture) -> None:
    kit.write_text(kit.read_text().replace("then: reject", "then: regect"))
    assert main(["kits", "test", str(kit)]) == 1
    assert "contract[0].then: is 'regect'; expected `reject`" in capsys.readouterr().out
    kit.write_text(kit.read_text().partition("fixtures:")[0].replace("regect", "reject"))
    assert main(["kits", "test", str(kit)]) == 1
    assert "test.event: names no fixture of this kit; write one" in capsys.readouterr().out
    assert main(["kits", "test", "no-such-vendor"]) == 1
    assert "is no shipped kit" in capsys.readouterr().err
    assert main(["kits", "test", "/no/such/kit.yaml"]) == 1
    assert "kit.yaml: is not there; name a kit's file" in capsys.readouterr().out


@pytest.mark.skipif(not shipped_names(), reason="no kit is shipped")
def test_a_shipped_kit_is_tested_by_its_name(capsys: Capture) -> None:
    name = shipped_names()[0]
    assert main(["kits", "test", name]) == 0
    assert capsys.readouterr().out.startswith(f"{name}: ")
