"""What senders may ask of a node, beside having events stored: the contract of its desk.

A protocol is pure, so for a question it returns an `Inquiry`: what is asked, and how the reply is
said on the wire. The gateway has the desk answer it, off its event loop and within limits; `node`
decides what stands behind the desk. An order (an erasure, an import) is durable before the reply.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from trunkline.kit.import_terms import ImportTerms
from trunkline.kit.protocol_answer import Answer


class Question(Struct, frozen=True, kw_only=True):
    """What is asked; each kind is a subclass. `app` is the id of the app whose key asks."""

    app: str


class UserAsked(Question, frozen=True, kw_only=True):
    """The profile that an identifier of a person belongs to, with its latest events."""

    id: str


class EventAsked(Question, frozen=True, kw_only=True):
    """An event's whole story. `id` is its messageId, or what its sender called it."""

    id: str


class ErasureOrdered(Question, frozen=True, kw_only=True):
    """Remove what is kept of a person, everywhere. `key` names the key that ordered it."""

    id: str
    key: str
    suppress: bool = False


class ErasureAsked(Question, frozen=True, kw_only=True):
    """How far an erasure is."""

    job: str


class ImportOrdered(Question, frozen=True, kw_only=True):
    """Take a file of history. `file` is set by the gateway once the body lies on disk, synced.

    `terms` are the request's own, judged by the protocol. `digest` is the SHA-256 of the file.
    """

    terms: ImportTerms
    key: str
    file: Path | None = None
    digest: str = ""


class ImportAsked(Question, frozen=True, kw_only=True):
    """How far an import is; with `rejects` its refused rows, as a file. Without a job: the last."""

    job: str = ""
    rejects: bool = False


class Reply(Struct, frozen=True):
    """What the desk says. `value` is JSON; `file` stands for a long answer that lies on disk.

    `missing`: there is no such person, event or job in this app. `taken`: an order was recorded.
    `full`: it was not, because as many as may be are waiting.
    """

    outcome: Literal["found", "missing", "taken", "full"]
    value: bytes = b"{}"
    file: Path | None = None


class Inquiry(Struct, frozen=True):
    """A question, and how its protocol says the reply."""

    question: Question
    tell: Callable[[Reply], Answer]


class Desk(ABC):
    """Answers questions. The gateway bounds how many are open, and how long one may take."""

    @abstractmethod
    async def answer(self, question: Question) -> Reply:
        """Answer; what blocks is done in a thread. Raises only for defects and broken disks."""
