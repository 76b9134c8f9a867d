"""The front of the desk: which answers which kind of question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from trunkline.kit.desk import Desk, Question, Reply

Answerer = Callable[[Any], Awaitable[Reply]]


class FrontDesk(Desk):
    """Hands each question to what answers its kind; `node.wire` says which."""

    def __init__(self, answerers: Mapping[type[Question], Answerer]) -> None:
        self._answerers = dict(answerers)

    async def answer(self, question: Question) -> Reply:
        """Answer a question. Raises `LookupError` for a kind that nobody answers: a defect."""
        answerer = self._answerers.get(type(question))
        if answerer is None:
            raise LookupError(f"nobody at the desk answers {type(question).__name__}")
        return await answerer(question)
