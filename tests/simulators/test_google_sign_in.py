"""Google's token endpoint: what it gives a token for, and what it refuses."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from tests.support.simulated_vendor import NOW_MS, ask
from trunkline.kits.auth import sign_jwt
from trunkline.simulators.google_sign_in import (
    AUDIENCE,
    CLIENT_EMAIL,
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    GoogleTokens,
    private_key_pem,
)
from trunkline.simulators.simulator import Ask, Reply

SCOPE = "https://www.googleapis.com/auth/example"
SECONDS = NOW_MS // 1000
GOOD = {
    "iss": CLIENT_EMAIL, "aud": AUDIENCE, "scope": f"openid {SCOPE}", "iat": SECONDS,
    "exp": SECONDS + 3600,
}  # fmt: skip


def form(**fields: str) -> Ask:
    body = urlencode(fields).encode()
    return ask("/token", body, content_type="application/x-www-form-urlencoded", host="localhost:1")


def asserted(**changes: object) -> Ask:
    assertion = sign_jwt(GOOD | changes, "RS256", private_key_pem())
    return form(grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=assertion)


def bearing(token: str, later_seconds: int = 0) -> Ask:
    return ask("/x", {}, now_ms=NOW_MS + 1000 * later_seconds, authorization=f"Bearer {token}")


def error_of(reply: Reply) -> str:
    assert reply.status == 400
    return reply.body["error"]


def test_a_signed_claim_gives_a_token_that_holds_for_an_hour() -> None:
    tokens = GoogleTokens(SCOPE)
    told = tokens.answer(asserted()).body
    assert tokens.refusal_of(bearing(told["access_token"])) is None
    assert tokens.refusal_of(bearing(told["access_token"], told["expires_in"] - 1)) is None
    refused = tokens.refusal_of(bearing(told["access_token"], told["expires_in"]))
    assert refused is not None
    assert (refused.status, refused.body["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert tokens.complaints == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"iss": "someone@else"}, "iss"),
        ({"aud": "https://example.com"}, "aud"),
        ({"iat": SECONDS - 1000, "exp": SECONDS}, "iat"),
        ({"exp": SECONDS + 3601}, "exp"),
        ({"scope": "openid"}, "scope"),
    ],
)
def test_a_claim_that_is_not_as_it_should_be_gives_none(
    changes: dict[str, object], rule: str
) -> None:
    tokens = GoogleTokens(SCOPE)
    expected = "invalid_scope" if rule == "scope" else "invalid_grant"
    assert error_of(tokens.answer(asserted(**changes))) == expected
    assert [complaint.where for complaint in tokens.complaints] == [rule]


def test_the_simulators_own_address_is_an_audience_too() -> None:
    assert GoogleTokens(SCOPE).answer(asserted(aud="http://localhost:1/token")).status == 200


def test_another_key_gives_none() -> None:
    head, claims, signature = sign_jwt(GOOD, "RS256", private_key_pem()).split(".")
    forged = f"{head}.{claims}.{signature[:-8]}AAAAAAAA"
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    for assertion in (forged, "", "a.b", sign_jwt(GOOD, "HS256", "secret")):
        reply = GoogleTokens(SCOPE).answer(form(grant_type=grant, assertion=assertion))
        assert error_of(reply) == "invalid_grant"


def test_a_refresh_token_gives_one_with_the_clients_secret() -> None:
    right = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
    tokens = GoogleTokens(SCOPE)
    assert tokens.answer(form(grant_type="refresh_token", **right)).status == 200
    wrong = right | {"client_secret": "x"}
    assert error_of(tokens.answer(form(grant_type="refresh_token", **wrong))) == "invalid_client"
    wrong = right | {"refresh_token": "x"}
    assert error_of(tokens.answer(form(grant_type="refresh_token", **wrong))) == "invalid_grant"
    assert error_of(tokens.answer(form(grant_type="password"))) == "unsupported_grant_type"
    assert error_of(tokens.answer(ask("/token", {}))) == "invalid_request"


def test_a_token_runs_out_once() -> None:
    tokens = GoogleTokens(SCOPE)
    first = tokens.answer(asserted()).body["access_token"]
    assert tokens.run_out(bearing(first))
    assert tokens.refusal_of(bearing(first)) is not None
    second = tokens.answer(asserted()).body["access_token"]
    assert not tokens.run_out(bearing(second))
    assert tokens.refusal_of(bearing(second)) is None
