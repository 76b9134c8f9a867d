"""Which protocol answers a path: a dictionary for fixed paths, a short list for patterns.

Made once from what the protocols declare. `{name}` matches one segment that is not empty, a
trailing slash is the same path, HEAD is found as GET, and a fixed path wins over a pattern. What
is no text (`http1_request.split_target`) matches nothing: so every parameter is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trunkline.kit.json_repair import is_text
from trunkline.kit.protocol import Protocol, Route

_NO_PARAMS: Mapping[str, str] = {}
_REMEMBERED_MAX = 4096
_REMEMBERED_CHARS_MAX = 128


class Match(NamedTuple):
    """The protocol that answers, its route, and what the path's parameters were."""

    protocol: Protocol
    route: Route
    params: Mapping[str, str]


class Miss(NamedTuple):
    """No route. `allow` names the methods that the path has: empty where there is no such path.

    `protocol` is whose clients call paths like this one, for an answer in its shape.
    """

    protocol: Protocol | None
    allow: tuple[str, ...]


Methods = dict[str, tuple[Protocol, Route]]


class _Pattern(NamedTuple):
    segments: tuple[str, ...]
    methods: Methods


class RouteTable:
    """All paths of the ingest port but the gateway's own."""

    def __init__(self, protocols: Sequence[Protocol]) -> None:
        """Raises `ValueError` where two protocols claim one path."""
        self._fixed: dict[str, Methods] = {}
        self._patterns: dict[tuple[int, str], list[_Pattern]] = {}
        self._owners = _find_owners(protocols)
        self._remembered: dict[tuple[str, str], Match] = {}
        for protocol in protocols:
            for route in protocol.routes:
                self._add(protocol, route)
        for patterns in self._patterns.values():
            patterns.sort(key=lambda pattern: sum(s[:1] == "{" for s in pattern.segments))

    def find(self, method: str, path: str) -> Match | Miss:
        """Return who answers."""
        # Callers repeat their few paths: remembered, a pattern costs 0.1 µs instead of 1.5.
        remembered = self._remembered.get((method, path))
        if remembered is not None:
            return remembered
        found = self._find(method, path)
        if isinstance(found, Match) and len(path) <= _REMEMBERED_CHARS_MAX:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[method, path] = found
        return found

    def _find(self, method: str, path: str) -> Match | Miss:
        if path[-1:] == "/":
            path = path[:-1]
        if method == "HEAD":
            method = "GET"
        methods = self._fixed.get(path)
        if methods is not None:
            found = methods.get(method)
            if found is not None:
                return Match(found[0], found[1], _NO_PARAMS)
            return _wrong_method(methods)
        return self._find_pattern(method, path)

    def _find_pattern(self, method: str, path: str) -> Match | Miss:
        segments = path.split("/")
        if not is_text(path):
            return Miss(self._find_owner(segments), ())
        first = segments[1] if len(segments) > 1 else ""
        wrong: Miss | None = None
        for pattern in self._patterns.get((len(segments), first), ()):
            params = _match(pattern.segments, segments)
            if params is None:
                continue
            found = pattern.methods.get(method)
            if found is not None:
                return Match(found[0], found[1], params)
            wrong = wrong or _wrong_method(pattern.methods)
        return wrong or Miss(self._find_owner(segments), ())

    def _find_owner(self, segments: Sequence[str]) -> Protocol | None:
        return self._owners.get(tuple(segments[1:3])) or self._owners.get(tuple(segments[1:2]))

    def _add(self, protocol: Protocol, route: Route) -> None:
        path = route.path.rstrip("/")
        segments = tuple(path.split("/"))
        methods = self._methods_of(path, segments)
        if route.method in methods:
            other = methods[route.method][0].name
            raise ValueError(
                f"protocols `{other}` and `{protocol.name}` both claim {route.method} {route.path};"
                " one path has one protocol"
            )
        methods[route.method] = (protocol, route)

    def _methods_of(self, path: str, segments: tuple[str, ...]) -> Methods:
        if "{" not in path:
            return self._fixed.setdefault(path, {})
        if segments[1][:1] == "{":
            raise ValueError(f"route {path}: the first segment of a path must be fixed")
        patterns = self._patterns.setdefault((len(segments), segments[1]), [])
        for pattern in patterns:
            if pattern.segments == segments:
                return pattern.methods
        patterns.append(_Pattern(segments, {}))
        return patterns[-1].methods


def _find_owners(protocols: Sequence[Protocol]) -> dict[tuple[str, ...], Protocol]:
    """Return, by the first and by the first two segments, who has the most paths below them."""
    paths: dict[tuple[str, ...], Counter[Protocol]] = {}
    for protocol in protocols:
        for route in protocol.routes:
            segments = route.path.rstrip("/").split("/")[1:] or [""]
            for begin in {tuple(segments[:1]), tuple(segments[:2])}:
                paths.setdefault(begin, Counter())[protocol] += 1
    return {begin: counted.most_common(1)[0][0] for begin, counted in paths.items()}


def _match(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for expected, actual in zip(pattern, segments, strict=True):
        if expected[:1] == "{":
            if not actual:
                return None
            params[expected[1:-1]] = actual
        elif expected != actual:
            return None
    return params


def _wrong_method(methods: Methods) -> Miss:
    names = {*methods, "OPTIONS"}
    if "GET" in methods:
        names.add("HEAD")
    return Miss(next(iter(methods.values()))[0], tuple(sorted(names)))
