"""Libraries in a real Chromium while the node is killed under their pages, and started again.

Each page goes on saying numbered events. The node's processes are killed twice: while they have
read a request of each page and stored none, and when they have stored one of each whose answer
then never arrives. A library that keeps what it could not send owes every event; Jitsu's, which
sends each call once, owes those that its page saw taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.client_table import ROW
from tests.support.killed_pages import KilledPages, SaidOnPage, open_killed_pages
from tests.support.saying_pages import PAGES, SayingPage

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(400)]

KILLS = 2
EVENTS_MIN = 60
FORGETTING = [page for page in PAGES if not page.is_keeping]


@pytest.fixture(scope="module")
def stage_and_browser(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[KilledPages, str]]:
    yield from open_killed_pages(tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def stage(stage_and_browser: tuple[KilledPages, str]) -> KilledPages:
    return stage_and_browser[0]


@pytest.fixture(scope="module")
def told(stage_and_browser: tuple[KilledPages, str]) -> dict[str, SaidOnPage]:
    stage, browser = stage_and_browser
    stage.open_pages(browser)
    stage.until_more()
    stage.kill_with_requests_read()
    stage.node.start()
    stage.until_more()
    stage.front.is_proxy = True  # pages saw connections end until now, and see 502 from here on
    stage.kill_with_answers_lost()
    stage.node.start()
    stage.until_more()
    return stage.end_saying()


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> SayingPage:
    return request.param


def test_every_event_that_is_owed_arrives_as_one_event(
    stage: KilledPages,
    told: dict[str, SaidOnPage],
    page: SayingPage,
    record_property: Callable[[str, object], None],
) -> None:
    said, came = told[page.name], stage.came(page)
    owed = set(range(said.said)) if page.is_keeping else said.taken
    row = [page.package, page.version, str(said.said), str(said.said - len(owed)), str(len(came)),
           str(len(came)), f"Chromium; {page.name}, {KILLS} × SIGKILL"]  # fmt: skip
    record_property(ROW, row)
    assert said.said >= EVENTS_MIN
    assert said.taken <= owed <= set(came) <= set(range(said.said))
    assert len(came) == len(set(came))


def test_each_page_was_cut_off_before_and_after_its_events_were_stored(
    stage: KilledPages, told: dict[str, SaidOnPage], page: SayingPage
) -> None:
    assert told
    assert stage.front.broken[page.sends_to]
    assert stage.front.lost[page.sends_to]


@pytest.mark.parametrize("page", FORGETTING, ids=lambda page: page.name)
def test_a_library_that_forgets_tells_its_user_of_each_event_it_gave_up(
    stage: KilledPages, told: dict[str, SaidOnPage], page: SayingPage
) -> None:
    said = told[page.name]
    assert len(said.heard) == said.said - len(said.taken) > 0
    # What was stored and never answered arrives, though its user was told that it failed.
    assert len(stage.came(page)) - len(said.taken) <= stage.front.lost[page.sends_to]


def test_what_was_stored_and_sent_again_is_known(
    stage: KilledPages, told: dict[str, SaidOnPage]
) -> None:
    assert told
    acceptance, line = stage.acceptance(), stage.line("receiver")
    assert acceptance.accepted == len(stage.receiver.shelf("/all").events)
    assert acceptance.duplicate >= len([page for page in PAGES if page.is_keeping])
    assert acceptance.refused == {}
    assert acceptance.balanced
    assert line.balanced
    assert not line.dead
    # A delivery whose end a kill cut off is made again; that is no second event.
    assert stage.most_copies() <= 1 + KILLS
