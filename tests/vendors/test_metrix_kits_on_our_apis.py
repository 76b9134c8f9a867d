"""The Metrix kits speak APIs that our own node speaks, too: what they send is accepted here."""

from __future__ import annotations

import msgspec
import pytest

from tests.support import rest
from tests.support.s2s import APPS, DEV_KEY, SNAPSHOT, WALLET, make_request
from trunkline.kits.fixture_spec import KitFixture
from trunkline.kits.fixtures import run_fixture
from trunkline.kits.shipped import shipped_kits
from trunkline.model.snapshot import EventDefinition
from trunkline.protocols.s2s import S2SProtocol

SLUGS = ("taqsq", "abcde", "subsc", "other")
APP = msgspec.structs.replace(APPS[0], events=tuple(EventDefinition(slug, slug) for slug in SLUGS))
OURS = msgspec.structs.replace(SNAPSHOT, apps=(APP,))


def fixtures_of(name: str) -> list[KitFixture]:
    return [fixture for fixture in shipped_kits()[name].fixtures if fixture.requests]


def bodies_of(name: str, fixture: KitFixture) -> list[bytes]:
    result = run_fixture(shipped_kits()[name], fixture)
    assert result.has_passed, result.problems
    assert result.requests
    return [request.body for request in result.requests]


@pytest.mark.parametrize("fixture", fixtures_of("metrix-s2s"), ids=lambda fixture: fixture.name)
def test_what_the_s2s_kit_sends_our_s2s_api_accepts(fixture: KitFixture) -> None:
    for body in bodies_of("metrix-s2s", fixture):
        request = make_request(body, WALLET, {"authorization": DEV_KEY})
        decoded = S2SProtocol().decode(request, OURS)
        assert decoded.answer.status == 200, decoded.answer.body
        assert len(decoded.accepted) == 1


@pytest.mark.parametrize("fixture", fixtures_of("metrix-rest"), ids=lambda fixture: fixture.name)
def test_what_the_rest_kit_sends_our_rest_api_accepts(fixture: KitFixture) -> None:
    for body in bodies_of("metrix-rest", fixture):
        decoded = rest.send(body)
        assert decoded.answer.status == 200
        count = len(msgspec.json.decode(body)["messages"])
        assert (rest.answer_of(decoded)["accepted"], len(decoded.accepted)) == (count, count)
