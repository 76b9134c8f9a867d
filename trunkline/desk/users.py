"""Who is behind an id: the answerer for questions about a person."""

from __future__ import annotations

import asyncio

import msgspec

from trunkline.kit.desk import Reply, UserAsked
from trunkline.reports.profiles import read_profile
from trunkline.state.home import Home

_encode = msgspec.json.Encoder().encode


class Users:
    """Answers from the profile store, which the background process writes."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def answer(self, question: UserAsked) -> Reply:
        """Return the profile as JSON; `missing` where nothing is kept under this id.

        Raises `apsw.Error` where the store cannot be read.
        """
        profile = await asyncio.to_thread(read_profile, self._home, question.app, question.id)
        if profile is None:
            return Reply("missing")
        return Reply("found", _encode(profile))
