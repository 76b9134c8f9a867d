"""Signing in at a vendor: basic, OAuth 1.0a (RFC 5849), OAuth 2 and its JWT assertions (RFC 7523).

Everything is computed from what it is given: the time is the attempt's, and nonces and ids come
from the delivery, so the same attempt gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from trunkline.kit.destination import Request
from trunkline.kits.auth_spec import Basic, Jwt, OAuth1, OAuth2

ASSERTION_SECONDS = 3600  # the longest that the strictest issuer takes
_FORM = "application/x-www-form-urlencoded"
_ESCAPES = {n: quote(chr(n), safe="~") for n in range(128)}  # five times as fast as `quote`
_is_plain = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch


def basic_header(basic: Basic) -> str:
    """Return the value of `Authorization`."""
    pair = f"{basic.username}:{basic.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def oauth1_header(
    auth: OAuth1, request: Request, pairs: Sequence[tuple[str, str]], unix_seconds: int, nonce: str
) -> str:
    """Return the value of `Authorization` that signs a request.

    `pairs` are the fields of its body where that is a form; those of the query are taken from the
    URL.
    """
    told = [
        ("oauth_consumer_key", auth.consumer_key),
        ("oauth_nonce", nonce),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", str(unix_seconds)),
        ("oauth_token", auth.access_token),
        ("oauth_version", "1.0"),
    ]
    base = signature_base(request.method, request.url, [*told, *pairs])
    signature = oauth1_signature(base, auth.consumer_secret, auth.token_secret)
    signed = [*told, ("oauth_signature", signature)]
    return "OAuth " + ", ".join(f'{name}="{_escape(value)}"' for name, value in sorted(signed))


def signature_base(method: str, url: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return the text that OAuth 1 signs (RFC 5849, 3.4.1)."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    standard = {"http": 80, "https": 443}[parts.scheme]
    port = f":{parts.port}" if parts.port not in (None, standard) else ""
    every = [*parse_qsl(parts.query, keep_blank_values=True), *pairs]
    escaped = sorted((_escape(name), _escape(value)) for name, value in every)
    # Escaped once more, of which only these three are changed: all others were escaped or need not.
    joined = "&".join([f"{name}={value}" for name, value in escaped]).replace("%", "%25")
    joined = joined.replace("=", "%3D").replace("&", "%26")
    place = f"{parts.scheme}://{host}{port}{parts.path or '/'}"
    return f"{_escape(method.upper())}&{_escape(place)}&{joined}"


def oauth1_signature(base: str, consumer_secret: str, token_secret: str) -> str:
    """Return the signature of a base text, in base64 (RFC 5849, 3.4.2)."""
    key = f"{_escape(consumer_secret)}&{_escape(token_secret)}".encode()
    return base64.b64encode(hmac.digest(key, base.encode(), hashlib.sha1)).decode()


def _escape(text: str) -> str:
    if _is_plain(text):
        return text
    return text.translate(_ESCAPES) if text.isascii() else quote(text, safe="~")


def load_rsa_key(pem: str) -> rsa.RSAPrivateKey:
    """Return the key of a PEM text, also one whose line ends were written as `\\n`.

    Raises `ValueError` with a sentence that shows nothing of it.
    """
    text = pem.replace("\\n", "\n").strip()
    try:
        key = serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(
            "the private key is no PEM text of an unencrypted key; paste it as it was issued, "
            "from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the private key is no RSA key, and RS256 signs with one")
    return key


def jwt_text(jwt: Jwt, now_seconds: int, token_id: str) -> str:
    """Return an assertion: its claims, `iat` and `exp`, signed. `ValueError` for a bad key."""
    claims: dict[str, Any] = dict(jwt.claims)
    claims |= {"iat": now_seconds, "exp": now_seconds + ASSERTION_SECONDS}
    if jwt.has_jti:
        claims["jti"] = token_id
    return sign_jwt(claims, jwt.algorithm, jwt.key)


def sign_jwt(claims: dict[str, Any], algorithm: str, key: str) -> str:
    """Return a compact JWS (RFC 7515) by HS256 or RS256. `ValueError` for a bad key."""
    head = msgspec.json.encode({"alg": algorithm, "typ": "JWT"})
    signed = _base64url(head) + b"." + _base64url(msgspec.json.encode(claims))
    if algorithm == "HS256":
        signature = hmac.digest(key.encode(), signed, hashlib.sha256)
    else:
        signature = load_rsa_key(key).sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return (signed + b"." + _base64url(signature)).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token_request(auth: OAuth2, now_ms: int, token_id: str) -> Request:
    """Return the request for an access token. `ValueError` for a bad key."""
    pairs = list(auth.body)
    if auth.jwt is not None:
        pairs.append((auth.jwt.request_key, jwt_text(auth.jwt, now_ms // 1000, token_id)))
    headers = [*auth.headers]
    if not any(name.lower() == "accept" for name, _ in headers):
        headers.append(("Accept", "application/json"))
    if auth.method == "GET":
        joint = "&" if "?" in auth.url else "?"
        url = auth.url + joint + urlencode(pairs)
        return Request("GET", url, tuple(headers), b"", hides_answer=True)
    if auth.is_json:
        body = msgspec.json.encode({name: _json_value(value) for name, value in pairs})
        headers.append(("Content-Type", "application/json"))
    else:
        body = urlencode(pairs).encode()
        headers.append(("Content-Type", _FORM))
    return Request(auth.method, auth.url, tuple(headers), body, hides_answer=True)


def _json_value(text: str) -> Any:
    """Return a text that is written as a list or an object as such: a kit can only say text."""
    if text[:1] not in ("[", "{"):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def read_token(body: bytes, key: str) -> tuple[str, float]:
    """Return the token of an answer and for how many seconds it holds; empty where there is none.

    0 seconds: the answer does not say.
    """
    found = _object_of(body)
    token, seconds = found.get(key), found.get("expires_in")
    holds = float(seconds) if isinstance(seconds, int | float) else 0.0
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit():
        holds = float(seconds)
    return (token, max(holds, 0.0)) if isinstance(token, str) else ("", 0.0)


def token_fault(body: bytes) -> str:
    """Return the error that a token endpoint names (RFC 6749, 5.2), and nothing else of it."""
    error = _object_of(body).get("error")
    return f", {error[:80]}" if isinstance(error, str) and error.isprintable() else ""


def _object_of(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
