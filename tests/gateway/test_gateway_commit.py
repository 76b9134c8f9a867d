"""Group commit on a real server, and a stop that answers what was accepted."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.support.gateway_rig import (
    Client,
    ListAppender,
    LogFailure,
    PlainProtocol,
    Rig,
    running_gateway,
)
from trunkline.gateway.addresses import Callers
from trunkline.gateway.committer import Committer
from trunkline.gateway.refusals import Refusals
from trunkline.gateway.routes import RouteTable
from trunkline.kit.addresses import ListenError, check_listen
from trunkline.kit.clock import SystemClock
from trunkline.kit.eventlog import Record
from trunkline.kit.settings import GatewaySettings
from trunkline.model.record import AcceptedRefusal
from trunkline.telemetry.gateway import Tally

EVENT = b'{"users":["1"]}'


def hold_up(rig: Rig, requests: int) -> list[Client]:
    """Hold one append up, and gather this many requests behind it."""
    rig.appender.gate.clear()
    rig.appender.entered.clear()
    first = rig.client().post("/events/wallet", EVENT)
    assert rig.appender.entered.wait(5)
    rest = [rig.client().post("/events/wallet", EVENT) for _ in range(requests)]
    rig.until(lambda: rig.gateway.inflight.requests == requests + 1, "all came")
    # Nothing is answered while its append runs.
    first.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        first.reply()
    first.socket.settimeout(10)
    return [first, *rest]


def test_what_gathers_during_an_append_goes_in_as_one() -> None:
    with running_gateway() as rig:
        clients = hold_up(rig, 40)
        rig.appender.gate.set()
        assert [c.reply().status for c in clients] == [200] * 41
        assert [len(records) for records in rig.appender.appends] == [1, 40]
        stamps = [record.stamp for records in rig.appender.appends for record in records]
        assert stamps == sorted(stamps)


def test_a_failed_append_is_503_for_its_whole_group_only() -> None:
    with running_gateway() as rig:
        clients = hold_up(rig, 5)
        rig.appender.failure = LogFailure("broken")
        rig.appender.gate.set()
        assert [c.reply().status for c in clients] == [503] * 6
        rig.appender.failure = None
        assert rig.post("/events/wallet", EVENT).status == 200
        assert rig.appender.stored == 1


def test_an_append_takes_at_most_its_share_of_bytes() -> None:
    with running_gateway() as rig:
        rig.appender.gate.clear()
        rig.appender.entered.clear()
        clients = [rig.client().post("/events/wallet", EVENT)]
        assert rig.appender.entered.wait(5)
        # 30,000 events of one request each about 100 bytes: more than one append's 10,000 records.
        users = b'{"users":[' + b",".join(b'"%d"' % n for n in range(6_000)) + b"]}"
        clients += [rig.client().post("/big", users) for _ in range(3)]
        rig.until(lambda: rig.gateway.inflight.requests == 4, "all came")
        rig.appender.gate.set()
        assert [c.reply().status for c in clients] == [200] * 4
        assert [len(records) for records in rig.appender.appends] == [1, 6000, 6000, 6000]


def test_a_stop_answers_what_was_accepted_and_takes_no_more() -> None:
    with running_gateway() as rig:
        idle = rig.client().post("/events/wallet", EVENT)
        assert idle.reply().status == 200
        clients = hold_up(rig, 3)
        rig.stop()
        assert idle.is_closed()
        with pytest.raises(ConnectionRefusedError):
            rig.client()
        rig.appender.gate.set()
        assert [c.reply().status for c in clients] == [200] * 4
        rig.join()
        assert rig.appender.stored == 5


def test_a_stop_stores_the_refusals_that_wait() -> None:
    with running_gateway() as rig:
        rig.appender.gate.clear()
        assert rig.post("/events/wallet", b'{"refuse":70}').status == 400
        rig.stop()
        rig.appender.gate.set()
        rig.join()
        refusals = [r for r in rig.appender.decoded() if isinstance(r, AcceptedRefusal)]
        counts = [refusal.count for refusal in refusals]
        assert sorted(counts) == [1] * 50 + [20]


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_body_that_does_not_come() -> None:
    with running_gateway() as rig:
        client = rig.client().head("POST", "/events/wallet", "Content-Length: 10")
        rig.until(lambda: rig.gateway.bodies_being_read == 1, "the body is being read")
        rig.stop()
        assert client.reply().status == 408
        rig.join(10)


@pytest.mark.slow
def test_a_stop_ends_in_time_although_the_log_hangs() -> None:
    with running_gateway() as rig:
        hold_up(rig, 1)
        rig.stop()
        rig.join(10)


def test_two_protocols_cannot_claim_one_path() -> None:
    with pytest.raises(ValueError, match="both claim POST /events"):
        RouteTable([PlainProtocol(), PlainProtocol()])


def test_a_port_in_use_is_refused_with_its_name() -> None:
    with running_gateway() as rig, pytest.raises(ListenError, match=f":{rig.port} cannot"):
        check_listen("127.0.0.1", rig.port)
    with pytest.raises(ListenError, match=r"192\.0\.2\.1"):
        check_listen("192.0.2.1", 0)
    check_listen("127.0.0.1", 0)


def test_trusted_proxies_that_are_no_addresses_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gateway\.trusted_proxies: .*proxy\.local"):
        Callers(GatewaySettings(trusted_proxies=("proxy.local",)).trusted_proxies)


def test_each_is_told_once_the_append_returned_and_a_failing_one_keeps_nobody_waiting() -> None:
    told: list[tuple[str, LogFailure | None]] = []

    def fail(failure: LogFailure | None) -> None:
        raise RuntimeError("this answer cannot be sent")

    async def story() -> None:
        appender, stamps = ListAppender(), itertools.count()
        refusals = Refusals(lambda: next(stamps), Tally())
        committer = Committer(appender, refusals, SystemClock())
        record = Record(b"key", b"value", 1)

        def gather(name: str) -> asyncio.Event:
            done = asyncio.Event()

            def tell(failure: LogFailure | None) -> None:
                told.append((name, failure))
                done.set()

            assert committer.gather([record], 5, tell)
            return done

        appender.gate.clear()
        assert committer.gather([record], 5, fail)
        good = gather("good")
        await asyncio.sleep(0.02)
        assert not told
        appender.gate.set()
        await asyncio.wait_for(good.wait(), 30)
        assert told == [("good", None)]
        appender.failure = LogFailure("broken")
        await asyncio.wait_for(gather("refused").wait(), 30)
        assert told[1:] == [("refused", appender.failure)]
        await committer.close()
        assert not committer.gather([record], 5, fail)

    asyncio.run(story())
