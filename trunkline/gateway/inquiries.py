"""What is asked of the desk: a few at a time, and none for ever.

Reading a profile or a trace takes milliseconds of a thread. Events are never behind it: past the
limit a question is answered 503 with `Retry-After`, and one that takes too long too.
"""

from __future__ import annotations

import asyncio

from trunkline.gateway.bodies import OVERLOADED
from trunkline.kit.desk import Desk, Inquiry
from trunkline.kit.protocol import Answer, Failure

OPEN_MAX = 64
SECONDS_MAX = 20.0

_SLOW = Failure(
    "unavailable", 503, "The answer took too long to find; ask again, or ask for less.", 5
)
_NOBODY = Failure("unavailable", 503, "This server answers no questions; ask another one.", 60)


class Inquiries:
    """Asks the desk for one gateway process."""

    def __init__(self, desk: Desk | None) -> None:
        self._desk = desk
        self._open = 0

    async def ask(self, inquiry: Inquiry) -> Answer | Failure:
        """Return what the protocol makes of the reply, or why there is none."""
        if self._desk is None:
            return _NOBODY
        if self._open >= OPEN_MAX:
            return OVERLOADED
        self._open += 1
        try:
            async with asyncio.timeout(SECONDS_MAX):
                return inquiry.tell(await self._desk.answer(inquiry.question))
        except TimeoutError:
            return _SLOW
        finally:
            self._open -= 1
