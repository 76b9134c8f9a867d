"""What pages load, beside a browser: bytes, caching, refusals; and the server's cookie."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gateway_rig import PlainProtocol, running_gateway
from tests.support.tracking_apps import SNAPSHOT, make_app, make_key, make_request
from trunkline.kit.page_script import find_parts, make_script
from trunkline.kit.protocol import Answer, Decoded, Failure
from trunkline.kit.visitor_cookie import ID_CHARS_MAX, read_visitor, set_visitor
from trunkline.model.refusal import SCRIPT_ERRORS
from trunkline.model.snapshot import AnalyticsJs, Key, Plan, Snapshot, digest
from trunkline.node import protocol_shelf
from trunkline.protocols.analytics_js import PART_SECONDS, SCRIPT_SECONDS, AnalyticsJsProtocol

PROTOCOL = AnalyticsJsProtocol()
SCRIPT = "/analytics.js/v1/wk_web/analytics.min.js"
FOLDER = files("trunkline") / "assets" / "analytics_js"
PAGE = {"origin": "https://shop.example", "sec-fetch-site": "same-site"}
[SHOP] = [app for app in SNAPSHOT.apps if app.id == "shop"]
[WEB] = [key for key in SHOP.keys if key.name == "web"]
[BACKEND] = [key for key in SHOP.keys if key.name == "backend"]


def ask(path: str, snapshot: Snapshot = SNAPSHOT, **headers: str) -> Decoded:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return PROTOCOL.decode(make_request(PROTOCOL, path, method="GET", headers=given), snapshot)


def with_settings(**settings: bool) -> Snapshot:
    app = make_app(
        "shop", make_key("web", "wk_web", "client"), analytics_js=AnalyticsJs(**settings)
    )
    return Snapshot(version=1, organisation="Acme", plan=Plan(), apps=(app,))


def header(answer: Answer, name: str) -> str | None:
    found = [value for key, value in answer.headers if key.lower() == name]
    assert len(found) < 2
    return found[0] if found else None


def test_the_kept_files_are_the_ones_whose_origin_is_written_down() -> None:
    origin: dict[str, Any] = msgspec.json.decode((FOLDER / "ORIGIN.json").read_bytes())
    assert origin["package"] == "@segment/analytics-next"
    kept = {one.name: one.read_bytes() for one in FOLDER.iterdir() if one.name != "ORIGIN.json"}
    assert origin["sha256"] == {n: hashlib.sha256(d).hexdigest() for n, d in kept.items()}
    assert b"Permission is hereby granted" in kept["LICENSE.MD"]
    assert f'"{origin["version"]}"'.encode() in kept["index.js"]


def test_the_script_holds_the_library_as_it_was_published_and_its_licence() -> None:
    script = make_script("wk_web", AnalyticsJs()).plain
    library = (FOLDER / "index.js").read_bytes()
    body, _, source_map = library.rpartition(b"\n//# ")
    assert source_map == b"sourceMappingURL=index.js.map"
    assert body in script
    assert (FOLDER / "LICENSE.MD").read_bytes() in script
    assert b"sourceMappingURL" not in script


def test_the_script_has_no_address_but_what_the_library_never_uses_here() -> None:
    text = make_script("wk_web", AnalyticsJs()).plain.decode()
    urls = re.findall(r"https?://[a-z0-9.-]+\.[a-z]+", text)
    assert {urlsplit(url).hostname for url in urls} == {"cdn.segment.com", "cdn.segment"}
    assert not re.search(r"\beval\(|new Function\b|document\.write", text)


def test_the_configuration_is_the_app_s() -> None:
    scripts = {
        make_script("wk_web", AnalyticsJs(cookie=cookie, second_path=second)).plain
        for cookie in (True, False)
        for second in (True, False)
    }
    assert len(scripts) == 4
    [one] = [each for each in scripts if b'"cookie":true,"secondPath":false' in each]
    assert b'"writeKey":"wk_web"' in one
    assert b"</script" not in make_script("</script>", AnalyticsJs()).plain


@pytest.mark.parametrize("path", [SCRIPT, "/s/wk_web.js"])
def test_a_client_key_gets_its_script_from_any_origin(path: str) -> None:
    decoded = ask(path, origin="https://somebody.example")
    assert decoded.answer.status == 200
    assert decoded.answer.content_type == "text/javascript; charset=utf-8"
    assert decoded.answer.body == make_script("wk_web", AnalyticsJs()).plain
    assert decoded.used == (("shop", digest("wk_web")),)
    assert header(decoded.answer, "cache-control") == f"public, max-age={SCRIPT_SECONDS}"
    assert header(decoded.answer, "cross-origin-resource-policy") == "cross-origin"
    assert header(decoded.answer, "set-cookie") is None


@pytest.mark.parametrize(
    ("accepted", "is_zipped"),
    [("gzip, deflate, br", True), ("br;q=1.0, GZIP; q=0.5", True), ("*", True), ("", False)]
    + [("gzip;q=0", False), ("gzip; q=0.000", False), ("br", False)],
)
def test_who_takes_gzip_gets_it(accepted: str, is_zipped: bool) -> None:
    answer = ask(SCRIPT, accept_encoding=accepted).answer
    plain = gzip.decompress(answer.body) if is_zipped else answer.body
    assert plain == make_script("wk_web", AnalyticsJs()).plain
    assert header(answer, "content-encoding") == ("gzip" if is_zipped else None)
    assert header(answer, "vary") == "Accept-Encoding"
    assert len(answer.body) < 36_000 or not is_zipped


def test_who_has_it_is_told_so() -> None:
    first = ask(SCRIPT, accept_encoding="gzip").answer
    tag = header(first, "etag")
    assert tag is not None
    assert tag != header(ask(SCRIPT).answer, "etag")
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = ask(SCRIPT, accept_encoding="gzip", if_none_match=known).answer
        assert (answer.status, answer.body) == (304, b"")
        assert header(answer, "etag") == tag
        assert header(answer, "cache-control") == header(first, "cache-control")
        assert header(answer, "vary") == "Accept-Encoding"
    assert ask(SCRIPT, accept_encoding="gzip", if_none_match='"other"').answer.status == 200
    other = ask(SCRIPT, with_settings(cookie=False), accept_encoding="gzip", if_none_match=tag)
    assert other.answer.status == 200


def test_the_parts_are_kept_for_good_by_whoever_has_them() -> None:
    parts = find_parts()
    assert {name.partition(".")[0] for name in parts} == {
        "auto-track",
        "queryString",
        "schemaFilter",
    }
    for name, part in parts.items():
        answer = ask(f"/analytics-next/bundles/{name}").answer
        assert (answer.status, answer.body) == (200, part.plain)
        assert header(answer, "cache-control") == f"public, max-age={PART_SECONDS}, immutable"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/analytics.js/v1/wk_nobody/analytics.min.js", 404, "not one of this server's"),
        ("/analytics.js/v1/wk_expired/analytics.min.js", 404, "its time is over"),
        ("/s/wk_nobody.js", 404, "not one of this server's"),
        ("/s/wk_web", 404, "no such file"),
        ("/s/.js", 404, "not one of this server's"),
        ("/analytics-next/bundles/other.js", 404, "no such file"),
        ("/analytics-next/bundles/index.js", 404, "no such file"),
        ("/analytics-next/bundles/LICENSE.MD", 404, "no such file"),
        ("/s/wk_backend.js", 403, 'the Server key "backend" stands in the address'),
    ],
)
def test_a_refusal_is_a_comment_that_nobody_keeps(path: str, status: int, said: str) -> None:
    decoded = ask(path)
    assert decoded.answer.status == status
    text = decoded.answer.body.decode()
    assert said in text
    assert text.startswith("// ")
    assert text.count("\n") == 1
    assert header(decoded.answer, "cache-control") == "no-store"
    assert decoded.leaked == ((("shop", digest("wk_backend")),) if status == 403 else ())


def test_it_can_be_switched_off() -> None:
    decoded = ask(SCRIPT, with_settings(enabled=False))
    assert decoded.answer.status == 404
    assert b"switched off for the app" in decoded.answer.body


def test_every_row_of_the_error_table_is_said() -> None:
    asked = [
        ask("/s/wk_nobody.js"), ask("/s/wk_backend.js"), ask("/s/wk_web"),
        ask(SCRIPT, with_settings(enabled=False)),
    ]  # fmt: skip
    for row in SCRIPT_ERRORS:
        assert any(row.hint.encode() in each.answer.body for each in asked)


def test_a_failure_is_a_comment_where_a_script_was_asked_for() -> None:
    failure = Failure("not_loaded", 503, "it is not\nloaded yet", 5)
    assert PROTOCOL.failure(SCRIPT, failure).body == b"// it is not loaded yet\n"
    told = PROTOCOL.failure("/s/wk_web/visitor", failure)
    assert msgspec.json.decode(told.body)["code"] == "not_loaded"


def test_the_gateway_serves_it_to_who_gets_and_who_asks_for_the_head() -> None:
    with running_gateway(
        snapshot=SNAPSHOT, protocols=[PlainProtocol(), *protocol_shelf().values()]
    ) as rig:
        script = make_script("wk_web", AnalyticsJs())
        got = rig.ask("GET", SCRIPT, "Accept-Encoding: gzip")
        assert (got.status, got.body) == (200, script.zipped)
        head = rig.ask("HEAD", SCRIPT, "Accept-Encoding: gzip")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(script.zipped))
        again = rig.ask(
            "GET", SCRIPT, f"If-None-Match: {head.headers['etag']}", "Accept-Encoding: gzip"
        )
        assert (again.status, again.body) == (304, b"")


# The visitor, and the cookie


def visitor_of(snapshot: Snapshot = SNAPSHOT, key: str = "wk_web", **headers: str) -> Answer:
    answer = ask(f"/s/{key}/visitor", snapshot, **headers).answer
    assert header(answer, "cache-control") == "no-store"
    return answer


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"cookie": "a=1; trunkline_shop=a-7"}, "a-7"),
        ({"cookie": "trunkline_shop=a%20%2C7"}, "a ,7"),
        ({"cookie": "a=1,trunkline_shop=a-7"}, "a-7"),
        ({"cookie": "trunkline_shop="}, None),
        ({"cookie": "trunkline_other=a-7"}, None),
        ({"cookie": "trunkline_shop=" + "x" * (ID_CHARS_MAX + 1)}, None),
        ({"cookie": "b=" + "x" * 16_384 + "; trunkline_shop=a-7"}, None),
        ({"cookie": "trunkline_shop=a-7", "sec_fetch_site": "cross-site"}, None),
        ({}, None),
    ],
)
def test_a_page_is_told_who_its_visitor_was(headers: dict[str, str], expected: Any) -> None:
    answer = visitor_of(**headers)
    assert (answer.status, msgspec.json.decode(answer.body)) == (200, {"anonymousId": expected})


def test_a_page_that_may_not_use_the_key_is_told_nothing() -> None:
    cookie = "trunkline_shop=a-7"
    assert visitor_of(cookie=cookie, origin="https://other.example").status == 403
    assert visitor_of(key="wk_nobody", cookie=cookie).status == 401
    decoded = ask("/s/wk_backend/visitor", origin="https://shop.example", cookie=cookie)
    assert decoded.answer.status == 403
    assert decoded.leaked == [("shop", digest("wk_backend"))]


@pytest.mark.parametrize("settings", [{"cookie": False}, {"enabled": False}])
def test_an_app_without_the_cookie_neither_sets_nor_reads_it(settings: dict[str, bool]) -> None:
    snapshot = with_settings(**settings)
    [app] = snapshot.apps
    assert set_visitor(PAGE, app, app.keys[0], "a-7") == ()
    answer = visitor_of(snapshot, cookie="trunkline_shop=a-7")
    assert msgspec.json.decode(answer.body) == {"anonymousId": None}


@pytest.mark.parametrize(
    ("headers", "key", "visitor", "is_set"),
    [
        (PAGE, WEB, "a-7", True),
        ({"sec-fetch-site": "same-origin"}, WEB, "a-7", True),
        ({"origin": "https://shop.example"}, WEB, "a-7", True),  # an older browser
        ({}, WEB, "a-7", False),  # an app on a phone
        (PAGE | {"sec-fetch-site": "cross-site"}, WEB, "a-7", False),
        (PAGE, BACKEND, "a-7", False),
        (PAGE, WEB, "", False),
        (PAGE, WEB, "x" * (ID_CHARS_MAX + 1), False),
    ],
)
def test_who_gets_the_cookie(headers: dict[str, str], key: Key, visitor: str, is_set: bool) -> None:
    assert bool(set_visitor(headers, SHOP, key, visitor)) is is_set


@pytest.mark.parametrize(
    ("headers", "is_secure"),
    [
        ({"origin": "https://shop.example"}, True),
        ({"origin": "http://127.0.0.1:8000"}, False),
        ({"origin": "http://127.0.0.1:8000", "x-forwarded-proto": "http, https"}, True),
        ({"origin": "http://127.0.0.1:8000", "x-forwarded-proto": "https, http"}, False),
    ],
)
def test_the_cookie_of_a_page_with_tls_is_sent_with_tls_only(
    headers: dict[str, str], is_secure: bool
) -> None:
    [(_, cookie)] = set_visitor(headers, SHOP, WEB, "a-7")
    assert cookie.endswith("; Secure") is is_secure


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=ID_CHARS_MAX))
def test_any_id_comes_back_as_it_was(visitor: str) -> None:
    [(_, cookie)] = set_visitor(PAGE, SHOP, WEB, visitor)
    assert cookie.isascii()
    assert cookie.isprintable()
    pair = cookie.partition(";")[0]
    assert read_visitor({"cookie": f"a=1; {pair}; b=2"}, SHOP, WEB) == visitor


@given(st.text(max_size=300))
def test_any_cookie_header_is_read_as_somebody_or_nobody(text: str) -> None:
    for header_text in (text, f"trunkline_shop={text}"):
        assert len(read_visitor({"cookie": header_text}, SHOP, WEB)) <= ID_CHARS_MAX
