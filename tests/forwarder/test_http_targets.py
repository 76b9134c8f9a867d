"""Where the HTTP sender connects to, and where it refuses to."""

from __future__ import annotations

import socket
import time

import pytest
import uvloop

from tests.support.raw_server import Connection, serve, serve_http
from tests.support.sending import (
    HOST,
    failing,
    failure,
    names,
    request,
    send,
)
from trunkline.forwarder.http import HttpSender, SendFailed
from trunkline.forwarder.http_pool import CONNECT_SECONDS_MAX
from trunkline.forwarder.resolver import ANSWER_SECONDS
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.model.outcome import Blocked, Rejected, Retry


async def _reset(connection: Connection) -> None:
    await connection.read_request()
    connection.reset()


def test_a_closed_port_is_a_retry() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        failed = failure(f"http://{HOST}:{taken.getsockname()[1]}/")
    assert failed.outcome == Retry("connection refused")


def test_a_url_full_of_misleading_words_changes_no_cause() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        failed = failure(f"http://{HOST}:{port}/?invalid%20peer%20certificate=timed out,tls")
    assert failed.outcome == Retry("connection refused")


@pytest.mark.parametrize(
    ("code", "outcome_type"),
    [
        (socket.EAI_NONAME, Blocked),
        (socket.EAI_NODATA, Blocked),
        (socket.EAI_AGAIN, Retry),
        (socket.EAI_FAIL, Retry),
        (socket.EAI_SYSTEM, Retry),
        (socket.EAI_MEMORY, Retry),
    ],
)
def test_a_name_that_is_not_there_blocks_and_a_resolver_in_trouble_is_a_retry(
    code: int, outcome_type: type[Blocked | Retry]
) -> None:
    failed = failure(f"http://{HOST}/", lookup=failing(code))
    assert isinstance(failed.outcome, outcome_type)
    assert (HOST in str(failed.outcome)) == (outcome_type is Blocked)


def test_a_hanging_lookup_is_cut_at_the_timeout() -> None:
    def lookup(name: str) -> list[str]:
        time.sleep(1.5)
        return ["127.0.0.1"]

    begun = time.monotonic()
    assert failure(f"http://{HOST}/", lookup=lookup, timeout_seconds=0.2).outcome == Retry(
        "timeout"
    )
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.1",
        "0",
        "0.0.0.0",
        "１２７.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
    ],
)
def test_an_address_inside_is_refused_in_whatever_form_it_is_spelled(host: str) -> None:
    failed = failure(f"http://{host}:1/", allow_private=False)
    assert failed.cause == "forbidden address"
    assert isinstance(failed.outcome, Blocked)
    assert "allow_private_addresses" in failed.outcome.reason


def test_a_name_with_an_address_inside_is_refused_and_the_address_named() -> None:
    failed = failure(f"http://{HOST}/", lookup=names("10.1.2.3"), allow_private=False)
    assert isinstance(failed.outcome, Blocked)
    assert f"{HOST} is at 10.1.2.3, a private address" in failed.outcome.reason


def test_when_no_address_of_several_is_public_nothing_is_connected_to() -> None:
    async def story() -> int:
        async with serve_http() as server:
            lookup = names("127.0.0.1", "::1", "203.0.113.9")
            with pytest.raises(SendFailed) as caught:
                await send(f"http://{HOST}:{server.port}/", lookup=lookup, allow_private=False)
            assert caught.value.cause == "forbidden address"
            return server.connections

    assert uvloop.run(story()) == 0


