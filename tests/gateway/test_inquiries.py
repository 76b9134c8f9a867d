"""Questions to the desk: asked within limits, told in the protocol's words."""

from __future__ import annotations

import asyncio

import pytest

from trunkline.desk.front import FrontDesk
from trunkline.gateway import inquiries
from trunkline.gateway.inquiries import OPEN_MAX, Inquiries
from trunkline.kit.desk import EventAsked, Inquiry, Question, Reply, UserAsked
from trunkline.kit.protocol import Answer, Failure

ASKED = Inquiry(UserAsked(app="a", id="u"), lambda reply: Answer(200, reply.value))


async def _found(question: Question) -> Reply:
    assert isinstance(question, UserAsked)
    return Reply("found", question.id.encode())


def test_a_question_is_told_by_its_protocol() -> None:
    """The desk finds who answers by the kind of question; what it says is put into words."""
    asked = Inquiries(FrontDesk({UserAsked: _found})).ask(ASKED)
    assert asyncio.run(asked) == Answer(200, b"u")


def test_a_question_that_nobody_answers_is_a_defect() -> None:
    """A kind that was forgotten in the wiring must be heard of."""
    asked = Inquiries(FrontDesk({EventAsked: _found})).ask(ASKED)
    with pytest.raises(LookupError, match="UserAsked"):
        asyncio.run(asked)


def test_without_a_desk_a_question_is_refused() -> None:
    """A gateway alone says so."""
    answer = asyncio.run(Inquiries(None).ask(ASKED))
    assert isinstance(answer, Failure) and answer.status == 503


def test_too_many_and_too_slow_questions_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit one is told to come back, and one that hangs ends; then there is room."""
    monkeypatch.setattr(inquiries, "SECONDS_MAX", 0.2)

    async def hang(_: Question) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    async def story() -> None:
        desk = Inquiries(FrontDesk({UserAsked: hang}))
        asked = [asyncio.create_task(desk.ask(ASKED)) for _ in range(OPEN_MAX)]
        await asyncio.sleep(0)
        full = await desk.ask(ASKED)
        assert isinstance(full, Failure) and full.code == "overloaded"
        ended = await asyncio.gather(*asked)
        assert {each.code for each in ended if isinstance(each, Failure)} == {"unavailable"}
        assert len(ended) == OPEN_MAX
        again = await desk.ask(ASKED)
        assert isinstance(again, Failure) and again.code == "unavailable"

    asyncio.run(story())
