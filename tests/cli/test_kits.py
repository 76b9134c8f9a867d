"""`kits`, as it is typed: what comes in, what is refused, what a person reads of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.kits import KITS, find_kits, kit_names
from trunkline.__main__ import main
from trunkline.kit.yaml_text import read_yaml
from trunkline.kits.kit import parse_kit

Capture = pytest.CaptureFixture[str]
CONNECTORS = {
    "adobe-bdia": "adobe-bdia",
    "amazon-data-firehose": "amazon-data-firehose",
    "amazon-kinesis": "amazon-kinesis",
    "blob": "blob",
    "gcs": "gcs",
    "google-ads-audience": "google_ads_audience",
    "google-bigquery-streaming": "googleBigqueryStreaming",
    "google-cm360": "googleCM360",
    "google-pubsub": "googlePubsub",
    "iterable": "iterable",
    "kafka": "kafka",
    "pipeline-router": "pipeline-router",
    "rasp": "rasp",
    "s3": "s3",
    "snowflake": "snowflake",
    "snowflake-streaming": "snowflakeStreaming",
    "stdout": "stdout",
}
PROVIDERS = {
    "salesforce-cdp": "salesforceCdp",
    "thetradedesk-conversion-events": "tradedesk",
    "thetradedesk-data-advertiser-firstparty": "tradedesk",
    "verizon-media": "verizon",
}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def said(capsys: Capture, *words: str, code: int = 0) -> Any:
    assert main(["kits", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def imported(capsys: Capture, *words: str) -> list[Any]:
    """Return the lines of `kits list` that tell of imported kits."""
    return [one for one in said(capsys, "list", *words) if one["origin"] == "imported"]


def test_every_public_kit_is_imported_and_those_that_cannot_send_say_why(capsys: Capture) -> None:
    told = said(capsys, "import", str(find_kits()))
    assert told["failed"] == []
    assert told["imported"] == kit_names()
    assert len(told["imported"]) == KITS
    reasons = {one["name"]: one["reason"] for one in told["without_connection"]}
    assert reasons.keys() == CONNECTORS.keys() | PROVIDERS.keys()
    for name, connector in CONNECTORS.items():
        assert reasons[name].startswith(f"its connection is `{connector}`: it ")
    for name, provider in PROVIDERS.items():
        assert f"providerAuth `{provider}`" in reasons[name]

    listed = imported(capsys)
    assert [one["name"] for one in listed] == kit_names()
    assert {one["name"] for one in listed if not one["canSend"]} == reasons.keys()
    assert all(one["title"] and one["importedAt"] for one in listed)

    shown = said(capsys, "show", "braze")
    assert [(p["name"], p["required"]) for p in shown["params"]] == [
        ("INSTANCE_URL", True),
        ("API_KEY", True),
    ]
    assert [(r["event"], r["batchSize"]) for r in shown["requests"]] == [
        ("default", 37),
        ("identify", 50),
        ("order_completed", 1),
    ]
    assert read_yaml(shown["workspace"]) == [
        {
            "id": "braze",
            "kind": "http_kit",
            "settings": {
                "kit": "braze",
                "params": {
                    "INSTANCE_URL": {"env": "BRAZE_INSTANCE_URL"},
                    "API_KEY": {"env": "BRAZE_API_KEY"},
                },
            },
        }
    ]
    assert main(["kits", "show", "brase"]) == 1
    assert "did you mean braze?" in capsys.readouterr().err
    for name in ("build-your-own", "kafka", "matomo", "salesforce-cdp", "x-ads"):
        assert main(["kits", "show", name]) == 0, name


@pytest.mark.parametrize(
    "place", ["", ".dist", "package/.dist", "@scope/package/.dist", "node_modules/@scope/p/.dist"]
)
def test_kits_are_found_wherever_the_package_lies(
    place: str, tmp_path: Path, capsys: Capture
) -> None:
    write_kit(tmp_path / "kits" / place / "acme")
    assert said(capsys, "import", "kits")["imported"] == ["acme"]


def write_kit(folder: Path, connection: Any = None) -> None:
    folder.mkdir(parents=True)
    (folder / "playbook.json").write_text('{"version": "1", "default": {}}')
    if connection is not None:
        (folder / "connection.json").write_text(json.dumps(connection))


def test_one_kit_by_itself_is_named_by_its_folder(tmp_path: Path, capsys: Capture) -> None:
    write_kit(tmp_path / "acme", {"default": {"endpoint": "https://acme.example/"}})
    assert said(capsys, "import", "acme")["imported"] == ["acme"]
    assert imported(capsys)[0]["canSend"] is True


def test_what_new_writes_is_a_kit_that_can_be_imported_and_shown(
    tmp_path: Path, capsys: Capture
) -> None:
    assert said(capsys, "new", "acme-ads", "--out", "a.yaml")["file"] == "a.yaml"
    kit = parse_kit(read_yaml((tmp_path / "a.yaml").read_text()))
    assert (kit.name, kit.version, kit.cannot_send) == ("acme-ads", "0.1.0", "")
    assert main(["kits", "import", "a.yaml"]) == 0
    assert capsys.readouterr().out == "kits imported: 1; ready to send: 1\n"
    assert main(["kits", "show", "acme-ads"]) == 0
    page = capsys.readouterr().out
    assert re.search("API_TOKEN +required; for example 'my-api-token'; secret", page)
    assert re.search(r"BASE_URL +default 'https://eu\.vendor\.example'.*; Of your region\.", page)
    assert "identify: PUT $$BASE_URL$$/$$VERSION$$/people/{{userId}}" in page
    assert "API_TOKEN: {env: ACME_ADS_API_TOKEN}" in page
    assert main(["kits", "new", "other", "--out", "a.yaml"]) == 1
    assert "a.yaml: exists already" in capsys.readouterr().err
    assert main(["kits", "new", "Bad Name", "--out", "b.yaml"]) == 1
    assert "'Bad Name'" in capsys.readouterr().err
    assert not (tmp_path / "b.yaml").exists()


def test_a_bad_kit_is_refused_with_all_reasons_and_the_others_are_kept(
    tmp_path: Path, capsys: Capture
) -> None:
    main(["kits", "new", "good", "--out", "good.yaml"])
    text = (tmp_path / "good.yaml").read_text()
    folder = tmp_path / "kits"
    folder.mkdir()
    shutil.move(tmp_path / "good.yaml", folder)
    wrong = text.replace("method: PUT", "method: PUTT").replace("toHash", "toHsh")
    (folder / "wrong.yaml").write_text(wrong.replace("name: good", "name: wrong"))
    (folder / "again.yaml").write_text(text)
    (folder / "newer.yaml").write_text("format: 7\nname: newer\n")
    (folder / "broken.yml").write_text("a: [")
    lua = "      - {outputKey: x, inputKey: input, transforms: [{expression: {lang: lua, body: 'return ('}}]}"  # noqa: E501
    spot = "      - {inputKey: messageId, outputKey: id}\n"
    (folder / "lua.yaml").write_text(
        text.replace("name: good", "name: lua").replace(spot, f"{spot}{lua}\n")
    )
    (folder / "code.yaml").write_text(
        text.replace("name: good", "name: code").replace(
            "    batchSize: 100", "    transform: {lang: lua, body: 'return )'}\n    batchSize: 100"
        )
    )
    capsys.readouterr()
    told = said(capsys, "import", "kits", code=1)
    assert told["imported"] == ["good"]
    failed = {one["name"]: one["reasons"] for one in told["failed"]}
    assert failed.keys() == {"good", "wrong", "newer", "broken", "lua", "code"}
    assert any("PUTT" in reason for reason in failed["wrong"])
    assert any("toHash" in reason for reason in failed["wrong"])
    assert failed["newer"][0].endswith("install a newer Trunkline to use it")
    assert failed["broken"][0].startswith("broken.yml: line 2")
    assert "another kit of the same name" in failed["good"][0]
    assert "global.mappings[1].transforms[0]" in failed["lua"][0]
    assert failed["code"][0].startswith("connection.default.transform: line 1: ")
    assert [one["name"] for one in imported(capsys)] == ["good"]
    assert main(["kits", "import", "kits"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "kits imported: 1; ready to send: 1\n"
    assert "newer: format: is 7, and this version reads 1" in captured.err


@pytest.mark.parametrize(
    ("path", "word"), [("nothing", "no folder and no file"), (".", "holds no kit")]
)
def test_nothing_to_import_is_one_sentence(path: str, word: str, capsys: Capture) -> None:
    assert main(["kits", "import", path]) == 1
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)
    assert word in captured.err
