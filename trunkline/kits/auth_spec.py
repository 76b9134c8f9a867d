"""How a kit's requests are signed in, as it stands in the connection."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from trunkline.playbook.nodes import Node

PAIRS_MAX = 64
Pairs = tuple[tuple[str, str], ...]
_OAUTH1 = ("consumerKey", "consumerSecret", "accessToken", "tokenSecret")
_SIGNING = {
    "SIGNING_METHOD_RS256": "RS256",
    "SIGNING_METHOD_HS256": "HS256",
    "RS256": "RS256",
    "HS256": "HS256",
}


class Basic(Struct, frozen=True):
    """User name and password (RFC 7617)."""

    username: str
    password: str


class OAuth1(Struct, frozen=True):
    """What signs a request by HMAC-SHA1 (RFC 5849)."""

    consumer_key: str
    consumer_secret: str
    access_token: str
    token_secret: str


class Jwt(Struct, frozen=True):
    """A signed assertion that the token request carries under `request_key` (RFC 7523).

    `key` is a PEM private key with RS256, a secret with HS256.
    """

    claims: Pairs
    request_key: str
    algorithm: str
    key: str
    has_jti: bool = False


class OAuth2(Struct, frozen=True):
    """A request that is answered with an access token, which then goes as a Bearer token."""

    url: str
    method: str
    is_json: bool
    headers: Pairs
    body: Pairs
    token_key: str
    jwt: Jwt | None = None


class Auth(Struct, frozen=True):
    """All that a request is signed in with. `provider` names a vendor's own way, unknown to us."""

    basic: Basic | None = None
    oauth1: OAuth1 | None = None
    oauth2: OAuth2 | None = None
    provider: str = ""

    @property
    def kind(self) -> Literal["none", "basic", "OAuth 1", "OAuth 2"]:
        """Return what it is called."""
        if self.oauth2 is not None:
            return "OAuth 2"
        if self.oauth1 is not None:
            return "OAuth 1"
        return "none" if self.basic is None else "basic"


def read_auth(fields: dict[str, Node]) -> Auth:
    """Read what a request's fields say of it, telling what is wrong."""
    ways = [n for n in ("basicAuth", "oauth1Auth", "oauth2Auth", "providerAuth") if n in fields]
    if len(ways) > 1:
        fields[ways[1]].complain(f"stands beside {ways[0]}; a request signs in one way only")
    return Auth(
        _read_basic(fields["basicAuth"]) if "basicAuth" in fields else None,
        _read_oauth1(fields["oauth1Auth"]) if "oauth1Auth" in fields else None,
        _read_oauth2(fields["oauth2Auth"]) if "oauth2Auth" in fields else None,
        next(iter(fields["providerAuth"].named()), "?") if "providerAuth" in fields else "",
    )


def _texts(node: Node, names: tuple[str, ...]) -> list[str]:
    fields = node.fields(names, names)
    return [fields[name].text() if name in fields else "" for name in names]


def _read_basic(node: Node) -> Basic:
    fields = node.fields(("username", "password"), ("username",))
    told = {name: below.text() for name, below in fields.items()}
    return Basic(told.get("username", ""), told.get("password", ""))


def _read_oauth1(node: Node) -> OAuth1:
    return OAuth1(*_texts(node, _OAUTH1))


def _read_oauth2(node: Node) -> OAuth2:
    fields = node.fields(("request", "responseAccessTokenKey", "jwt"), ("request",))
    known = ("url", "method", "contentType", "headers", "body")
    request = fields["request"].fields(known, ("url",)) if "request" in fields else {}
    content_type = request["contentType"].text() if "contentType" in request else ""
    return OAuth2(
        request["url"].text() if "url" in request else "",
        request["method"].choice(("POST", "PUT", "GET")) if "method" in request else "POST",
        "json" in content_type,
        read_pairs(request["headers"]) if "headers" in request else (),
        read_pairs(request["body"]) if "body" in request else (),
        fields["responseAccessTokenKey"].text()
        if "responseAccessTokenKey" in fields
        else "access_token",
        _read_jwt(fields["jwt"]) if "jwt" in fields else None,
    )


def _read_jwt(node: Node) -> Jwt:
    names = ("claims", "requestKey", "signingMethod", "rsaPemKey", "hsSigningSecret", "includeJti")
    fields = node.fields(names, ("signingMethod",))
    method = "RS256"
    if "signingMethod" in fields:
        method = _SIGNING[fields["signingMethod"].choice(tuple(_SIGNING))]
    key = "rsaPemKey" if method == "RS256" else "hsSigningSecret"
    if key not in fields:
        node.complain(f"{key} is missing, and {method} signs with it")
    return Jwt(
        read_pairs(fields["claims"]) if "claims" in fields else (),
        fields["requestKey"].text() if "requestKey" in fields else "assertion",
        method,
        fields[key].text() if key in fields else "",
        fields["includeJti"].flag() if "includeJti" in fields else False,
    )


def read_pairs(node: Node) -> Pairs:
    """Read a list of `{key, value}`."""
    found: list[tuple[str, str]] = []
    for entry in node.entries()[:PAIRS_MAX]:
        fields = entry.fields(("key", "value"), ("key", "value"))
        if len(fields) == 2:
            found.append((fields["key"].text(), fields["value"].scalar_text()))
    return tuple(found)