def test_a_name_that_changes_its_mind_is_checked_again_before_it_is_connected_to() -> None:
    """DNS rebinding: a public answer first, then loopback."""

    async def story() -> None:
        clock, answers = FakeClock(), [["127.0.0.1"], ["10.0.0.5"]]
        async with serve_http() as server:
            sender = HttpSender(clock, lookup=lambda name: answers.pop(0))
            url = f"http://{HOST}:{server.port}/"
            await sender.send(request(url), timeout_seconds=5, allow_private=True)
            # Now without leave: the cached answer is judged anew for this destination…
            with pytest.raises(SendFailed, match=r"127\.0\.0\.1"):
                await sender.send(request(url), timeout_seconds=5, allow_private=False)
            # …and so is what the name says once the answer is too old.
            await clock.advance(ANSWER_SECONDS + 1)
            with pytest.raises(SendFailed, match=r"10\.0\.0\.5"):
                await sender.send(request(url), timeout_seconds=5, allow_private=False)
            await sender.close()
            assert server.connections == 1

    uvloop.run(story())


def test_the_node_wide_setting_lets_every_destination_inside() -> None:
    async def story() -> int:
        async with serve_http() as server:
            sender = HttpSender(SystemClock(), allow_private_addresses=True)
            url = f"http://127.0.0.1:{server.port}/"
            response = await sender.send(request(url), timeout_seconds=5, allow_private=False)
            await sender.close()
            return response.status

    assert uvloop.run(story()) == 200


def test_when_an_address_takes_no_connection_the_next_one_is_tried_and_remembered() -> None:
    async def story() -> None:
        async with serve_http() as server:
            sender = HttpSender(SystemClock(), lookup=names("127.0.0.2", "127.0.0.1"))
            url = f"http://{HOST}:{server.port}/"
            for _ in range(3):
                await sender.send(request(url), timeout_seconds=5, allow_private=True)
            assert len(server.requests) == 3
            assert sender._resolver.known(HOST) == ["127.0.0.1", "127.0.0.2"]  # pyright: ignore[reportPrivateUsage]
            await sender.close()

    uvloop.run(story())


def test_a_request_that_was_sent_is_never_sent_to_another_address_by_itself() -> None:
    async def story() -> int:
        async with serve(_reset) as server:
            with pytest.raises(SendFailed):
                url = f"http://{HOST}:{server.port}/"
                await send(url, lookup=names("127.0.0.1", "127.0.0.1"))
            return server.connections

    assert uvloop.run(story()) == 1


@pytest.mark.slow
def test_an_address_that_swallows_connections_leaves_time_for_the_next() -> None:
    async def story() -> float:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.2", 0))
            deaf.listen(0)
            port = deaf.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.2", port))
            begun = time.monotonic()
            with pytest.raises(SendFailed) as caught:
                # Nobody listens at 127.0.0.1 with this port: refused is the *second* address.
                url = f"http://{HOST}:{port}/"
                await send(url, lookup=names("127.0.0.2", "127.0.0.1"), timeout_seconds=10)
            for filler in fillers:
                filler.close()
            assert caught.value.outcome == Retry("connection refused")
            return time.monotonic() - begun

    assert uvloop.run(story()) == pytest.approx(CONNECT_SECONDS_MAX, abs=1.5)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no url",
        "ftp://hook.example/",
        "file:///etc/passwd",
        "http://",
        "http://hook.example:99999/",
        "http://1.2.3.4.5/",
        "http://[::1/",
        "http://user:hunter2@hook.example/",
    ],
)
def test_an_invalid_url_blocks_with_a_sentence_and_shows_no_password(url: str) -> None:
    failed = failure(url)
    assert failed.cause == "invalid URL"
    assert isinstance(failed.outcome, Blocked)
    assert "hunter2" not in repr(failed) + str(failed.outcome)


def test_a_url_that_an_event_made_too_long_is_the_fault_of_that_event() -> None:
    failed = failure(f"http://{HOST}/?{'x' * 40_000}")
    assert isinstance(failed.outcome, Rejected)


def test_a_name_spelled_with_its_root_dot_is_pinned_too() -> None:
    async def story() -> int:
        async with serve_http() as server:
            return (await send(f"http://{HOST}.:{server.port}/")).status

    assert uvloop.run(story()) == 200
