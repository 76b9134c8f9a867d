"""The catalogue of kits as it is typed: searched, read, taken back; and its reference pages."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.judged_vendor import KIT, NAME, TOKEN, destination
from tests.support.whole_node import workspace
from trunkline.__main__ import main
from trunkline.cli._ending_params import ending_params
from trunkline.cli._node import read_snapshot
from trunkline.kit.yaml_text import read_yaml
from trunkline.kits.catalogue import facts_of
from trunkline.kits.catalogue_page import describe_index, describe_kit
from trunkline.kits.kit import Kit, parse_kit
from trunkline.kits.shipped import shipped_kits, shipped_names
from trunkline.state.home import Home

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judged.yaml").write_text(KIT)


def said(capsys: Capture, *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def names(capsys: Capture, *words: str) -> list[str]:
    return [one["name"] for one in said(capsys, "kits", "list", *words)]


def judged() -> Kit:
    return parse_kit(read_yaml(KIT))


def test_shipped_kits_are_listed_without_an_import(capsys: Capture) -> None:
    assert names(capsys) == list(shipped_names())
    told = said(capsys, "kits", "list")
    assert {one["origin"] for one in told} == {"shipped"}
    assert all(one["canSend"] and one["title"] and one["category"] for one in told)
    assert all(one["importedAt"] is None for one in told)


def test_the_list_is_searched_by_text_category_and_event(capsys: Capture) -> None:
    assert main(["kits", "import", "judged.yaml"]) == 0
    capsys.readouterr()
    assert names(capsys, "COUNTS what people") == [NAME]
    found = names(capsys, "--category", "analytics")
    assert NAME in found
    assert found == [n for n in names(capsys) if n in found]
    assert NAME not in names(capsys, "--category", "advertising")
    assert NAME in names(capsys, "--event", "order_completed")
    assert NAME not in names(capsys, "--event", "Product Added")
    assert names(capsys, "judged", "--category", "crm") == []
    assert main(["kits", "list", "--category", "ads"]) == 1
    assert "expected one of advertising" in capsys.readouterr().err
    assert main(["kits", "list", "no such kit anywhere"]) == 0
    assert capsys.readouterr().out.startswith("no such kit")


def test_show_prints_the_page(capsys: Capture) -> None:
    assert main(["kits", "import", "judged.yaml"]) == 0
    capsys.readouterr()
    assert main(["kits", "show", NAME]) == 0
    page = capsys.readouterr().out
    for line in (
        "Judged (judged) 1.2.0",
        "https://judged.example/docs (as it was on 2026-11-21)",
        "At most 20 events a request.",
        "At most 40 requests a second;",
        "needs_user (reject): An event needs a user.",
        'Delivered: status 2xx with `status` is "ok".',
        "Where the answer was lost, the events are given up;",
        "by id, 24 hours",
        "Account and token are right;",
        "Ask them for a token first.",
        "POST https://in.judged.example/v2/12345",
        "TOKEN: {env: JUDGED_TOKEN}",
    ):
        assert line in page, line
    told = said(capsys, "kits", "show", NAME)
    assert [rule["rule"] for rule in told["contract"]] == [
        "needs_user", "older_than_a_week", "long_name",
    ]  # fmt: skip
    assert told["deduplicates"] == "by id, 24 hours"


def test_an_imported_kit_is_removed_and_a_used_one_is_not(capsys: Capture, tmp_path: Path) -> None:
    assert main(["kits", "import", "judged.yaml"]) == 0
    (tmp_path / "w.yaml").write_text(workspace(destination("http://127.0.0.1:9")))
    assert main(["apply", "w.yaml"]) == 0
    capsys.readouterr()
    assert main(["kits", "remove", NAME]) == 1
    assert "is used by pathpathpathpat/judged" in capsys.readouterr().err
    (tmp_path / "w.yaml").write_text(workspace())
    assert main(["apply", "w.yaml", "--prune"]) == 0
    capsys.readouterr()
    assert said(capsys, "kits", "remove", NAME) == {"removed": NAME, "shipped": False}
    assert main(["kits", "show", NAME]) == 1


def test_an_import_over_a_shipped_kit_says_so(capsys: Capture, tmp_path: Path) -> None:
    name = shipped_names()[0]
    (tmp_path / "own.yaml").write_text(KIT.replace("name: judged", f"name: {name}"))
    assert main(["kits", "import", "own.yaml"]) == 0
    assert f"in the place of the shipped ones, until `trunkline kits remove`: {name}" in (
        capsys.readouterr().out
    )
    assert said(capsys, "kits", "show", name)["origin"] == "imported"
    assert main(["kits", "remove", name]) == 0
    assert "the shipped one is used from now on" in capsys.readouterr().out
    assert said(capsys, "kits", "show", name)["origin"] == "shipped"


def test_the_page_says_what_an_event_is_sent_as() -> None:
    facts = facts_of(judged())
    assert list(facts.keys) == ["id", "name", "user.em", "user.id"]
    completed, refunded = facts.events
    assert (completed.constants, completed.keys) == ({"name": "purchase"}, ("value",))
    assert not refunded.is_sent
    page = describe_kit(judged())
    assert '| Order Completed | `name` "purchase" | `value` |' in page
    assert "| Order Refunded | not sent |" in page
    assert "[page](https://judged.example/docs/users)" in page
    assert "The vendor finds duplicates by id, 24 hours." in page
    assert "Every other event is sent too." in page


def test_the_index_lists_every_kit_by_category_and_the_events_that_several_know() -> None:
    other = parse_kit(read_yaml(KIT.replace("judged", "second")))
    page = describe_index([judged(), other])
    assert page.count("[judged](judged.md)") == 3  # its category, and two events
    assert "| Order Completed | [judged](judged.md), [second](second.md) |" in page
    assert "### Analytics" in page


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_kit_has_a_page_without_holes(name: str) -> None:
    kit = shipped_kits()[name]
    page = describe_kit(kit)
    assert "None" not in page.split("### Example")[0]
    for rule in facts_of(kit).rules:
        assert f"`{rule.rule}`" in page
    for param in kit.params:
        assert f"`{param.name}`" in page


def test_a_form_is_shown_as_a_form() -> None:
    page = describe_kit(shipped_kits()["adjust"])
    assert "Content-Type: application/x-www-form-urlencoded\n\nad_personalization=0&" in page
    assert "### CRM" in describe_index([shipped_kits()["braze"]])


def test_a_rule_for_some_values_of_a_param_says_so() -> None:
    page = describe_kit(shipped_kits()["singular"])
    assert "| `needs_sdid` | With API v2: Singular knows a device by its SDID alone" in page


def test_what_a_vendor_ends_is_told_a_month_before(capsys: Capture, tmp_path: Path) -> None:
    assert main(["kits", "import", "judged.yaml"]) == 0
    (tmp_path / "w.yaml").write_text(workspace(destination("http://127.0.0.1:9", VERSION="v1")))
    assert main(["apply", "w.yaml"]) == 0
    snapshot = read_snapshot(Home(tmp_path / "home"))
    assert [*ending_params(snapshot, date(2026, 10, 31))] == []
    (soon,) = ending_params(snapshot, date(2026, 11, 2))
    assert soon.startswith("pathpathpathpat/judged: settings.params.VERSION is v1: the vendor ends")
    (past,) = ending_params(snapshot, date(2026, 12, 2))
    assert "ended this value on 2026-12-01" in past
    assert TOKEN not in soon + past


def test_check_judges_params_of_kits_and_makes_no_home(capsys: Capture, tmp_path: Path) -> None:
    spec: dict[str, Any] = destination("http://127.0.0.1:9", ACCOUNT="act_1")
    (tmp_path / "w.yaml").write_text(workspace(spec))
    assert main(["check", "w.yaml"]) == 0, "it may be imported before it is applied"
    assert 'settings.kit is "judged", which is neither shipped nor imp' in capsys.readouterr().err
    assert not (tmp_path / "home").exists()
    assert main(["kits", "import", "judged.yaml"]) == 0
    assert main(["check", "w.yaml"]) == 1
    told = capsys.readouterr().err
    assert "settings.params.ACCOUNT is 'act_1'; expected the account's five digits" in told


@pytest.mark.parametrize("command", ["check", "apply"])
def test_what_cannot_be_sent_to_is_told_with_its_param(
    command: str, capsys: Capture, tmp_path: Path
) -> None:
    assert main(["kits", "import", "judged.yaml"]) == 0
    (tmp_path / "w.yaml").write_text(workspace(destination("crm.example", EXTRA="1")))
    capsys.readouterr()
    assert main([command, "w.yaml"]) == 1
    told = capsys.readouterr().err
    assert "settings.params.BASE_URL cannot be used: endpoint $$BASE_URL$$" in told
    assert "url must start with http:// or https:// and name a host" in told
    if command == "check":
        assert "settings.params.EXTRA is the name of no param of its kit" in told
        open_ones = [line for line in told.splitlines() if "stands in the file" in line]
        assert not any("BASE_URL" in line for line in open_ones), "it is no secret"
        assert any("settings.params.EXTRA" in line for line in open_ones), "nobody says it is none"
