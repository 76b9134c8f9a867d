"""`destination test` and `destination send`: for real, past the log, and no secret is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.judged_vendor import KIT, NAME, TOKEN, destination
from tests.support.vendor_server import Seen, VendorServer
from tests.support.whole_node import webhook, workspace
from trunkline.__main__ import main

Capture = pytest.CaptureFixture[str]
PATH = "/v2/54321"


class Judging(VendorServer):
    """A vendor that takes one token, and may be told to say no."""

    refuses = False

    def take(self, seen: Seen) -> tuple[int, Any]:
        status, answer = super().take(seen)
        if seen.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"error": f"bad token {seen.headers.get('authorization')}"}
        return (422, {"error": "no"}) if self.refuses else (status, answer)


@pytest.fixture
def vendor() -> Iterator[Judging]:
    server = Judging()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, vendor: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judged.yaml").write_text(KIT)
    assert main(["kits", "import", "judged.yaml"]) == 0
    put(tmp_path, destination(vendor.url))


def put(folder: Path, *destinations: Any) -> None:
    (folder / "w.yaml").write_text(workspace(*destinations))
    assert main(["apply", "w.yaml"]) == 0


def run(capsys: Capture, *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["destination", *words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_connection_test_proves_what_its_kit_says(vendor: Judging, capsys: Capture) -> None:
    code, text = run(capsys, "test", NAME)
    assert code == 0, text
    assert "✓ Account and token are right; the mode keeps the event out of the counts." in text
    (seen,) = vendor.at(PATH)
    assert (seen.json["mode"], seen.json["data"][0]["value"]) == ("test", 29.9)
    assert f"→ POST {vendor.url}{PATH}" in text
    assert "← HTTP 200" in text
    assert TOKEN not in text


def test_a_connection_that_is_wrong_fails_the_test_and_shows_no_secret(
    vendor: Judging, tmp_path: Path, capsys: Capture
) -> None:
    wrong = "tk-this-one-is-not-known"
    put(tmp_path, destination(vendor.url, TOKEN=wrong))
    code, text = run(capsys, "test", NAME)
    assert code == 1
    assert "✗ it failed: " in text
    assert "← HTTP 401" in text
    assert wrong not in text, "not even where the vendor repeats it"
    told = run(capsys, "test", NAME, "--json")
    assert json.loads(told[1])["ok"] is False


def test_no_answer_is_a_failed_test(tmp_path: Path, vendor: Judging, capsys: Capture) -> None:
    vendor.close()
    code, text = run(capsys, "test", NAME)
    assert code == 1
    assert "← no answer: " in text


def test_a_fixture_is_sent_as_if_it_happened_now(vendor: Judging, capsys: Capture) -> None:
    run(capsys, "send", NAME, "--fixture", "purchase")
    code, text = run(capsys, "send", NAME, "--fixture", "purchase")
    assert code == 0, text
    first, second = vendor.at(PATH)
    assert first.json["data"][0]["id"] != second.json["data"][0]["id"]
    assert first.json["data"][0]["name"] == "purchase"
    assert "mode" not in first.json
    assert text.endswith("delivered\n")
    assert TOKEN not in text


def test_an_event_of_a_file_is_judged_by_the_contract_as_any_other(
    vendor: Judging, tmp_path: Path, capsys: Capture
) -> None:
    event: dict[str, Any] = {
        "messageId": "m-9", "type": "track", "event": "A name that is long", "userId": "u-1",
        "timestamp": "2099-01-01T00:00:00Z", "context": {"traits": {"email": "a@b.example"}},
    }  # fmt: skip
    (tmp_path / "e.json").write_text(json.dumps(event))
    code, text = run(capsys, "send", NAME, "--event", "e.json")
    assert (code, vendor.at(PATH)[0].json["data"][0]["name"]) == (0, "A name that ")
    assert "long_name" in text

    (tmp_path / "e.json").write_text(json.dumps({**event, "timestamp": "2020-01-01T00:00:00Z"}))
    code, text = run(capsys, "send", NAME, "--event", "e.json")
    assert (code, len(vendor.at(PATH))) == (1, 1)
    assert "filtered: vendor: older_than_a_week" in text

    (tmp_path / "e.json").write_text(json.dumps({**event, "userId": ""}))
    code, text = run(capsys, "send", NAME, "--event", "e.json", "--json")
    assert (code, len(vendor.at(PATH))) == (1, 1)
    (end,) = json.loads(text)["trial"]["ends"]
    assert end["outcome"] == "rejected"
    assert end["reason"].startswith("needs_user: An event needs a user.")

    (tmp_path / "e.json").write_text(json.dumps({**event, "event": "Order Refunded"}))
    code, text = run(capsys, "send", NAME, "--event", "e.json")
    assert (code, len(vendor.at(PATH))) == (1, 1)
    assert "filtered: playbook: " in text


def test_what_the_vendor_refuses_is_told(vendor: Judging, capsys: Capture) -> None:
    vendor.refuses = True
    code, text = run(capsys, "send", NAME, "--fixture", "purchase")
    assert code == 1
    assert "← HTTP 422" in text
    assert "rejected: HTTP 422" in text


def test_nothing_is_written(vendor: Judging, tmp_path: Path, capsys: Capture) -> None:
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("*.db")}
    run(capsys, "send", NAME, "--fixture", "purchase")
    run(capsys, "test", NAME)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("*.db")} == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["send", NAME], "give either --event FILE or --fixture NAME"),
        (["send", NAME, "--fixture", "no"], "kit judged has no such; it has: purchase, nobody"),
        (["send", "hook", "--fixture", "no"], "of kind webhook, which has no kit"),
        (["test", "hook"], "kind webhook has no connection test"),
        (["test", "nobody"], "'nobody' is no destination"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    words: list[str], told: str, vendor: Judging, tmp_path: Path, capsys: Capture
) -> None:
    put(tmp_path, destination(vendor.url), webhook("hook", vendor.url))
    code, text = run(capsys, *words)
    assert code == 1
    assert told in text
    assert len(text.strip().splitlines()) == 1


def test_a_webhook_is_sent_an_event(vendor: Judging, tmp_path: Path, capsys: Capture) -> None:
    put(tmp_path, webhook("hook", f"{vendor.url}/hook", settings={"headers": {}}))
    (tmp_path / "e.yaml").write_text("{messageId: m-1, type: track, event: Bought, userId: u}")
    code, text = run(capsys, "send", "hook", "--event", "e.yaml")
    assert vendor.at("/hook")[0].json[0]["messageId"] == "m-1", text
    assert (code, "blocked: HTTP 401" in text) == (1, True)


def test_a_channel_is_opened_and_nothing_is_written(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "out" / "events.jsonl"
    put(tmp_path, {"id": "file", "kind": "file", "settings": {"path": str(file)}})
    code, text = run(capsys, "test", "file")
    assert (code, text[:1]) == (0, "✓"), text
    assert not file.exists() or file.read_bytes() == b""


def test_a_person_without_the_consent_that_is_needed_is_kept_back_here_too(
    vendor: Judging, tmp_path: Path, capsys: Capture
) -> None:
    needed = {"needed_in": ["EEA"]}
    hooks = {
        name: webhook(name, f"{vendor.url}/{name}", consent_regions={**needed, "without": name})
        for name in ("withhold", "drop")
    }
    put(tmp_path, *hooks.values())
    event = {
        "messageId": "m-9", "type": "track", "event": "Paid", "userId": "u-of-berlin",
        "context": {"location": {"country": "DE"}},
    }  # fmt: skip
    (tmp_path / "e.json").write_text(json.dumps(event))
    code, text = run(capsys, "send", "drop", "--event", "e.json")
    assert code == 1 and "filtered: consent: region" in text and not vendor.at("/drop")
    _, text = run(capsys, "send", "withhold", "--event", "e.json")
    (seen,) = vendor.at("/withhold")
    assert "u-of-berlin" not in json.dumps(seen.json)
    assert "withheld: userId was taken out" in text
