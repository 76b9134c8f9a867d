"""Files of history over HTTP, on a whole node: streamed in, killed in the middle, each row once."""

from __future__ import annotations

import http.client
import json
import random
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.support.bulk_stage import LONG_AGO, track
from tests.support.whole_node import APP, KEY, Reply, WholeNode, workspace
from trunkline.bulk.importing import PARTITION
from trunkline.kit.settings import load_boot
from trunkline.model.record import ACCEPTED, EVENTS, StoredEvent, decode_stored
from trunkline.node import open_log

ROWS = 200_000
BAD = 3  # lines that are none
PACE_SECONDS = 240.0  # for 200,000 rows on a busy machine
GROWTH_MB_MAX = 60.0
HEADERS = {"X-Application-Id": APP, "X-API-Key": KEY}
GZIP = {**HEADERS, "Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
LINES = {**HEADERS, "Content-Type": "application/x-ndjson"}
CSV = {**HEADERS, "Content-Type": "text/csv"}


def packed(rows: int, padding: int = 0) -> Iterator[bytes]:
    """Yield a gzip file of so many lines, piece by piece: nothing holds all of it."""
    dice, machine = random.Random(7), zlib.compressobj(1, wbits=31)
    bad = {rows // 4 * (n + 1) for n in range(BAD)}
    for number in range(rows):
        if number in bad:
            yield machine.compress(b"no event\n")
        event = track(number, context={"padding": dice.randbytes(padding).hex()})
        yield machine.compress(json.dumps(event).encode() + b"\n")
    yield machine.flush()


def pieces(rows: int, padding: int = 0) -> Iterator[bytes]:
    """Yield the same in pieces of some 64 KiB."""
    gathered = bytearray()
    for piece in packed(rows, padding):
        gathered += piece
        if len(gathered) >= 65_536:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


class Stage(WholeNode):
    """A node without destinations: what is in EVENTS is looked at."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home")
        self.apply(workspace())

    def upload(self, query: str, headers: dict[str, str], body: Iterator[bytes]) -> Reply:
        """Stream a file, chunked."""
        connection = http.client.HTTPConnection("127.0.0.1", self.node.ingest_port, timeout=120)
        with closing(connection):
            connection.request("POST", f"/v1/bulk?{query}", body, headers, encode_chunked=True)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())

    def taken(self, query: str, headers: dict[str, str], body: Iterator[bytes]) -> str:
        reply = self.upload(query, headers, body)
        assert reply.status == 202, reply
        found: str = reply.json["id"]
        return found

    def told(self, job: str = "") -> dict[str, Any]:
        reply = self.request("GET", f"/v1/bulk/{job}", headers=HEADERS)
        assert reply.status == 200, reply
        value: dict[str, Any] = reply.json
        if job:  # at any moment, whatever was killed
            assert value["lines"] == value["stored"] + value["duplicate"] + value["rejected"]
            assert value["judged"] == (value["state"] == "done")
        return value

    def until_done(self, job: str, seconds: float) -> dict[str, Any]:
        """Wait until an import is through and its duplicates are counted."""

        def is_done() -> bool:
            told = self.told(job)
            assert told["state"] != "failed", told
            return told["state"] == "done"

        self.until(is_done, f"{job} is through", seconds)
        self.until(self.is_taken_up, "all of it is in EVENTS", seconds)
        return self.told(job)

    def stored(self) -> Iterator[StoredEvent]:
        """Yield what lies in EVENTS."""
        boot = load_boot(self.home.settings_file, {}, {})
        with closing(open_log(self.home, boot, self.clock)) as log:
            reader = log.reader(EVENTS, "look", {})
            with closing(reader):
                while records := reader.read(1000):
                    yield from (decode_stored(each.record.value) for each in records)

    def appended(self) -> int:
        boot = load_boot(self.home.settings_file, {}, {})
        with closing(open_log(self.home, boot, self.clock)) as log:
            return log.ends(ACCEPTED).get(PARTITION, 0)

    def spooled(self) -> list[str]:
        folder = self.home.imports_folder
        return [path.name for path in folder.glob("*") if path.suffix != ".ndjson"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def begin_and_stall(stage: Stage) -> http.client.HTTPConnection:
    """Send the first half of a file and no more."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.node.ingest_port, timeout=60)
    connection.putrequest("POST", "/v1/bulk?kind=events")
    for name, value in {**GZIP, "Transfer-Encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    for piece in islice(pieces(20_000, 100), 30):
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    return connection


class Living:
    """Events that flow while files come in, from a thread; those with a yes are remembered."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent: list[str] = []

    def __enter__(self) -> Living:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._halt.wait(0.05):
            number += 1
            try:
                self.sent.append(self._stage.track(event="Live", messageId=f"live-{number}"))
            except (OSError, http.client.HTTPException):
                continue  # killed just then; it may be stored all the same


@pytest.mark.timeout(600)
def test_a_large_file_comes_in_while_events_flow_through_kills(stage: Stage) -> None:
    stage.node.start()
    with Living(stage) as living:
        # Killed during the upload: nothing of it is left.
        with closing(begin_and_stall(stage)):
            stage.until(lambda: stage.spooled(), "the file is being received")
            stage.node.kill()
        stage.node.start()
        stage.until(lambda: not stage.spooled(), "what the kill left is swept")
        assert stage.told()["imports"] == []
        # Killed in the middle of the import: each row is stored once.
        job = stage.taken("kind=events", GZIP, pieces(ROWS))
        for share in (0.2, 0.6):
            stage.until(
                lambda share=share: stage.told(job)["share"] >= share, "it goes on", PACE_SECONDS
            )
            stage.node.kill()
            stage.node.start()
        told = stage.until_done(job, PACE_SECONDS)
    assert (told["lines"], told["stored"], told["rejected"]) == (ROWS + BAD, ROWS, BAD)
    assert told["duplicate"] == 0  # so not even a second copy was appended
    assert stage.appended() == ROWS
    check_stored(stage, job, living)
    assert stage.spooled() == []
    # The same file again is the same import.
    assert stage.taken("kind=events", GZIP, pieces(ROWS)) == job
    assert stage.spooled() == [] and stage.appended() == ROWS


def test_what_was_known_is_told_apart_from_what_was_stored(stage: Stage) -> None:
    stage.node.start()
    events = [json.dumps(track(n, messageId=f"m-{n}")).encode() + b"\n" for n in range(900)]
    first = stage.until_done(stage.taken("kind=events", LINES, iter(events[:600])), PACE_SECONDS)
    assert (first["lines"], first["stored"], first["duplicate"]) == (600, 600, 0)
    more = [*events[400:], *events[800:], b"no event\n"]
    job = stage.taken("kind=events", LINES, iter(more))
    told = stage.until_done(job, PACE_SECONDS)
    counts = [told[name] for name in ("lines", "stored", "duplicate", "rejected")]
    assert counts == [601, 300, 300, 1]
    assert sum(1 for _ in stage.stored()) == 900


def check_stored(stage: Stage, job: str, living: Living) -> None:
    numbers: Counter[int] = Counter()
    live: Counter[str] = Counter()
    for record in stage.stored():
        if record.historical:
            event = json.loads(record.event)
            assert event["timestamp"] == LONG_AGO and record.request_id.startswith(f"{job}:")
            numbers[event["properties"]["number"]] += 1
        else:
            live[record.message_id] += 1
    assert numbers.total() == len(numbers) == ROWS and max(numbers) == ROWS - 1
    assert len(living.sent) > 5 and all(live[each] == 1 for each in living.sent)


def test_rejects_are_downloaded_and_a_key_in_a_browser_takes_nothing(
    stage: Stage,
) -> None:
    stage.node.start()
    job = stage.taken("kind=events", GZIP, pieces(400))
    told = stage.until_done(job, PACE_SECONDS)
    assert [each["line"] for each in told["rejects"]] == [101, 202, 303]
    reply = stage.request("GET", f"/v1/bulk/{job}/rejects", headers=HEADERS)
    assert reply.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert [(each["line"], each["row"]) for each in lines] == [
        (101, "no event"), (202, "no event"), (303, "no event"),
    ]  # fmt: skip
    assert stage.request("GET", "/v1/bulk/import-nosuch", headers=HEADERS).status == 404
    browser = {**GZIP, "Origin": "https://shop.example"}
    assert stage.upload("kind=events", browser, iter([b"{}"])).status == 403
    listed = stage.run("import", "--list")
    assert f"{job}  done     events over HTTP" in listed.stdout


def test_users_come_in_as_identify(stage: Stage) -> None:
    stage.node.start()
    table = b"id,email,level\n0042,a@b.example,3\n0043,,4\n,c@d.example,5\n"
    job = stage.taken("kind=users&set=country%3DIR", CSV, iter([table]))
    told = stage.until_done(job, PACE_SECONDS)
    assert (told["stored"], told["rejected"]) == (2, 1)
    assert told["columns"]["id"] == "customUserId"
    events = [json.loads(record.event) for record in stage.stored()]
    assert [(each["type"], each["userId"], each["traits"]) for each in events] == [
        ("identify", "0042", {"email": "a@b.example", "country": "IR", "level": 3}),
        ("identify", "0043", {"country": "IR", "level": 4}),
    ]
    assert all(record.historical for record in stage.stored())


def test_the_memory_of_a_gateway_does_not_grow_with_the_file(stage: Stage) -> None:
    stage.node.start()
    job = stage.taken("kind=events", GZIP, pieces(50))
    before = stage.memory_peak_mb("gateway-0")
    large = stage.taken("kind=events", GZIP, pieces(4_000, 24_000))  # some 100 MB, packed
    assert stage.told(large)["bytes"] > 80_000_000
    assert stage.memory_peak_mb("gateway-0") - before < GROWTH_MB_MAX
    stage.until_done(job, PACE_SECONDS)
