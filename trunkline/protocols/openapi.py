"""`GET /openapi.json`: what this port takes, as a document of OpenAPI 3.1.

It needs no key: it holds nothing of the node, its apps or its keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from trunkline.kit.openapi import document_json
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.tracking_intake import failure_answer
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App, Snapshot

_CACHING = (("Cache-Control", "public, max-age=300"),)


class OpenApiProtocol(Protocol):
    """The description of the ingest port."""

    name: ClassVar[str] = "openapi"
    routes: ClassVar[Sequence[Route]] = (Route("GET", "/openapi.json", 0, 0),)

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:  # noqa: ARG002
        """Answer with the document."""
        return Decoded(Answer(200, document_json(), headers=_CACHING))

    def failure(self, request_path: str, failure: Failure) -> Answer:  # noqa: ARG002
        """Say a failure with every field that some client parses."""
        return failure_answer(failure)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Refuse: no event is stored under this name."""
        raise LookupError(f"no event is stored as {record.protocol} of {app and app.id}")
