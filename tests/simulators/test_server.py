"""The simulators' server, over real sockets: what it reads, how it breaks off, what it tells."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.simulated_vendor import NOW_MS, SimulatedVendor, simulated
from trunkline.simulators.simulator import Ask, Reply, Simulator

SECONDS = 30.0


class Echo(Simulator):
    """Takes what it is sent, and says how it came; `/crash` fails, `/token` is for tokens."""

    vendor = "echo"
    title = "Echo"
    docs = "https://example.com"
    credentials = {"token": "t"}
    token_paths = frozenset({"/token"})

    def answer(self, ask: Ask) -> Reply:
        if ask.path == "/crash":
            raise KeyError("no such thing")
        if ask.path == "/empty":
            return Reply(204)
        if ask.path == "/strange":
            self.complain("strange", "path", "it is")
        self.take(ask.first("id"), ask.method, ask.body.decode())
        told = {"query": ask.query, "length": len(ask.body), "now": ask.now_ms}
        return Reply(200, told, {"X-Seen": "1"})


@pytest.fixture
def vendor() -> Iterator[SimulatedVendor]:
    with simulated(Echo()) as running:
        yield running


@pytest.fixture
def connection(vendor: SimulatedVendor) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", port_of(vendor), timeout=SECONDS)
    yield made
    made.close()


def finished(connection: http.client.HTTPConnection) -> int:
    """Read the answer to its end, and return its status."""
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


def port_of(vendor: SimulatedVendor) -> int:
    return int(vendor.url.rpartition(":")[2])


def control(vendor: SimulatedVendor, path: str = "", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    url = f"{vendor.url}/_simulator{path}"
    with urllib.request.urlopen(url, data, timeout=SECONDS) as answer:
        return json.load(answer)


def raw(vendor: SimulatedVendor, data: bytes) -> bytes:
    """Send bytes and return all that comes until the end."""
    with socket.create_connection(("127.0.0.1", port_of(vendor)), SECONDS) as connection:
        connection.sendall(data)
        found = b""
        while part := connection.recv(65_536):
            found += part
        return found


def test_requests_of_one_connection_are_answered_one_after_the_other(
    vendor: SimulatedVendor,
    connection: http.client.HTTPConnection,
) -> None:
    for number in range(3):
        connection.request("POST", f"/a%20b?id={number}&x=1&x=2", b"body")
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert (answer.status, answer.headers["X-Seen"]) == (200, "1")
        assert told == {"query": {"id": [str(number)], "x": ["1", "2"]}, "length": 4, "now": NOW_MS}
    assert [seen.path for seen in vendor.seen] == ["/a b"] * 3
    assert [one.id for one in vendor.simulator.taken] == ["0", "1", "2"]


def test_a_body_may_be_packed_and_may_come_in_chunks(
    vendor: SimulatedVendor, connection: http.client.HTTPConnection
) -> None:
    connection.request("POST", "/", gzip.compress(b"a" * 1000), {"Content-Encoding": "gzip"})
    assert json.loads(connection.getresponse().read())["length"] == 1000
    connection.request("PUT", "/", iter([b"abc", b"", b"defg"]), encode_chunked=True)
    assert json.loads(connection.getresponse().read())["length"] == 7
    connection.request("GET", "/empty")
    answer = connection.getresponse()
    assert (answer.status, answer.read(), answer.headers["Content-Length"]) == (204, b"", None)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 20000001\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (
            b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
            b"400",
        ),
    ],
)
def test_what_is_no_request_is_told_and_complained_of(
    vendor: SimulatedVendor, data: bytes, status: bytes
) -> None:
    assert raw(vendor, data).split(b" ")[1] == status
    assert [complaint.rule for complaint in vendor.simulator.complaints] == ["http"]


def test_a_gzip_body_does_not_grow_beyond_the_limit(
    vendor: SimulatedVendor, connection: http.client.HTTPConnection
) -> None:
    bomb = gzip.compress(bytes(25_000_000))
    connection.request("POST", "/", bomb, {"Content-Encoding": "gzip"})
    assert finished(connection) == 413


def test_a_reset_comes_after_the_event_was_taken(
    vendor: SimulatedVendor, connection: http.client.HTTPConnection
) -> None:
    vendor.let_fail("reset")
    connection.request("POST", "/", b"body")
    with pytest.raises(ConnectionResetError):
        connection.getresponse()
    assert len(vendor.simulator.taken) == 1


def test_a_cut_answer_ends_in_its_middle(vendor: SimulatedVendor) -> None:
    vendor.let_fail("cut")
    whole = raw(vendor, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    vendor.let_fail("good")
    assert whole.startswith(b"HTTP/1.1 200 OK\r\n")
    assert 0 < len(whole) < len(raw(vendor, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"))


def test_a_server_that_hangs_has_taken_the_event_and_says_nothing(
    vendor: SimulatedVendor, connection: http.client.HTTPConnection
) -> None:
    vendor.let_fail("hang")
    connection.timeout = 0.5
    connection.request("POST", "/", b"body")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    assert len(vendor.simulator.taken) == 1


def test_an_answer_that_drips_begins_and_is_far_from_its_end(vendor: SimulatedVendor) -> None:
    vendor.let_fail("drip")
    with socket.create_connection(("127.0.0.1", port_of(vendor)), SECONDS) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert 0 < len(connection.recv(65_536)) < 40  # ten seconds of drops
    assert len(vendor.simulator.taken) == 1


def test_a_token_uses_up_no_fault(
    vendor: SimulatedVendor, connection: http.client.HTTPConnection
) -> None:
    vendor.let_fail("unavailable")
    found: list[int] = []
    for path in ("/token", "/token", "/events", "/events"):
        connection.request("POST", path)
        found.append(finished(connection))
    assert found == [200, 200, 503, 200]


def test_a_simulator_that_fails_says_so(
    vendor: SimulatedVendor, connection: http.client.HTTPConnection
) -> None:
    connection.request("GET", "/crash")
    assert finished(connection) == 500
    assert vendor.simulator.complaints[0].rule == "simulator"
    assert "KeyError" in vendor.simulator.complaints[0].message


def test_what_came_is_told_to_programs_and_forgotten_on_demand(
    vendor: SimulatedVendor, connection: http.client.HTTPConnection
) -> None:
    for path in ("/strange?id=1", "/?id=2"):
        connection.request("POST", path, b"x")
        connection.getresponse().read()
    told = control(vendor)
    assert (told["vendor"], told["requests"], told["taken"]) == ("echo", 2, 2)
    assert [one["rule"] for one in told["complaints"]] == ["strange"]
    assert [one["id"] for one in control(vendor, "/taken?last=1")] == ["2"]
    assert control(vendor, "/faults", {"script": "throttled*3"}) == {"steps": 3}
    assert control(vendor, "/reset", {})["taken"] == 0
    connection.request("POST", "/")
    assert finished(connection) == 200  # the script ended with the reset
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(vendor, "/faults", {"script": "nonsense"})
    with refused.value:
        assert refused.value.code == 400
