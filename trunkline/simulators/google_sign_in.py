"""Google's OAuth 2 as its APIs demand it: a signed assertion or a refresh token for a token.

The service account's key is made anew from a fixed text in every process: it is the same each time,
so that a workspace file can hold it, and no key lies in a file.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from trunkline.simulators.checks import at, bearer_of, content_type_of, form_of
from trunkline.simulators.simulator import Ask, Complaint, Reply

TOKEN_PATH = "/token"
CLIENT_EMAIL = "events@simulated-project.iam.gserviceaccount.com"
CLIENT_ID = "1234567890-simulated.apps.googleusercontent.com"
CLIENT_SECRET = "GOCSPX-simulated-secret"
REFRESH_TOKEN = "1//simulated-refresh-token"
TOKEN_SECONDS = 3_599
ASSERTION_SECONDS_MAX = 3_600
SKEW_SECONDS_MAX = 300
TOKENS_MAX = 1_000
AUDIENCE = "https://oauth2.googleapis.com/token"

_ASSERTION_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# How far above the hash of its text the next prime lies.
_PRIMES = (("trunkline simulator p", 70), ("trunkline simulator q", 1918))


@cache
def private_key_pem() -> str:
    """Return the service account's private key, as PEM of PKCS#8."""
    form = serialization.PrivateFormat.PKCS8
    none = serialization.NoEncryption()
    return _key().private_bytes(serialization.Encoding.PEM, form, none).decode()


class GoogleTokens:
    """Issues access tokens for one scope, and knows which of them still hold."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.complaints: list[Complaint] = []
        self._until_ms: dict[str, int] = {}
        self._issued = 0
        self._refused: set[str] = set()

    def answer(self, ask: Ask) -> Reply:
        """Answer a request for a token."""
        form = form_of(ask)
        grant = form.get("grant_type", "")
        fault = _fault_of_request(ask)
        if not fault and grant == _ASSERTION_GRANT:
            fault = self._fault_of_assertion(form.get("assertion", ""), ask)
        elif not fault and grant == "refresh_token":
            fault = _fault_of_refresh(form)
        elif not fault:
            fault = "unsupported_grant_type"
        if fault:
            return Reply(400, {"error": fault})
        self._issued += 1
        token = f"ya29.simulated-{self._issued}"
        if len(self._until_ms) >= TOKENS_MAX:
            self._until_ms.clear()
        self._until_ms[token] = ask.now_ms + 1_000 * TOKEN_SECONDS
        told = {"access_token": token, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"}
        return Reply(200, told)

    def refusal_of(self, ask: Ask) -> Reply | None:
        """Return the 401 of a request without a token that holds, or None."""
        token = bearer_of(ask)
        if self._until_ms.get(token, 0) > ask.now_ms:
            return None
        return failed(401, "UNAUTHENTICATED", "the access token is missing, wrong or ran out")

    def run_out(self, ask: Ask) -> bool:
        """Let the request's token run out, the first time that one is; say whether it did."""
        token = bearer_of(ask)
        if self._refused or token not in self._until_ms:
            return False
        self._refused.add(token)
        self._until_ms.clear()
        return True

    def _fault_of_assertion(self, text: str, ask: Ask) -> str:
        claims = _claims_of(text)
        if claims is None:
            return "invalid_grant"
        issued, expires = claims.get("iat"), claims.get("exp")
        host = ask.headers.get("host", "")
        rules = {
            "iss": claims.get("iss") == CLIENT_EMAIL,
            "aud": claims.get("aud") in (AUDIENCE, f"http://{host}{ask.path}"),
            "scope": self.scope in str(claims.get("scope", "")).split(" "),
            "iat": _is_near(issued, ask.now_ms),
            "exp": isinstance(expires, int)
            and isinstance(issued, int)
            and 0 < expires - issued <= ASSERTION_SECONDS_MAX,
        }
        for name, holds in rules.items():
            if not holds:
                message = f"{claims.get(name)!r} is not what is expected"
                self.complaints.append(Complaint("assertion", name, message))
        if all(rules.values()):
            return ""
        return "invalid_scope" if not rules["scope"] else "invalid_grant"


def failed(
    status: int, name: str, message: str, details: list[dict[str, Any]] | None = None
) -> Reply:
    """Return an error in the form of Google's APIs (`google.rpc.Status`)."""
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if details:
        error["details"] = details
    return Reply(status, {"error": error})


@cache
def _key() -> rsa.RSAPrivateKey:
    p, q = (_prime(text, above) for text, above in _PRIMES)
    e, n = 65_537, p * q
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, n)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key()


def _prime(text: str, above: int) -> int:
    digest = hashlib.shake_256(text.encode()).digest(128)
    return (int.from_bytes(digest, "big") | (3 << 1022) | 1) + above


def _claims_of(text: str) -> dict[str, Any] | None:
    """Return the claims of an assertion that our key signed by RS256, or None."""
    try:
        head, claims, signature = text.split(".")
        if at(msgspec.json.decode(_unbase64(head)), "alg") != "RS256":
            return None
        _key().public_key().verify(
            _unbase64(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        return msgspec.json.decode(_unbase64(claims), type=dict[str, Any])
    except (ValueError, InvalidSignature, msgspec.MsgspecError):
        return None


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _is_near(seconds: object, now_ms: int) -> bool:
    return isinstance(seconds, int) and abs(now_ms / 1_000 - seconds) <= SKEW_SECONDS_MAX


def _fault_of_request(ask: Ask) -> str:
    is_form = content_type_of(ask) == "application/x-www-form-urlencoded"
    return "" if ask.method == "POST" and is_form else "invalid_request"


def _fault_of_refresh(form: dict[str, str]) -> str:
    if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
        return "invalid_client"
    return "" if form.get("refresh_token") == REFRESH_TOKEN else "invalid_grant"
