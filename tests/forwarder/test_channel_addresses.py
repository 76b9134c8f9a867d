"""Where a channel connects: a private address is refused as one of a URL is, before it opens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.forwarding import (
    APP,
    InlineWorker,
    Rig,
    Tape,
    destination,
    event,
    run,
    snapshot,
)
from trunkline.forwarder.carrier import ChannelCarrier, private_host
from trunkline.forwarder.connection_trial import check_channel
from trunkline.kit.addresses import hosts_in
from trunkline.kit.clock import FakeClock
from trunkline.kit.destination import Attempt, Channel, Settings, map_event
from trunkline.model.outcome import Blocked, Delivered
from trunkline.node import destination_kinds

LOOPBACK = (
    "127.0.0.1 is at 127.0.0.1, a loopback address; set allow_private_addresses on the "
    "destination to reach it, or correct the host"
)


class PlaceSettings(Settings, frozen=True, kw_only=True):
    """Settings with a host."""

    host: str = "127.0.0.1"
    fallback: str | None = None


class Place(Tape):
    """A channel that would connect to its host."""

    kind = "place"
    settings_type = PlaceSettings
    host_settings = ("host", "fallback")


def place(**settings: Any) -> Place:
    return Place(PlaceSettings(**settings))


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a.example", ["a.example"]),
        ("a:1, b , c:2,", ["a", "b", "c"]),
        ("10.0.0.1:9092", ["10.0.0.1"]),
        ("::1", ["::1"]),
        ("[fd00::1]:9092,x", ["fd00::1", "x"]),
        ("https://s3.example:9000/path", ["s3.example"]),
        ("http://[::1]:9000", ["::1"]),
        ("nats://u:p@h:4222", ["h"]),
        ("/var/run/postgresql", ["localhost"]),
        ("", []),
    ],
)
def test_hosts_are_read_from_what_settings_hold(text: str, hosts: list[str]) -> None:
    assert hosts_in(text) == hosts


@pytest.mark.parametrize(
    ("host", "word"),
    [("127.0.0.1", "loopback"), ("10.1.2.3", "private"), ("::1", "loopback"), ("/run/x", "loopb")],
)
def test_a_private_host_is_refused_unless_it_is_allowed(host: str, word: str) -> None:
    assert f"a {word}" in private_host(place(host=host), allow_private=False)
    assert private_host(place(host=host), allow_private=True) == ""


def test_every_host_counts_and_one_that_leads_nowhere_is_the_channel_s_own_to_tell() -> None:
    told = private_host(place(host="8.8.8.8", fallback="127.0.0.1"), allow_private=False)
    assert told == LOOPBACK
    assert private_host(place(host="8.8.8.8"), allow_private=False) == ""
    assert private_host(place(host="nowhere.invalid"), allow_private=False) == ""
    assert private_host(place(host=f"{'x' * 70}.example"), allow_private=False) == ""


def test_it_is_not_opened_and_parks_with_the_sentence_until_the_setting_allows_it(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        Tape.kept.clear()
        rig = Rig(tmp_path)
        rig.kinds["place"] = Place
        rig.snapshot = snapshot(1, destination(kind="place"))
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(1)
        saved = rig.saved()
        assert (saved.state, saved.reason, Tape.kept) == ("parked", LOOPBACK, [])
        allowed = destination(kind="place", settings={"allow_private_addresses": True})
        rig.snapshot = snapshot(2, allowed)
        await rig.run_for(10)
        assert (rig.ledger(), Tape.kept) == ({"delivered": 1}, ["m0"])
        await rig.stop()

    run(story)


def test_the_forwarder_s_setting_allows_it_for_all(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, allow_private_addresses=True)
        rig.kinds["place"] = Place
        rig.snapshot = snapshot(1, destination(kind="place"))
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(1)
        assert rig.ledger() == {"delivered": 1}
        await rig.stop()

    run(story)


def test_a_channel_that_is_open_is_not_asked_again() -> None:
    async def story() -> None:
        carrier = ChannelCarrier(place(host="8.8.8.8"), InlineWorker("c"), FakeClock(), False)
        made = Attempt(0, 1, f"{APP}/d", "k")
        for number in range(2):
            sent = map_event({"messageId": f"m{number}", "type": "track", "app": APP})
            assert (await carrier.carry([sent], made)).outcomes == [Delivered()]
        closed = ChannelCarrier(place(), InlineWorker("c"), FakeClock(), False)
        assert (await closed.carry([sent], made)).outcomes == [Blocked(LOOPBACK)]

    asyncio.run(story())


def test_the_connection_test_says_the_same() -> None:
    async def ask(channel: Place, *, allow_private: bool) -> tuple[bool, str]:
        report = await check_channel(channel, allow_private=allow_private)
        return report.ok, report.sentence

    assert asyncio.run(ask(place(), allow_private=False)) == (False, LOOPBACK)
    assert asyncio.run(ask(place(), allow_private=True))[0]
    assert asyncio.run(ask(place(allow_private_addresses=True), allow_private=False))[0]


@pytest.mark.parametrize(
    ("kind", "hosts"),
    [
        ("kafka", ["kafka-1", "kafka-2"]),
        ("postgres", ["db.example.com"]),
        ("rabbitmq", ["rabbitmq.example.com"]),
        ("redis", ["redis.example.com"]),
        ("nats", ["nats.example.com"]),
        ("s3", ["s3.example.com"]),
        ("file", []),
        ("stdout", []),
    ],
)
def test_every_channel_names_the_hosts_of_its_settings(kind: str, hosts: list[str]) -> None:
    found = destination_kinds()[kind]
    assert issubclass(found, Channel)
    settings: Any = msgspec.convert(found.examples[0].settings, found.settings_type)
    assert found(settings).hosts() == hosts
