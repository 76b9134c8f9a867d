"""`trunkline simulate` as a person and a build server run it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from trunkline.__main__ import main

SECONDS = 60.0
EVENT = {
    "metrixUserId": "u-1", "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d",
    "eventSlug": "taqsq", "eventTime": 1795169730000,
}  # fmt: skip
Capture = pytest.CaptureFixture[str]


class Running:
    """The command in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "trunkline", "simulate", "metrix-s2s", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.output: IO[str] = self._process.stdout

    def line(self) -> str:
        return self.output.readline().rstrip("\n")

    def end(self, number: int = signal.SIGINT) -> int:
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self._process.wait(SECONDS)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(SECONDS)
        self.output.close()


@contextmanager
def running(*arguments: str) -> Generator[Running]:
    made = Running(*arguments)
    try:
        yield made
    finally:
        made.close()


def send(url: str, key: str, event: dict[str, Any]) -> int:
    headers = {"Authorization": key, "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{url}/inappevent/simulatedappids", json.dumps(event).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_it_tells_where_it_is_and_what_comes_and_ends_at_ctrl_c() -> None:
    with running("--json", "--fault", "throttled") as command:
        told = json.loads(command.line())
        assert (told["vendor"], told["credentials"]["dev_key"]) == (
            "metrix-s2s",
            "simulated-dev-key",
        )
        key = told["credentials"]["dev_key"]
        assert [send(told["url"], key, EVENT) for _ in range(2)] == [429, 200]
        first, second = json.loads(command.line()), json.loads(command.line())
        assert (first["status"], first["fault"], first["taken"]) == (429, "throttled", 0)
        assert (second["status"], second["fault"], second["taken"]) == (200, "", 1)
        assert command.end() == 0


def test_its_page_names_credentials_and_prints_a_line_for_each_request() -> None:
    with running("--now", "2026-11-20T10:16:00Z") as command:
        url = command.line().rpartition(" ")[2]
        assert url.startswith("http://127.0.0.1:")
        assert send(url, "simulated-dev-key", {**EVENT, "eventTime": "yesterday"}) == 400
        lines: list[str] = []
        while not lines or "complaint" not in lines[-1]:
            lines.append(command.line())
        assert '  dev_key: "simulated-dev-key"' in lines
        assert lines[-2] == "POST  /inappevent/simulatedappids  400  0 taken"
        assert lines[-1].startswith("  complaint  parameters  eventTime: whole milliseconds")
        assert command.end(signal.SIGTERM) == 0


def test_a_complaint_can_end_it_with_exit_code_1() -> None:
    with running("--json", "--exit-on-complaint") as command:
        url = json.loads(command.line())["url"]
        assert send(url, "simulated-dev-key", EVENT) == 200
        assert send(url, "simulated-dev-key", {**EVENT, "userId": "u"}) == 400
        assert command.wait() == 1


def test_without_a_vendor_it_lists_them(capsys: Capture) -> None:
    assert main(["simulate", "--list", "--json"]) == 0
    told = {one["vendor"]: one for one in json.loads(capsys.readouterr().out)}
    assert "s2s_is_off" in told["metrix-s2s"]["faults"]
    assert main(["simulate"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == sorted(told)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["metrics"], "'metrics' cannot be simulated; there are: "),
        (["slack", "--fault", "hangs"], "--fault: there is no fault 'hangs'; did you mean 'hang'?"),
        (["slack", "--now", "soon"], "'soon' is no time"),
        (["slack", "--port", "99999"], "cannot be listened on"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], sentence: str, capsys: Capture) -> None:
    assert main(["simulate", *arguments]) == 1
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)


def test_a_port_that_is_taken_is_told(capsys: Capture) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert main(["simulate", "slack", "--port", port]) == 1
    assert f"127.0.0.1:{port} cannot be listened on" in capsys.readouterr().err
