"""Whether a request is signed with OAuth 1.0a, HMAC-SHA1, as RFC 5849 has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, unquote

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask

AGE_MS_MAX = 5 * checks.MINUTE_MS


def signature_fault(ask: Ask, keys: Mapping[str, str]) -> str:
    """Return what is wrong with a request's signature, or nothing.

    `keys` are `consumer_key`, `consumer_secret`, `access_token`, `token_secret`. The address that
    was signed is that of the `host` header, with the scheme of `x-forwarded-proto` or http.
    """
    given = oauth_params(checks.authorization_of(ask, "OAuth"))
    if given.get("oauth_consumer_key") != keys["consumer_key"]:
        return "the consumer key is not known"
    if given.get("oauth_token") != keys["access_token"]:
        return "the access token is not known"
    if given.get("oauth_signature_method") != "HMAC-SHA1":
        return "the signature method is not HMAC-SHA1"
    signed_at = given.get("oauth_timestamp", "")
    if not signed_at.isdigit() or abs(int(signed_at) * 1000 - ask.now_ms) > AGE_MS_MAX:
        return f"the timestamp {signed_at!r} is not of now"
    signed = expected_signature(ask, given, keys)
    return (
        "" if hmac.compare_digest(signed, given.get("oauth_signature", "")) else "wrong signature"
    )


def oauth_params(header: str) -> dict[str, str]:
    """Return the params of an `Authorization: OAuth …` header, decoded."""
    pairs = (part.strip().partition("=") for part in header.split(","))
    return {unquote(name): unquote(value.strip('"')) for name, _, value in pairs if name}


def expected_signature(ask: Ask, given: Mapping[str, str], keys: Mapping[str, str]) -> str:
    """Return the signature that the request must bear. The body counts not, for it is JSON."""
    params = [(name, value) for name, values in ask.query.items() for value in values]
    params += [(n, v) for n, v in given.items() if n not in ("oauth_signature", "realm")]
    text = "&".join(f"{n}={v}" for n, v in sorted((escaped(n), escaped(v)) for n, v in params))
    scheme = ask.headers.get("x-forwarded-proto", "http")
    url = f"{scheme}://{ask.headers.get('host', '')}{ask.path}"
    signed = "&".join((ask.method, escaped(url), escaped(text)))
    key = f"{escaped(keys['consumer_secret'])}&{escaped(keys['token_secret'])}"
    digest = hmac.new(key.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def escaped(text: str) -> str:
    """Percent-encode all but letters, digits and `-._~`."""
    return quote(text, safe="-._~")
