"""Finding who answers a path."""

from __future__ import annotations

import pytest

from tests.support.gateway_rig import PlainProtocol
from trunkline.gateway.routes import Match, Miss, RouteTable
from trunkline.kit.protocol import Route


class Paths(PlainProtocol):
    """A protocol with these paths."""

    def __init__(self, *routes: tuple[str, str]) -> None:
        super().__init__()
        self.routes = tuple(Route("GET" if m == "GET" else "POST", p, 1, 1) for m, p in routes)


TABLE = RouteTable(
    [
        Paths(("POST", "/v1/batch"), ("POST", "/v1/{type}"), ("GET", "/v1/pixel/{type}")),
        Paths(("POST", "/api/s/{type}"), ("POST", "/api/s/s2s/{type}"), ("POST", "/api/s/s2s/x")),
        Paths(("GET", "/v1/projects/{key}/settings"), ("POST", "/v1/projects/{key}/settings")),
        Paths(("GET", "/sourceConfig/")),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "route", "params"),
    [
        ("POST", "/v1/batch", "/v1/batch", {}),
        ("POST", "/v1/batch/", "/v1/batch", {}),
        ("POST", "/v1/track", "/v1/{type}", {"type": "track"}),
        ("GET", "/v1/pixel/page", "/v1/pixel/{type}", {"type": "page"}),
        ("HEAD", "/v1/pixel/page", "/v1/pixel/{type}", {"type": "page"}),
        ("POST", "/api/s/s2s/x", "/api/s/s2s/x", {}),
        ("POST", "/api/s/s2s/y/", "/api/s/s2s/{type}", {"type": "y"}),
        ("POST", "/v1/projects/k/settings", "/v1/projects/{key}/settings", {"key": "k"}),
        ("GET", "/sourceConfig", "/sourceConfig/", {}),
        ("GET", "/sourceConfig/", "/sourceConfig/", {}),
    ],
)
def test_a_path_is_found_with_its_parameters_also_the_second_time(
    method: str, path: str, route: str, params: dict[str, str]
) -> None:
    for _ in range(2):
        found = TABLE.find(method, path)
        assert isinstance(found, Match)
        assert (found.route.path, dict(found.params)) == (route, params)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/batch", ("OPTIONS", "POST")),
        ("GET", "/v1/track", ("OPTIONS", "POST")),
        ("POST", "/v1/pixel/page", ("GET", "HEAD", "OPTIONS")),
        ("PUT", "/v1/projects/k/settings", ("GET", "HEAD", "OPTIONS", "POST")),
        ("POST", "/v1//", ()),
        ("POST", "/", ()),
        ("POST", "", ()),
        ("POST", "/v1/a/b/c/d", ()),
        ("POST", "/V1/batch", ()),
    ],
)
def test_a_miss_names_the_methods_of_its_path(
    method: str, path: str, allow: tuple[str, ...]
) -> None:
    found = TABLE.find(method, path)
    assert isinstance(found, Miss)
    assert found.allow == allow
    assert (found.protocol is not None) == path.startswith("/v1/")


def test_remembered_paths_are_bounded() -> None:
    table = RouteTable([Paths(("POST", "/v1/{type}"))])
    for number in range(10_000):
        assert isinstance(table.find("POST", f"/v1/{number}"), Match)
    assert isinstance(table.find("POST", "/v1/" + "x" * 1000), Match)
    assert len(table._remembered) <= 4096


def test_a_path_that_starts_with_a_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="first segment"):
        RouteTable([Paths(("POST", "/{app}/x"))])


def test_what_is_no_text_matches_nothing_and_is_told_by_whose_path_it_resembles() -> None:
    people = Paths(("GET", "/v1/users/{id}"))
    table = RouteTable([people])
    assert isinstance(table.find("GET", "/v1/users/\ufffd"), Match)
    assert table.find("GET", "/v1/users/\udcff") == Miss(people, ())


def test_what_is_nowhere_is_told_by_the_protocol_with_most_paths_beside_it() -> None:
    one = Paths(("POST", "/v1/custom"))
    most = Paths(("POST", "/v1/a"), ("POST", "/v1/b"), ("POST", "/api/s/{type}"))
    table = RouteTable([one, most, Paths(("POST", "/v1/c"), ("GET", "/api/x"))])
    for path, owner in (("/v1/nowhere", most), ("/api/nowhere", most), ("/nowhere", None)):
        miss = table.find("POST", path)
        assert isinstance(miss, Miss)
        assert miss.protocol is owner


def test_of_two_segments_that_are_known_the_second_tells_whose_path_it_is() -> None:
    people = Paths(("GET", "/v1/users/{id}"), ("GET", "/v1/users"))
    most = Paths(("POST", "/v1/a"), ("POST", "/v1/b"), ("POST", "/v1/c"))
    table = RouteTable([most, people])
    for path, owner in (("/v1/users/a/b", people), ("/v1/users/a/b/c/", people), ("/v1/d/e", most)):
        miss = table.find("GET", path)
        assert isinstance(miss, Miss)
        assert (miss.protocol, miss.allow) == (owner, ())
