"""`playbook test` and its fixtures, as they are typed. Code runs in a real jail."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trunkline.__main__ import main

PLAYBOOK = """
params:
  - {name: SOURCE, defaultValue: shop}
global:
  enrichments:
    - {outputKey: source, staticString: $$SOURCE$$}
  mappings:
    - {inputKey: messageId, outputKey: id}
eventSpecific:
  order_completed:
    mappings:
      - {inputKey: properties.total, outputKey: value, transforms: [{toScalar: float}]}
default:
  filters:
    - byEventNames: {action: allow, events: [""]}
"""
WITH_CODE = """
default:
  expressions:
    - lang: lua
      name: sums
      body: |
        local total = 0
        for _, item in ipairs(input.properties.items) do
          total = total + item.price * 2
        end
        return {total = total}
"""
FIXTURES = """
- name: an order
  event: {type: track, event: Order Completed, messageId: m-1, properties: {total: "5.5"}}
  expect: {source: shop, id: m-1, value: 5.5}
- name: a page
  event: {type: page, messageId: m-2}
  filtered: default.filters[0]
"""
WORKSPACE = """
organisation: Acme
apps:
  - id: zcmwmxbkmuodelu
    name: Wallet
    destinations:
      - id: crm
        kind: webhook
        settings: {url: "https://crm.example/in", secret: "hush-hush-hush", params: {SOURCE: crm}}
        playbook: {file: orders.yaml}
"""
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("orders.yaml").write_text(PLAYBOOK)
    Path("orders.fixtures.yaml").write_text(FIXTURES)
    Path("code.yaml").write_text(WITH_CODE)
    Path("workspace.yaml").write_text(WORKSPACE)


def write_event(**properties: Any) -> str:
    event = {"type": "track", "event": "Order Completed", "messageId": "m-9"}
    Path("event.json").write_text(json.dumps({**event, "properties": properties}))
    return "event.json"


def test_fixtures_beside_a_playbook_run_with_it(capsys: Capture) -> None:
    assert main(["playbook", "test", "orders.yaml"]) == 0
    assert capsys.readouterr().out == "passed  an order\npassed  a page\n2 passed, 0 failed\n"


def test_a_fixture_that_fails_says_what_differs_and_ends_with_1(capsys: Capture) -> None:
    Path("orders.fixtures.yaml").write_text(FIXTURES.replace("value: 5.5", "value: 6"))
    assert main(["playbook", "test", "orders.yaml"]) == 1
    told = capsys.readouterr().out
    assert "FAILED  an order" in told
    assert "value: 6 → 5.5" in told
    assert main(["playbook", "test", "orders.yaml", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["passed"], result["failed"]) == (1, 1)
    assert result["fixtures"][0]["changes"] == [{"path": "value", "before": 6, "after": 5.5}]


def test_an_event_is_shown_with_which_part_made_what(capsys: Capture) -> None:
    assert main(["playbook", "test", "orders.yaml", "--event", write_event(total=7)]) == 0
    told = capsys.readouterr().out
    assert "eventSpecific.order_completed.mappings[0]" in told
    assert '"value": 7' in told


def test_with_a_destination_the_very_request_is_shown_and_no_secret(capsys: Capture) -> None:
    assert main(["apply", "workspace.yaml"]) == 0
    capsys.readouterr()
    command = ["playbook", "test", "--destination", "crm", "--event", write_event(total=7)]
    assert main([*command, "--json"]) == 0
    text = capsys.readouterr().out
    (told,) = json.loads(text)
    assert told["outputs"] == [{"source": "crm", "id": "m-9", "value": 7.0}]
    request = told["requests"][0]["request"]
    assert (request["method"], request["url"]) == ("POST", "https://crm.example/in")
    assert json.loads(request["body"]) == told["outputs"]
    assert request["headers"]["X-Trunkline-Signature"] == "(hidden)"
    assert "hush-hush-hush" not in text


def test_code_runs_in_the_jail_and_its_failure_names_the_line(capsys: Capture) -> None:
    event = write_event(items=[{"price": 2}, {"price": 3}])
    assert main(["playbook", "test", "code.yaml", "--event", event, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["outputs"] == [{"total": 10}]
    event = write_event(items=[{"price": {}}])
    assert main(["playbook", "test", "code.yaml", "--event", event, "--json"]) == 1
    failure = json.loads(capsys.readouterr().out)[0]["failure"]
    assert (failure["path"], failure["line"]) == ("default.expressions[0]", 3)


@pytest.mark.parametrize(
    "command",
    [
        ["check", "workspace.yaml"],
        ["apply", "workspace.yaml"],
        ["playbook", "deploy", "--destination", "crm", "code.yaml"],
        ["playbook", "shadow", "--destination", "crm", "code.yaml"],
        ["playbook", "test", "code.yaml", "--event", "event.json"],
    ],
)
def test_code_that_does_not_load_is_refused_with_its_line(
    command: list[str], capsys: Capture
) -> None:
    assert main(["apply", "workspace.yaml"]) == 0
    write_event(total=1)
    Path("code.yaml").write_text(WITH_CODE.replace("return {total", "retur {total"))
    Path("workspace.yaml").write_text(WORKSPACE.replace("orders.yaml", "code.yaml"))
    capsys.readouterr()
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "default.expressions[0]" in told
    assert "line 5" in told
    assert main(["playbook", "list", "--json"]) == 0
    assert [line["number"] for line in json.loads(capsys.readouterr().out)] == [1]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["playbook", "test"], "name a playbook's file, or --destination"),
        (["playbook", "test", "code.yaml"], "code.fixtures.yaml is not there"),
        (["playbook", "test", "missing.yaml", "--event", "event.json"], "missing.yaml"),
        (["playbook", "test", "orders.yaml", "--event", "missing.json"], "missing.json"),
        (["playbook", "test", "orders.yaml", "--param", "SOURCE"], "expected NAME=VALUE"),
        (["playbook", "test", "orders.yaml", "--message-id", "m-404"], "no event with messageId"),
        (["playbook", "test", "--destination", "nobody"], "is no destination"),
        (["playbook", "diff", "--destination", "crm", "--to", "9"], "revision 9"),
        (["playbook", "diff", "--destination", "crm", "--to", "x.yaml"], "a file that is there"),
        (["playbook", "diff", "--destination", "crm", "--to", "1", "--last", "0"], ""),
    ],
)
def test_what_cannot_be_tried_is_refused_with_a_sentence(
    arguments: list[str], part: str, capsys: Capture
) -> None:
    assert main(["apply", "workspace.yaml"]) == 0
    capsys.readouterr()
    write_event(total=1)
    code = main(arguments)
    captured = capsys.readouterr()
    if part:
        assert code == 1
        assert part in captured.err
        assert captured.err.count("\n") == 1
    else:
        assert code == 0
        assert captured.out.startswith("0 events")


def test_every_mistake_of_a_playbook_is_told_at_once(capsys: Capture) -> None:
    Path("orders.yaml").write_text(
        PLAYBOOK.replace("toScalar: float", "toScaler: float").replace(
            "inputKey: messageId", "a: b"
        )
    )
    assert main(["playbook", "test", "orders.yaml"]) == 1
    told = capsys.readouterr().err
    assert "eventSpecific.order_completed.mappings[0].transforms[0]" in told
    assert "toScalar" in told
    assert "global.mappings[0]" in told
    first, *lines = told.splitlines()
    assert first == f"trunkline: orders.yaml: {len(lines)} problems"
    assert len(lines) > 2
    assert all(re.match(r"  (eventSpecific|global)\S*: ", line) for line in lines), lines
