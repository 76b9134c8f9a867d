"""Load that can tell lost, doubled and disordered: one user a lane, numbered, one at a time."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any

from tests.support.keeping_receiver import Shelf
from tests.support.whole_node import KEY, basic

PAUSE_SECONDS = 0.01
TIMEOUT_SECONDS = 10.0


class SteadyLoad:
    """Each lane sends the next event of its user when it was told yes to the one before.

    An event without an answer is sent again under its messageId, as a careful sender does. So the
    order in which a user's events are first accepted is the order of their numbers.
    """

    def __init__(self, port: int, lanes: int = 8, key: str = KEY) -> None:
        self.acknowledged: set[str] = set()
        self.refused: list[tuple[int, bytes]] = []
        self.slowest_seconds = 0.0
        self._port = port
        self._headers = {"Authorization": basic(key), "Content-Type": "application/json"}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), daemon=True) for lane in range(lanes)
        ]

    def __enter__(self) -> SteadyLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop sending, when the events under way are answered or given up."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(3 * TIMEOUT_SECONDS)
            assert not thread.is_alive()

    def _run(self, lane: int) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            self._send(lane, number)
            time.sleep(PAUSE_SECONDS)

    def _send(self, lane: int, number: int) -> None:
        message_id = f"lane-{lane}-{number}"
        event = {"messageId": message_id, "event": "E", "userId": f"user-{lane}",
                 "properties": {"lane": lane, "number": number}}  # fmt: skip
        while True:
            begin = time.perf_counter()
            answer = self._post(json.dumps(event).encode())
            if answer is not None and answer[0] == 200:
                self.slowest_seconds = max(self.slowest_seconds, time.perf_counter() - begin)
                self.acknowledged.add(message_id)
                return
            if answer is not None and answer[0] < 500:
                self.refused.append(answer)
                return
            if self._stopping.is_set():
                return
            time.sleep(PAUSE_SECONDS)

    def _post(self, body: bytes) -> tuple[int, bytes] | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", "/v1/track", body, self._headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def disorder_of(shelf: Shelf) -> list[str]:
    """Return the ids of events that came for the first time after a later one of their user."""
    newest: dict[Any, int] = {}
    found: list[str] = []
    for message_id, event in shelf.events.items():
        place = event.get("properties", {})
        if "lane" not in place:
            continue
        if place["number"] < newest.get(place["lane"], 0):
            found.append(message_id)
        newest[place["lane"]] = max(place["number"], newest.get(place["lane"], 0))
    return found
