"""Every golden case of reads and erasures, and the cells of the table of keys that concern them.

`X-Test-Reply: found {…}` is what the desk says to what is asked. `X-Test-Plan`, `X-Test-Failure`,
`{{x*101}}` are as with the REST API. `GOLDEN_WRITE=1` writes the part below the request anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.golden import (
    RULER,
    Case,
    check_case,
    load_cases,
    render_answer,
    request_of,
    shows_row,
)
from tests.support.tracking_apps import ADDRESS, RECEIVED_MS, SNAPSHOT, make_request
from trunkline.kit.desk import Reply
from trunkline.kit.protocol import Answer, Decoded, Failure, FailureCode
from trunkline.model.refusal_reads import READS_ERRORS
from trunkline.model.snapshot import Plan
from trunkline.protocols.reads import ReadsProtocol

FOLDER = Path(__file__).parent / "golden" / "reads"
CASES = load_cases(FOLDER)
PROTOCOL = ReadsProtocol()
WITHOUT_REST = msgspec.structs.replace(SNAPSHOT, plan=Plan(features=("s2s",)))
REPEAT = re.compile(r"\{\{(.+?)\*([0-9]+)\}\}")
PATHS = [
    ("GET", "/v1/users/u-42"),
    ("DELETE", "/v1/users/u-42"),
    ("GET", "/v1/events/m-1"),
    ("GET", "/v1/erasures/7b1c"),
]
BROWSERS = [
    {"origin": "https://shop.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-dest": "empty"},
]


def decode(case: Case) -> Decoded:
    path = REPEAT.sub(lambda match: match[1] * int(match[2]), case.path)
    is_planned = case.headers.get("x-test-plan") != "without rest"
    request = request_of(msgspec.structs.replace(case, path=path), PROTOCOL, RECEIVED_MS, ADDRESS)
    return PROTOCOL.decode(request, SNAPSHOT if is_planned else WITHOUT_REST)


def answer(case: Case, decoded: Decoded) -> Answer:
    """Return the answer, where the desk is asked what the inquiry makes of its reply."""
    if decoded.inquiry is None:
        return decoded.answer
    outcome, _, value = case.headers["x-test-reply"].partition(" ")
    said: Any = outcome
    return decoded.inquiry.tell(Reply(said, value.encode() or b"{}"))


def show(case: Case) -> str:
    if "x-test-failure" in case.headers:
        code, status, *rest = case.headers["x-test-failure"].split(" ")
        failure = Failure(msgspec.convert(code, FailureCode), int(status), "What went wrong.",
                          int(rest[1]))  # fmt: skip
        return render_answer(PROTOCOL.failure(case.path, failure))
    decoded = decode(case)
    parts = [render_answer(answer(case, decoded))]
    if decoded.inquiry is not None:
        question = decoded.inquiry.question
        asked = msgspec.json.encode(question).decode()
        parts += [RULER, f"asked: {type(question).__name__} {asked}"]
    parts += [f"{RULER}\nkept: {each.code}, {each.key}" for each in decoded.refused]
    return "\n".join(parts)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_request_gets_the_answer_that_its_page_shows(case: Case) -> None:
    shown = show(case)
    assert "wk_" not in shown
    check_case(FOLDER, case, shown)


def test_every_error_and_every_route_is_shown_by_a_case() -> None:
    assert [row for row in READS_ERRORS if not any(shows_row(case, row) for case in CASES)] == []
    shown = {(case.method, request_of(case, PROTOCOL, RECEIVED_MS, ADDRESS).route.path)
             for case in CASES}  # fmt: skip
    named = {(route.method, route.path) for route in PROTOCOL.routes}
    assert {(method, path) for method, path in named if path.endswith("}")} <= shown <= named


def ask(method: str, path: str, key: str, app: str = "shop", **more: Any) -> Decoded:
    headers = {"x-application-id": app, "x-api-key": key, **more.pop("headers", {})}
    request = make_request(PROTOCOL, path, method=method, headers=headers, **more)
    return PROTOCOL.decode(request, SNAPSHOT)


def code_of(decoded: Decoded) -> str:
    return "" if decoded.inquiry else msgspec.json.decode(decoded.answer.body)["code"]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_the_cells_of_the_table_of_keys(method: str, path: str) -> None:
    """Server keys may, Client keys may not; allowed IPs; a Server key in a browser has leaked."""
    assert code_of(ask(method, path, "wk_backend")) == ""
    for key in ("wk_web", "wk_phone"):
        assert code_of(ask(method, path, key)) == "server_key_needed"
    assert code_of(ask(method, path, "wk_backend", "flagged")) == "unknown_key"
    assert code_of(ask(method, path, "wk_expired")) == "unknown_key"
    assert [code_of(ask(method, path, key)) for key in ("wk_new", "wk_old")] == ["", ""]
    assert code_of(ask(method, path, "wk_fenced", "fenced", address="198.51.100.7")) == ""
    assert code_of(ask(method, path, "wk_fenced", "fenced")) == "address_not_allowed"
    for browser in BROWSERS:
        refused = ask(method, path, "wk_backend", headers=browser)
        assert code_of(refused) == "server_key_in_browser"
        assert len(refused.leaked) == 1 and refused.used == ()
        assert [each.code for each in refused.refused] == ["server_key_in_browser"]
    assert code_of(ask(method, path, "wk_backend", headers={"sec-fetch-mode": "cors"})) == ""


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_use_of_a_key_is_remembered(method: str, path: str) -> None:
    decoded = ask(method, path, "wk_backend")
    assert len(decoded.used) == 1 and decoded.leaked == ()


def test_text_that_is_no_text_is_no_id() -> None:
    assert code_of(ask("GET", "/v1/users/\udcff", "wk_backend")) == "invalid_id"


@pytest.mark.parametrize("path", ["/v1/users", "/v1/events", "/v1/erasures"])
def test_an_id_of_the_query_that_is_no_text_is_refused_and_never_another(path: str) -> None:
    refused = ask("GET", path, "wk_backend", query="id=a%FF")
    said = msgspec.json.decode(refused.answer.body)
    assert (refused.inquiry, refused.answer.status, said["code"]) == (None, 400, "invalid_id")
    assert said["message"].startswith("the id is no UTF-8")
    asked = ask("GET", path, "wk_backend", query="id=a%EF%BF%BD").inquiry
    assert asked is not None and "a\ufffd" in msgspec.structs.astuple(asked.question)


def test_a_parameter_that_is_no_text_is_refused_with_a_sentence() -> None:
    refused = ask("DELETE", "/v1/users", "wk_backend", query="id=u-1&suppress=%FF")
    assert code_of(refused) == "invalid_parameter"


def test_an_id_with_a_slash_in_the_path_is_told_where_it_belongs() -> None:
    nowhere = Failure("not_found", 404, "There is no /v1/users/team/jane here; check the path.")
    said = msgspec.json.decode(PROTOCOL.failure("/v1/users/team/jane", nowhere).body)
    assert said["message"] == (
        "There is no /v1/users/team/jane here; send an id that holds a slash in the query, "
        "percent-encoded: /v1/users?id="
    )
    elsewhere = msgspec.json.decode(PROTOCOL.failure("/v1/user/jane", nowhere).body)
    assert elsewhere["message"] == nowhere.sentence
