"""Files larger than memory: on disk, whole and held, when the desk is asked, or not there."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import resource
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.gateway_rig import Client, PlainProtocol, Rig, running_gateway
from trunkline.gateway import spool
from trunkline.gateway.spool import Spool
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.kit.desk import Desk, ImportOrdered, Inquiry, Question, Reply
from trunkline.kit.import_terms import ImportTerms
from trunkline.kit.protocol import Answer, Decoded, Request, Route
from trunkline.kit.settings import GatewaySettings
from trunkline.model.snapshot import Snapshot
from trunkline.state.spool import SpoolFile, sweep

BYTES_MAX = 4_194_304
TERMS = ImportTerms("ndjson", True, {}, {})


class FilesProtocol(PlainProtocol):
    """Takes a file at `/files`, unless a header says no."""

    name = "files"
    routes = (
        *PlainProtocol.routes,
        Route("POST", "/files", 0, 0, is_spooled=True),
    )

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        if not request.route.is_spooled:
            return super().decode(request, snapshot)
        self.requests.append(request)
        if "x-no" in request.headers:
            return Decoded(self._say(403, code="no"))
        order = ImportOrdered(app="wallet", key="k", terms=TERMS)
        answer = Answer(503, b"")
        return Decoded(answer, inquiry=Inquiry(order, lambda reply: Answer(202, reply.value)))


class KeepingDesk(Desk):
    """Remembers what it was asked, and what the file was then. `gate` holds it up."""

    def __init__(self) -> None:
        self.orders: list[ImportOrdered] = []
        self.held: list[bool] = []
        self.is_broken = False

    async def answer(self, question: Question) -> Reply:
        assert isinstance(question, ImportOrdered) and question.file is not None
        if self.is_broken:
            raise OSError("the books cannot be written")
        self.orders.append(question)
        self.held.append(not sweep(question.file.parent, tuple))
        told: dict[str, Any] = {"bytes": question.file.stat().st_size, "sha": question.digest}
        return Reply("taken", msgspec.json.encode(told))


class Stage:
    """A gateway that takes files into a folder, and the desk that is asked."""

    def __init__(self, rig: Rig, folder: Path, desk: KeepingDesk) -> None:
        self.rig = rig
        self.folder = folder
        self.desk = desk

    def names(self) -> list[str]:
        return sorted(path.suffix for path in self.folder.glob("*"))

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*.part"))

    def begin(self, size: int, *headers: str) -> Client:
        """Begin an upload of so many bytes, and wait until it is being received."""
        client = self.rig.client().head("POST", "/files", f"Content-Length: {size}", *headers)
        self.rig.until(lambda: self.rig.gateway.bodies_being_read > 0, "it is being received")
        return client

    def until_nothing_is_left(self) -> None:
        self.rig.until(lambda: self.rig.gateway.inflight.requests == 0, "the request ended")
        assert self.names() == [] and self.desk.orders == []


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stage(tmp_path: Path, clock: FakeClock) -> Iterator[Stage]:
    folder, desk = tmp_path / "home" / "imports", KeepingDesk()
    with running_gateway(
        settings=GatewaySettings(import_bytes_max=BYTES_MAX),
        clock=clock,
        protocols=[FilesProtocol()],
        desk=desk,
        spool_folder=folder,
    ) as rig:
        yield Stage(rig, folder, desk)


def chunks_of(data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_file_lies_whole_and_held_when_the_desk_is_asked(stage: Stage, is_chunked: bool) -> None:
    data = random.Random(1).randbytes(3_000_001)
    if is_chunked:
        client = stage.rig.client().head("POST", "/files", "Transfer-Encoding: chunked")
        reply = client.send(chunks_of(data, 70_001)).reply()
    else:
        reply = stage.rig.post("/files", data)
    assert reply.status == 202
    assert reply.json == {"bytes": len(data), "sha": hashlib.sha256(data).hexdigest()}
    (order,) = stage.desk.orders
    assert order.file is not None and order.file.read_bytes() == data
    assert stage.desk.held == [True]
    stage.rig.until(lambda: stage.rig.gateway.inflight.requests == 0, "the request ended")
    assert sweep(stage.folder, lambda: [order.file.name if order.file else ""]) == 0
    assert sweep(stage.folder, tuple) == 1  # held no more: only the books keep it


@pytest.mark.slow
def test_the_key_is_judged_before_the_body_is_read(stage: Stage) -> None:
    client = stage.rig.client().head(
        "POST", "/files", "Content-Length: 1000000", "X-No: 1", "Expect: 100-continue"
    )
    assert client.reply().status == 403  # and no "100 Continue" came before it
    (request,) = stage.rig.protocol.requests
    assert request.body == b""
    stage.until_nothing_is_left()


def test_who_is_refused_and_sends_all_the_same_gets_to_read_it(stage: Stage) -> None:
    client = stage.rig.client()
    client.post("/files", b"x" * 500_000, "X-No: 1")
    assert client.reply().status == 403
    assert client.post("/events/wallet", b'{"users":["1"]}').reply().status == 200


def test_a_file_over_the_limit_is_refused_at_once_or_while_it_streams(stage: Stage) -> None:
    client = stage.rig.client().head("POST", "/files", f"Content-Length: {BYTES_MAX + 1}")
    reply = client.reply()
    assert (reply.status, reply.json["code"]) == (413, "payload_too_large")
    assert f"{BYTES_MAX:,} bytes" in reply.json["message"]
    client.close()
    client = stage.rig.client().head("POST", "/files", "Transfer-Encoding: chunked")
    reply = client.send(chunks_of(b"x" * (BYTES_MAX + 1), 1_000_000)).reply()
    assert reply.status == 413
    client.close()
    stage.until_nothing_is_left()


def test_a_body_that_breaks_off_leaves_nothing(stage: Stage) -> None:
    client = stage.begin(3_000_000).send(b"x" * 2_500_000)
    stage.rig.until(lambda: stage.names() == [".part"], "the file grows")
    client.close()
    stage.until_nothing_is_left()
    client = stage.rig.client().head("POST", "/files", "Transfer-Encoding: chunked")
    client.send(chunks_of(b"x" * 2_500_000, 100_000)[:-5])
    stage.rig.until(lambda: stage.names() == [".part"], "the file grows")
    client.close()
    stage.until_nothing_is_left()


def test_a_body_that_goes_on_slowly_is_received(stage: Stage) -> None:
    piece, count = b"x" * 1_048_576, 3
    client = stage.begin(len(piece) * count + 1)
    for number in range(count):
        client.send(piece)
        stage.rig.until(lambda number=number: stage.size() > number * len(piece), "it goes on")
        stage.rig.advance(spool.STALL_SECONDS * 0.7)
    assert client.send(b"x").reply().status == 202


def test_a_body_that_stalls_is_408_and_leaves_nothing(stage: Stage) -> None:
    client = stage.begin(300).send(b"x" * 75)
    stage.rig.advance(spool.STALL_SECONDS - 2)
    assert stage.rig.gateway.bodies_being_read == 1
    stage.rig.advance(4)

    def is_over() -> bool:
        stage.rig.advance(spool.STALL_SECONDS)  # the bytes may have been read a moment ago
        return stage.rig.gateway.bodies_being_read == 0

    stage.rig.until(is_over, "it is cut")
    reply = client.reply()
    assert (reply.status, reply.json["code"]) == (408, "timeout")
    assert client.is_closed()
    stage.until_nothing_is_left()


def test_only_so_many_are_received_at_a_time(stage: Stage) -> None:
    begun: list[Client] = []
    for count in range(spool.UPLOADS_MAX):
        begun.append(stage.begin(100))
        stage.rig.until(
            lambda count=count: stage.rig.gateway.bodies_being_read == count + 1, "one more"
        )
    reply = stage.rig.post("/files", b"x" * 100)
    assert (reply.status, reply.json["code"]) == (503, "overloaded")
    assert reply.headers["retry-after"] == "30"
    # Events do not stand behind files.
    assert stage.rig.post("/events/wallet", b'{"users":["1"]}').status == 200
    assert [client.send(b"x" * 100).reply().status for client in begun] == [202] * len(begun)


def test_a_stop_ends_what_still_arrives(stage: Stage) -> None:
    client = stage.begin(100).send(b"x" * 10)
    stage.rig.until(lambda: stage.names() == [".part"], "it began")
    stage.rig._loop.call_soon_threadsafe(stage.rig.gateway.cut_bodies)
    reply = client.reply()
    assert (reply.status, reply.json["code"]) == (503, "unavailable")
    client.close()
    stage.until_nothing_is_left()


def test_books_that_cannot_be_written_are_503_and_the_file_is_swept(stage: Stage) -> None:
    stage.desk.is_broken = True
    assert stage.rig.post("/files", b"x" * 100).status == 503
    stage.rig.until(lambda: stage.rig.gateway.inflight.requests == 0, "the request ended")
    assert stage.names() == [".spool"]
    assert sweep(stage.folder, tuple) == 1 and stage.names() == []


def test_without_a_folder_files_are_refused() -> None:
    with running_gateway(protocols=[FilesProtocol()]) as rig:
        assert rig.post("/files", b"x").status == 503


# The spool by itself.


class PiecesWire:
    """A body that never ends, of pieces of 64 KiB."""

    def __init__(self) -> None:
        self.sent = 0

    def __aiter__(self) -> PiecesWire:
        return self

    async def __anext__(self) -> bytes:
        self.sent += 65_536
        return b"x" * 65_536


class PiecesExchange:
    """As much of an exchange as a spool looks at."""

    def __init__(self, **headers: str) -> None:
        self.headers = headers
        self.proto = PiecesWire()


def receive(folder: Path, free_bytes_min: int, **headers: str) -> tuple[Any, int]:
    async def story() -> tuple[Any, int]:
        exchange: Any = PiecesExchange(**headers)
        kept = Spool(folder, 2**40, SystemClock(), free_bytes_min)
        try:
            return await kept.receive(exchange), exchange.proto.sent
        finally:
            kept.close()

    return asyncio.run(story())


def test_a_file_that_finds_no_room_is_507_and_gone(tmp_path: Path) -> None:
    """It ends where the room for events begins, long before the disk is full."""
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    failure, sent = receive(tmp_path, free - 10 * 1_048_576)
    assert (failure.status, failure.code) == (507, "unavailable")
    assert 1_048_576 < sent < 2**31
    assert not list(tmp_path.iterdir())
    declared, sent = receive(tmp_path, 0, **{"content-length": str(free + 2**30)})
    assert (declared.status, sent) == (507, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own can be mounted by root alone")
def test_a_disk_that_is_full_is_507_and_leaves_nothing(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        failure, _ = receive(tmp_path, -(2**30))  # nothing but the disk itself says no
        assert failure.status == 507
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True, capture_output=True)


def test_what_is_held_or_wanted_is_not_swept(tmp_path: Path) -> None:
    held = SpoolFile(tmp_path)
    held.write(b"1")
    sealed = SpoolFile(tmp_path)
    sealed.seal()
    sealed.close()
    assert sweep(tmp_path, lambda: [sealed.path.name]) == 0
    assert sweep(tmp_path, tuple) == 1
    assert not sealed.path.exists() and held.path.exists()
    held.close()  # as the kernel does for a process that was killed
    assert sweep(tmp_path, tuple) == 1 and not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file of 200 MB while the address space may grow by far less would not be received."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def story() -> Any:
        exchange: Any = PiecesExchange()
        kept = Spool(tmp_path, 200_000_000, SystemClock(), 0)
        try:
            return await kept.receive(exchange)
        finally:
            kept.close()

    failure = asyncio.run(story())
    assert failure.status == 413 and threading.active_count() < 50
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB
