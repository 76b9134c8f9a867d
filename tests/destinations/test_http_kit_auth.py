"""Signing in at a vendor: published vectors, keys made here, and a token's whole life."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.support.kit_driving import NOW_MS, by_json, drive, made_of, shaped
from trunkline.destinations.http_kit import HttpKit
from trunkline.kit.destination import Request, Response
from trunkline.kits.auth import (
    load_rsa_key,
    oauth1_header,
    oauth1_signature,
    read_token,
    sign_jwt,
    signature_base,
)
from trunkline.kits.auth_spec import OAuth1
from trunkline.model.outcome import Blocked, Delivered, Retry

API = "https://acme.example/e"
WITHOUT = "the token request was answered without `access_token`"
TOKENS = "https://login.acme.example/token"


# OAuth 1


def test_the_base_text_is_the_one_of_rfc_5849() -> None:
    pairs = [
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
        ("c2", ""),
        ("a3", "2 q"),
    ]
    url = "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b"
    assert signature_base("post", url, pairs) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D"
        "%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e"
        "4a%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9"
        "d7dh3k39sjv7"
    )


def test_the_signature_is_the_one_of_rfc_5849() -> None:
    pairs = [
        ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
        ("oauth_token", "nnch734d00sl2jdk"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131202"),
        ("oauth_nonce", "chapoH"),
    ]
    url = "http://photos.example.net/photos?file=vacation.jpg&size=original"
    base = signature_base("GET", url, pairs)
    signature = oauth1_signature(base, "kd94hf93k423kf44", "pfkkdhi9sl3r4s00")
    assert signature == "MdpQcU8iPSUjWoN/UDMsK2sui9I="


def test_a_form_is_signed_with_the_fields_of_its_body() -> None:
    """The worked example that a well-known vendor publishes for its API."""
    auth = OAuth1(
        "xvz1evFS4wEEPTGEFPHBog",
        "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
        "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
        "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
    )
    url = "https://api.twitter.com/1.1/statuses/update.json?include_entities=true"
    status = [("status", "Hello Ladies + Gentlemen, a signed OAuth request!")]
    nonce = "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg"
    header = oauth1_header(auth, Request("POST", url, (), b""), status, 1318622958, nonce)
    assert 'oauth_signature="hCtSmYh%2BiHYCEqBWrE7C7hYmtUk%3D"' in header
    assert header.startswith('OAuth oauth_consumer_key="xvz1evFS4wEEPTGEFPHBog", oauth_nonce=')


def test_a_kit_signs_by_oauth_1_over_url_and_query_and_not_over_json() -> None:
    keys = {"consumerKey": "c", "consumerSecret": "cs", "accessToken": "t", "tokenSecret": "ts"}
    destination = made_of({"default": {"endpoint": f"{API}?v=1", "oauth1Auth": keys}})
    request = drive(destination, [shaped({"id": "m-1"})]).requests[0]
    header = dict(request.headers)["Authorization"]
    told = [part.split("=", 1) for part in header.removeprefix("OAuth ").split(", ")]
    plain = {name: unquote(value.strip('"')) for name, value in told}
    signature = plain.pop("oauth_signature")
    base = signature_base("POST", request.url, [*plain.items()])
    assert signature == oauth1_signature(base, "cs", "ts")
    assert plain["oauth_timestamp"] == str(NOW_MS // 1000)


# JWT


def test_hs256_is_the_well_known_example() -> None:
    claims = {"sub": "1234567890", "name": "John Doe", "iat": 1516239022}
    token = sign_jwt(claims, "HS256", "your-256-bit-secret")
    assert token == (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ."
        "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
    )


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem_of(key: Any) -> str:
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain).decode()


def unpack(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_rs256_verifies_with_the_public_key_also_from_one_line(rsa_key: rsa.RSAPrivateKey) -> None:
    pem = pem_of(rsa_key)
    for text in (pem, pem.replace("\n", "\\n"), f"\n{pem}\n"):
        head, claims, signature = sign_jwt({"iss": "me"}, "RS256", text).split(".")
        signed = f"{head}.{claims}".encode()
        rsa_key.public_key().verify(unpack(signature), signed, padding.PKCS1v15(), hashes.SHA256())
        assert msgspec.json.decode(unpack(head)) == {"alg": "RS256", "typ": "JWT"}
        assert msgspec.json.decode(unpack(claims)) == {"iss": "me"}


def test_a_key_that_is_none_is_told_without_showing_it() -> None:
    curve = pem_of(ec.generate_private_key(ec.SECP256R1()))
    for text, word in (("hunter2", "no PEM"), (curve, "no RSA")):
        with pytest.raises(ValueError, match=word) as caught:
            load_rsa_key(text)
        assert "hunter2" not in str(caught.value)


# OAuth 2


class Vendor:
    """A token endpoint and an API behind it, in one process: which tokens hold is its own."""

    def __init__(self, seconds: Any = 3600) -> None:
        self.seconds = seconds
        self.issued = 0
        self.valid: set[str] = set()
        self.asked: list[Request] = []
        self.token_answer: Response | None = None

    def __call__(self, request: Request) -> Response:
        if request.url.startswith(TOKENS):
            self.asked.append(request)
            if self.token_answer is not None:
                return self.token_answer
            self.issued += 1
            token = f"t-{self.issued}"
            self.valid.add(token)
            return by_json({"access_token": token, "expires_in": self.seconds})
        token = dict(request.headers).get("Authorization", "").removeprefix("Bearer ")
        return Response(200 if token in self.valid else 401, {}, b"")


def oauth2(**more: Any) -> HttpKit:
    request = {
        "url": TOKENS,
        "method": "POST",
        "contentType": "application/x-www-form-urlencoded",
        "body": [
            {"key": "grant_type", "value": "client_credentials"},
            {"key": "client_secret", "value": "$$SECRET$$"},
        ],
        **more.pop("request", {}),
    }
    auth = {"request": request, "responseAccessTokenKey": "access_token", **more}
    header = [{"key": "Authorization", "value": "Bearer of-the-kit"}]
    default = {"endpoint": API, "oauth2Auth": auth, "headers": header}
    return made_of({"params": [{"name": "SECRET"}], "default": default}, {"SECRET": "s&1"})


def test_a_token_is_asked_for_once_and_used_until_it_runs_out() -> None:
    vendor, destination = Vendor(), oauth2()
    first = drive(destination, [shaped()], vendor)
    assert [r.url for r in first.requests] == [TOKENS, API]
    assert first.requests[0].body == b"grant_type=client_credentials&client_secret=s%261"
    assert dict(first.requests[1].headers)["Authorization"] == "Bearer t-1"
    for later_ms in (1000, 3_539_000):
        assert len(drive(destination, [shaped()], vendor, now_ms=NOW_MS + later_ms).requests) == 1
    late = drive(destination, [shaped()], vendor, now_ms=NOW_MS + 3_541_000)
    assert [r.url for r in late.requests] == [TOKENS, API]
    assert dict(late.requests[1].headers)["Authorization"] == "Bearer t-2"


def test_a_401_fetches_a_new_token_once_and_the_request_is_repeated() -> None:
    vendor, destination = Vendor(), oauth2()
    drive(destination, [shaped()], vendor)
    vendor.valid.clear()
    driven = drive(destination, [shaped()], vendor)
    assert [r.url for r in driven.requests] == [API, TOKENS, API]
    assert driven.outcomes == [Delivered()]
    keys = {dict(r.headers)["Idempotency-Key"] for r in driven.requests if r.url == API}
    assert len(keys) == 1


def test_a_second_401_blocks() -> None:
    def answer(request: Request) -> Response:
        is_token = request.url == TOKENS
        return by_json({"access_token": "x"}) if is_token else Response(401, {}, b"")

    driven = drive(oauth2(), [shaped()], answer)
    assert [r.url for r in driven.requests] == [TOKENS, API, TOKENS, API]
    assert driven.outcomes == [Blocked("HTTP 401")]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            by_json({"error": "invalid_client", "error_description": "s&1"}, 400),
            Blocked("the token request was answered HTTP 400, invalid_client"),
        ),
        (Response(401, {}, b""), Blocked("the token request was answered HTTP 401")),
        (Response(503, {}, b"", 9.0), Retry("the token request was answered HTTP 503", 9.0)),
        (by_json({"token": "x"}), Blocked(WITHOUT)),
        (Response(200, {}, b"[]"), Blocked(WITHOUT)),
    ],
)
def test_without_a_token_nothing_is_sent(answer: Response, outcome: Any) -> None:
    vendor = Vendor()
    vendor.token_answer = answer
    driven = drive(oauth2(), [shaped(), shaped(id="m-2", user="v")], vendor)
    assert [r.url for r in driven.requests] == [TOKENS]
    assert driven.outcomes == [outcome] * 2


def test_requests_of_tokens_count_among_the_ten() -> None:
    events = [shaped(id=f"m-{n}", user=f"u-{n}") for n in range(20)]
    driven = drive(oauth2(), events, Vendor())
    assert len(driven.requests) <= 10
    assert driven.outcomes[0] == Delivered()


def test_a_json_body_takes_lists_as_such_and_headers_of_the_kit() -> None:
    request = {
        "contentType": "application/json",
        "headers": [{"key": "Accept", "value": "text/x"}],
        "body": [{"key": "scopes", "value": '["a"]'}, {"key": "x", "value": "[no"}],
    }
    vendor = Vendor()
    drive(oauth2(request=request), [shaped()], vendor)
    assert msgspec.json.decode(vendor.asked[0].body) == {"scopes": ["a"], "x": "[no"}
    headers = dict(vendor.asked[0].headers)
    assert (headers["Accept"], headers["Content-Type"]) == ("text/x", "application/json")


def test_an_assertion_carries_the_claims_and_the_time_of_the_attempt() -> None:
    jwt = {
        "claims": [{"key": "aud", "value": TOKENS}, {"key": "iss", "value": "$$SECRET$$"}],
        "requestKey": "client_assertion",
        "signingMethod": "SIGNING_METHOD_HS256",
        "hsSigningSecret": "$$SECRET$$",
        "includeJti": True,
    }
    vendor, destination = Vendor(), oauth2(jwt=jwt)
    drive(destination, [shaped()], vendor)
    vendor.valid.clear()
    drive(destination, [shaped()], vendor)
    ids: set[str] = set()
    for request in vendor.asked:
        assertion = parse_qs(request.body.decode())["client_assertion"][0]
        head, claims, signature = assertion.split(".")
        expected = hmac.digest(b"s&1", f"{head}.{claims}".encode(), hashlib.sha256)
        assert unpack(signature) == expected
        told = msgspec.json.decode(unpack(claims))
        now = NOW_MS // 1000
        assert (told["aud"], told["iss"]) == (TOKENS, "s&1")
        assert (told["iat"], told["exp"]) == (now, now + 3600)
        ids.add(told["jti"])
    assert len(ids) == len(vendor.asked) == 2


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"t":"x","expires_in":60}', ("x", 60.0)),
        (b'{"t":"x","expires_in":"60"}', ("x", 60.0)),
        (b'{"t":"x"}', ("x", 0.0)),
        (b'{"t":"x","expires_in":-5}', ("x", 0.0)),
        (b'{"t":7}', ("", 0.0)),
        (b"nonsense", ("", 0.0)),
        (b"\xff", ("", 0.0)),
    ],
)
def test_what_a_token_answer_says(body: bytes, found: tuple[str, float]) -> None:
    assert read_token(body, "t") == found


def test_a_token_that_holds_for_seconds_is_not_used_up_to_its_end() -> None:
    vendor, destination = Vendor(seconds=10), oauth2()
    drive(destination, [shaped()], vendor)
    assert len(drive(destination, [shaped()], vendor, now_ms=NOW_MS + 4000).requests) == 1
    assert len(drive(destination, [shaped()], vendor, now_ms=NOW_MS + 6000).requests) == 2
