"""The script that pages load: a published library, and what starts it for one write key.

The library is kept as it was published, in `trunkline/assets/analytics_js`, with its licence. A
page gets it as one file, inside a function that is called by `page_script/start.js` with the
configuration of an app. Its other parts are loaded when a page needs them, by names that hold a
hash. Everything is made once and kept compressed.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache, lru_cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from trunkline.model.event import JsonObject
from trunkline.model.snapshot import AnalyticsJs

# For how many keys a process keeps the script: 150 KB each.
SCRIPTS_MAX = 64
VISITOR_WAIT_MS = 1500  # an answer about a visitor that takes longer is not waited for

_ASSETS = "assets"
_LIBRARY = "index.js"
_LICENCE = "LICENSE.MD"
_SOURCE_MAP = b"//# sourceMappingURL="

# The most that the library takes: what it gives up is lost, and its waits grow.
_RETRIES: JsonObject = {
    "backoffConfig": {"maxRetryCount": 100},
    "rateLimitConfig": {"maxRetryCount": 100},
}

_encode = msgspec.json.Encoder().encode


class ServedFile(Struct, frozen=True):
    """A file as it is served: its bytes, the same by gzip, and what tells versions apart."""

    plain: bytes
    zipped: bytes
    tag: str


@lru_cache(maxsize=SCRIPTS_MAX)
def make_script(write_key: str, given: AnalyticsJs) -> ServedFile:
    """Return the script of a write key."""
    settings = page_settings(write_key, "")  # the page knows the host that the script came from
    settings["integrations"]["Segment.io"]["httpConfig"] = _RETRIES
    config: JsonObject = {
        "writeKey": write_key,
        "cookie": given.cookie,
        "secondPath": given.second_path,
        "visitorWaitMs": VISITOR_WAIT_MS,
        "settings": settings,
    }
    # `<` would matter to a page that holds the script inline.
    text = _encode(config).replace(b"<", b"\\u003c")
    head = b"/*!\n" + _asset("analytics_js", _LICENCE) + b"\n*/\n"
    start = _asset("page_script", "start.js").strip()
    wrapped = b"function (exports, module, define, globalThis) {\n" + _library() + b"\n}"
    return _serve(head + start + b"(" + text + b", " + wrapped + b");\n")


def page_settings(write_key: str, host: str) -> JsonObject:
    """Return what browser and mobile libraries start from. `host` is where their events go.

    A second name in `integrations` would make the browser's fetch code from elsewhere; without
    `metrics` it would post measurements of itself.
    """
    service: JsonObject = {
        "apiKey": write_key,
        "apiHost": f"{host}/v1",
        "unbundledIntegrations": [],
        "addBundledMetadata": True,
        "maybeBundledConfigIds": {},
    }
    return {
        "integrations": {"Segment.io": service},
        "plan": {"track": {"__default": {"enabled": True}}},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
        "enabledMiddleware": {},
    }


@cache
def find_parts() -> dict[str, ServedFile]:
    """Return the other parts of the library, by their names."""
    folder = files("trunkline") / _ASSETS / "analytics_js"
    names = [one.name for one in folder.iterdir() if ".bundle." in one.name]
    return {name: _serve(_without_map(_asset("analytics_js", name))) for name in names}


@cache
def _library() -> bytes:
    return _without_map(_asset("analytics_js", _LIBRARY))


def _without_map(script: bytes) -> bytes:
    """Cut off where its source is said to be: a file that is not served."""
    return script.rpartition(_SOURCE_MAP)[0] if _SOURCE_MAP in script else script


def _asset(folder: str, name: str) -> bytes:
    return (files("trunkline") / _ASSETS / folder / name).read_bytes()


def _serve(plain: bytes) -> ServedFile:
    # Without a time in it, so that all processes of all nodes make the same bytes.
    zipped = gzip.compress(plain, 9, mtime=0)
    return ServedFile(plain, zipped, hashlib.sha256(plain).hexdigest()[:32])
