"""Orders of erasures: durable, told of by commands and the desk, wiped when they are done."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.support.whole_node import APP, webhook, workspace
from trunkline.__main__ import main
from trunkline.catalog.apply import apply_workspace
from trunkline.catalog.current import load_snapshot
from trunkline.desk.erasures import ErasureDesk
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.kit.desk import ErasureAsked, ErasureOrdered
from trunkline.node import destination_kinds
from trunkline.reports.erasures import STUCK_MS, order_erasure
from trunkline.state import erasures
from trunkline.state.erasures import (
    ErasureRow,
    Found,
    TooManyErasures,
    open_erasures,
    person_digest,
    read_erasures,
)
from trunkline.state.home import Home

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    text = workspace(webhook("crm", "https://crm.example/hook"))
    apply_workspace(home, text, destination_kinds(), os.environ, clock=SystemClock())
    return home


def order(home: Home, who: str = "jane", now_ms: int = 1000) -> ErasureRow:
    return order_erasure(home, APP, who, "backend", False, now_ms)


def test_an_order_that_waits_is_not_ordered_twice_and_may_become_stricter(home: Home) -> None:
    first = order(home)
    assert order(home).id == first.id
    assert order(home, "joe").id != first.id
    assert order_erasure(home, APP, "jane", "backend", True, 2000).id == first.id
    with open_erasures(home) as jobs:
        row = jobs.get(first.id)
        assert row is not None and row.suppress
        row.state = "running"
        jobs.save(row)
    assert order(home).id != first.id  # what came since the first began is not in it


def test_orders_are_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasures, "OPEN_MAX", 2)
    order(home, "a")
    order(home, "b")
    with pytest.raises(TooManyErasures):
        order(home, "c")
    desk = ErasureDesk(home, FakeClock(), lambda: None)
    asked = ErasureOrdered(app=APP, id="c", key="backend")
    assert asyncio.run(desk.order(asked)).outcome == "full"


def test_a_job_that_is_done_says_what_but_not_whom(home: Home) -> None:
    row = order(home, "jane-roe")
    with open_erasures(home) as jobs:
        row.state, row.members = "running", '[["userId","jane-roe"]]'
        row.count(events=2)
        row.count(events=1, refused=4)
        jobs.save(row)
        events = [Found(offset, 0, offset, f"m-{offset}") for offset in range(2500)]
        jobs.add_found(row.id, events)
        jobs.add_found(row.id, events[:10])
        assert jobs.count_found(row.id) == 2500
        assert jobs.read_found(row.id, 99, 3) == events[100:103]
        assert jobs.forget([row])
        assert b"jane-roe" not in b"".join(
            path.read_bytes() for path in home.erasures_file.parent.glob("erasures.db*")
        )
        jobs.finish(row, 9000)
        assert jobs.open_jobs([], 10) == []
        assert jobs.count_found(row.id) == 0
    with read_erasures(home) as jobs:
        assert jobs is not None
        done = jobs.get(row.id)
    assert done is not None
    assert (done.state, done.who, done.read_counts()) == ("done", "", {"events": 3, "refused": 4})
    assert done.digest != person_digest(b"another key", APP, "jane-roe")


def test_the_desk_tells_of_the_jobs_of_its_own_app(home: Home) -> None:
    desk = ErasureDesk(home, FakeClock(), lambda: load_snapshot(home))
    taken = asyncio.run(desk.order(ErasureOrdered(app=APP, id="jane", key="backend")))
    assert taken.outcome == "taken"
    job = json.loads(taken.value)["job"]
    told = asyncio.run(desk.tell(ErasureAsked(app=APP, job=job)))
    value = json.loads(told.value)
    assert (value["status"], value["erased"], value["sentTo"]) == ("waiting", {}, [])
    assert "jane" not in told.value.decode()
    for app, name in (("another", job), (APP, "no-such-job")):
        assert asyncio.run(desk.tell(ErasureAsked(app=app, job=name))).outcome == "missing"


def test_commands_order_list_and_show(home: Home, capsys: Capture) -> None:
    at = ["--home", str(home.folder)]
    assert main(["erase", "Path", "jane", "--yes", "--json", *at]) == 0
    job = json.loads(capsys.readouterr().out)["job"]
    assert main(["erase", "--list", *at]) == 0
    assert job in capsys.readouterr().out
    assert main(["erase", "--show", job, *at]) == 0
    assert "a running node carries it out" in capsys.readouterr().out
    assert main(["erase", "--show", "nothing", *at]) == 1
    assert main(["erase", "Elsewhere", "jane", "--yes", *at]) == 1
    assert "expected one of: Path" in capsys.readouterr().err
    assert main(["erase", "Path", "", "--yes", *at]) == 1


def test_nobody_is_erased_without_a_yes(home: Home, capsys: Capture) -> None:
    assert main(["erase", "Path", "jane", "--home", str(home.folder)]) == 1
    assert "--yes" in capsys.readouterr().err
    assert not home.erasures_file.exists()


def test_doctor_names_a_job_that_does_not_end(home: Home, capsys: Capture) -> None:
    clock = SystemClock()
    order(home, "young", clock.now_ms())
    old = order(home, "jane", clock.now_ms() - STUCK_MS - 1000)
    with open_erasures(home) as jobs:
        old.problem = "waits for the profiles"
        jobs.save(old)
    assert main(["doctor", "--json", "--home", str(home.folder)]) == 1
    found = [each for each in json.loads(capsys.readouterr().out) if each["about"] == "erasure"]
    assert [each["verdict"] for each in found] == ["problem"]
    assert old.id in found[0]["text"] and "waits for the profiles" in found[0]["text"]
