"""TLS: what is not trusted blocks, and a pinned address is still judged by the name."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import uvloop

from tests.support.certificates import self_signed
from tests.support.raw_server import Connection, serve, serve_http
from trunkline.forwarder.http import HttpSender, SendFailed
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Request
from trunkline.model.outcome import Blocked, Retry

HOST = "hook.example"


async def send(port: int, trusted_pem: bytes | None) -> int:
    sender = HttpSender(SystemClock(), lookup=lambda name: ["127.0.0.1"], trusted_pem=trusted_pem)
    try:
        request = Request("POST", f"https://{HOST}:{port}/", (), b"{}")
        return (await sender.send(request, timeout_seconds=5, allow_private=True)).status
    finally:
        await sender.close()


def test_a_certificate_that_is_trusted_and_names_the_host_is_taken(tmp_path: Path) -> None:
    async def story() -> int:
        tls, pem = self_signed(tmp_path, HOST)
        async with serve_http(204, tls=tls) as server:
            return await send(server.port, pem)

    assert uvloop.run(story()) == 204


@pytest.mark.parametrize(
    ("host", "days_left", "is_trusted", "why"),
    [
        (HOST, 1.0, False, "self-signed certificate"),
        ("other.example", 1.0, True, "not valid for 'hook.example'"),
        (HOST, -1.0, True, "expired"),
    ],
)
def test_a_certificate_that_does_not_hold_blocks_and_nothing_is_sent(
    tmp_path: Path, host: str, days_left: float, is_trusted: bool, why: str
) -> None:
    async def story() -> SendFailed:
        tls, pem = self_signed(tmp_path, host, days_left=days_left)
        async with serve_http(tls=tls) as server:
            with pytest.raises(SendFailed) as caught:
                await send(server.port, pem if is_trusted else None)
            assert server.requests == []
            return caught.value

    failed = uvloop.run(story())
    assert failed.cause == "TLS certificate"
    assert isinstance(failed.outcome, Blocked)
    assert HOST in failed.outcome.reason
    assert why in failed.outcome.reason


def test_a_receiver_that_speaks_no_tls_is_a_retry() -> None:
    async def handle(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def story() -> SendFailed:
        async with serve(handle) as server:
            with pytest.raises(SendFailed) as caught:
                await send(server.port, None)
            return caught.value

    assert uvloop.run(story()).outcome == Retry("TLS handshake failed")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_certificate_may_name_an_address(tmp_path: Path, address: str) -> None:
    if ":" in address and not _has_ipv6():
        pytest.skip("this machine has no IPv6, not even on loopback")

    async def story() -> int:
        tls, pem = self_signed(tmp_path, address)
        async with serve(_answer, tls=tls, host=address) as server:
            sender = HttpSender(SystemClock(), trusted_pem=pem)
            host = f"[{address}]" if ":" in address else address
            request = Request("POST", f"https://{host}:{server.port}/", (), b"{}")
            answer = await sender.send(request, timeout_seconds=5, allow_private=True)
            await sender.close()
            return answer.status

    assert uvloop.run(story()) == 204


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def _answer(connection: Connection) -> None:
    await connection.read_request()
    await connection.answer(204)
