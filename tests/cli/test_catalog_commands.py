"""`apply`, `check`, `export` and `key`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trunkline.__main__ import main
from trunkline.catalog.current import load_snapshot
from trunkline.kit.clock import SystemClock
from trunkline.kit.times import parse_time_ms
from trunkline.state.home import Home
from trunkline.state.key_uses import KeyUse, use_id, write_uses

WORKSPACE = """
organisation: Acme
apps:
  - id: zcmwmxbkmuodelu
    name: Wallet
    s2s: {enabled: true}
    keys: [{name: backend, type: server}]
    destinations:
      - {id: ledger, kind: webhook, settings: {url: "https://ops.example/hook", secret: "hush-hush-hush"}}
"""  # noqa: E501 a file as somebody writes it
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "workspace.yaml"
    path.write_text(WORKSPACE)
    return path


def test_apply_prints_the_plan_and_what_it_generated_once(file: Path, capsys: Capture) -> None:
    assert main(["apply", str(file)]) == 0
    first = capsys.readouterr().out
    assert "+ destination Wallet/ledger\n" in first
    assert "! server key Wallet/backend: tls_" in first
    assert "version 1: no node runs on this home; the next one starts with it" in first
    assert "hush-hush-hush" not in first
    assert main(["apply", str(file)]) == 0
    assert capsys.readouterr().out == "nothing to change; the catalog stays at version 1\n"


def test_apply_answers_programs_in_json(file: Path, capsys: Capture) -> None:
    assert main(["apply", str(file), "--dry-run", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["version"], result["is_dry_run"], result["is_changed"]) == (0, True, True)


def test_apply_tells_every_problem_and_changes_nothing(
    file: Path, tmp_path: Path, capsys: Capture
) -> None:
    file.write_text(WORKSPACE.replace("webhook", "webhok").replace("name: Wallet", "nam: Wallet"))
    assert main(["apply", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 3
    assert not (tmp_path / "home" / "catalog.db").exists()


def test_check_tells_every_problem_on_standard_error(file: Path, capsys: Capture) -> None:
    file.write_text(WORKSPACE.replace("webhook", "webhok"))
    assert main(["check", str(file)]) == 1
    problem = capsys.readouterr().err.splitlines()[-1]
    assert problem.startswith('apps[0].destinations[0] `ledger`: kind is "webhok"; expected one of')
    assert problem.endswith("did you mean `webhook`?")


def test_check_warns_of_a_literal_secret_and_passes(file: Path, capsys: Capture) -> None:
    assert main(["check", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: apps[0].destinations[0] `ledger`: settings.secret")
    assert "hush" not in captured.err
    assert main(["check", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_check_resolves_secrets_from_the_environment_it_runs_in(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    file.write_text(WORKSPACE.replace('"hush-hush-hush"', "{env: TEST_HOOK_SECRET}"))
    assert main(["check", str(file)]) == 1
    assert "TEST_HOOK_SECRET, which is not set" in capsys.readouterr().err
    monkeypatch.setenv("TEST_HOOK_SECRET", "hush-hush-hush")
    assert main(["check", str(file)]) == 0


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_one_sentence(
    file: Path, content: bytes | None, capsys: Capture
) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    for verb in ("check", "apply"):
        assert main([verb, str(file)]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_export_writes_a_file_that_only_its_owner_reads(
    file: Path, tmp_path: Path, capsys: Capture
) -> None:
    main(["apply", str(file)])
    target = tmp_path / "out.yaml"
    assert main(["export", str(target), "--reveal"]) == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert main(["apply", str(target), "--prune"]) == 0
    assert "nothing to change" in capsys.readouterr().out


def test_export_to_the_screen_holds_no_secret(file: Path, capsys: Capture) -> None:
    main(["apply", str(file)])
    capsys.readouterr()
    assert main(["export"]) == 0
    text = capsys.readouterr().out
    assert "{env: WALLET_LEDGER_SECRET}" in text
    assert "hush-hush-hush" not in text
    assert main(["export", "--json"]) == 0
    assert "WALLET_DEV_KEY" in json.loads(capsys.readouterr().out)["variables"]


def test_keys_are_made_rotated_revoked_and_listed(file: Path, capsys: Capture) -> None:
    main(["apply", str(file)])
    capsys.readouterr()
    assert main(["key", "new", "Wallet", "web", "--type", "client", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["secret"].startswith("tlc_")
    assert main(["key", "rotate", "Wallet", "backend", "--overlap-hours", "2"]) == 0
    assert "server key Wallet/backend: tls_" in capsys.readouterr().out
    assert main(["key", "rotate", "Wallet", "--dev-key"]) == 0
    assert main(["key", "revoke", "Wallet", "web"]) == 0
    capsys.readouterr()
    assert main(["key", "list", "--json"]) == 0
    states = [(line["name"], line["state"]) for line in json.loads(capsys.readouterr().out)]
    assert states == [
        ("dev key", "active"),
        ("dev key", "overlap"),
        ("backend", "active"),
        ("backend", "overlap"),
        ("web", "revoked"),
    ]


@pytest.mark.parametrize(("overlap", "hours"), [("30m", 0.5), ("24h", 24), ("7d", 168), ("0", 0)])
def test_an_overlap_is_a_span(file: Path, overlap: str, hours: float, capsys: Capture) -> None:
    main(["apply", str(file)])
    before = SystemClock().now_ms()
    capsys.readouterr()
    assert main(["key", "rotate", "Wallet", "backend", "--overlap", overlap, "--json"]) == 0
    until = parse_time_ms(json.loads(capsys.readouterr().out)["previous_until"])
    assert until is not None
    assert before <= until - hours * 3_600_000 <= SystemClock().now_ms()


def test_a_server_key_is_made_a_client_key(file: Path, capsys: Capture) -> None:
    main(["apply", str(file)])
    capsys.readouterr()
    assert main(["key", "change", "Wallet", "backend", "--type", "client"]) == 0
    assert "Wallet/backend is a client key now" in capsys.readouterr().out
    assert main(["key", "list"]) == 0
    assert "Wallet/backend  client  active  not used yet" in capsys.readouterr().out.splitlines()


def test_last_use_and_leaks_stand_in_the_list_and_leaks_in_doctor(
    file: Path, tmp_path: Path, capsys: Capture
) -> None:
    main(["apply", str(file)])
    home = Home(tmp_path / "home")
    [app] = load_snapshot(home).apps
    place = use_id(app.id, app.keys[0].secrets[0].digest)
    use = KeyUse(1_795_169_700_000, 3, 1_795_169_731_200, "https://shop.example")
    write_uses(home.key_uses_folder / "gateway-0.json", {place: use})
    capsys.readouterr()
    assert main(["key", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = (
        "leaked: seen in a browser request from https://shop.example 3 times, last "
        "2026-11-20T10:15:31.200Z; rotate it: trunkline key rotate Wallet backend"
    )
    at = lines.index("Wallet/backend  server  active  last used 2026-11-20T10:15Z")
    assert lines[at + 1] == f"  {told}"
    assert main(["key", "list", "--json"]) == 0
    [line] = [x for x in json.loads(capsys.readouterr().out) if x["name"] == "backend"]
    assert line["last_used"] == "2026-11-20T10:15:00.000Z"
    assert line["leak"] == {
        "count": 3,
        "last": "2026-11-20T10:15:31.200Z",
        "origin": "https://shop.example",
    }
    main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    [finding] = [each for each in findings if each["about"] == "keys"]
    assert (finding["verdict"], finding["text"]) == ("warning", f"Wallet/backend {told}")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rotate", "Wallet"], "name a key, or give --dev-key"),
        (["rotate", "Wallet", "backend", "--overlap", "soon"], "'soon' is no overlap"),
        (["rotate", "Wallet", "backend", "--overlap", "2h", "--overlap-hours", "2"], "not both"),
        (["change", "Wallet", "backend", "--type", "server"], "no key becomes a server key"),
        (["change", "Wallet", "nosuch", "--type", "client"], "has no key 'nosuch'"),
        (["revoke", "Wallet", "backend", "--dev-key"], "name a key, or give --dev-key"),
        (["revoke", "Walet", "backend"], "did you mean `Wallet`?"),
    ],
)
def test_a_key_command_that_fails_says_one_sentence(
    file: Path, arguments: list[str], sentence: str, capsys: Capture
) -> None:
    main(["apply", str(file)])
    capsys.readouterr()
    assert main(["key", *arguments]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1


def test_a_broken_database_is_one_sentence(file: Path, tmp_path: Path, capsys: Capture) -> None:
    main(["apply", str(file)])
    (tmp_path / "home" / "catalog.db").write_bytes(b"garbage!" * 1000)
    capsys.readouterr()
    for arguments in (["apply", str(file)], ["export"], ["key", "list"]):
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert "the catalog's database cannot be used" in error
        assert len(error.splitlines()) == 1


@pytest.mark.parametrize("verb", [["apply"], ["check"], ["export"], ["key", "new"]])
def test_help_has_an_example(verb: list[str], capsys: Capture) -> None:
    assert main([*verb, "--help"]) == 0
    assert "Example" in capsys.readouterr().out
