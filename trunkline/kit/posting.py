"""How a refused event came, noted so that it can be sent again after what was wrong was mended.

What is noted is what the answer may depend on beside the event itself: where it was posted, what
stood beside it in a batch, a few headers. Never a key: whoever sends it again has a right of their
own. It goes the way of refused bodies, redacted and bounded; what finds no room is not noted, and
such an event has to come again from its sender.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from trunkline.kit.json_repair import mend_text
from trunkline.kit.protocol import Request
from trunkline.kit.redact import CUT_MARK, MASK_START, redact
from trunkline.model.record import Posting

HEADERS = (
    "idempotency-key",
    "mtx-sdk-version",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-site",
    "user-agent",
    "x-ip-policy",
)
HEADER_CHARS_MAX = 512
BESIDE_BYTES_MAX = 2_048
WHOLE_BYTES_MAX = 8_192


class PostedAs:
    """How the events of one request came; `note` makes a refusal's note of it."""

    def __init__(
        self,
        request: Request,
        *,
        path: str = "",
        within: str = "",
        beside: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`path` where it is to be posted, if not where it was; `headers` beside the usual ones."""
        self._request = request
        self._path = path or request.path
        self._within = within
        self._beside = beside
        self._headers = headers or {}
        self._common: Posting | Literal["unfit"] | None = None  # for all of the request's events

    def note(self, body: bytes, shown: bytes, index: int = -1) -> Posting | None:
        """Return the note for a body as it came and as shown; None where too much stood by it.

        `index` is its place in the array that it stood in; -1 where all of the array is meant.
        """
        if self._common is None:
            self._common = self._note_common() or "unfit"
        if self._common == "unfit":
            return None
        whole = redact(body, WHOLE_BYTES_MAX + 1) if shown.endswith(CUT_MARK) else b""
        if len(whole) > WHOLE_BYTES_MAX:
            whole = b""
        at = index if self._within else -1
        if at < 0 and not whole:
            return self._common
        return msgspec.structs.replace(self._common, whole=whole, index=at)

    def _note_common(self) -> Posting | None:
        """Return what the events of the request have alike, None where it may not be kept."""
        came = self._request.headers
        headers = {n: mend_text(came[n][:HEADER_CHARS_MAX]) for n in HEADERS if came.get(n)}
        own = {name: mend_text(value) for name, value in self._headers.items()}
        path = mend_text(self._path)
        beside = redact(self._beside, BESIDE_BYTES_MAX + 1) if self._beside else b""
        parts = [path.encode(), beside]
        parts += [redact(value.encode(), BESIDE_BYTES_MAX + 1) for value in own.values()]
        mask = MASK_START.encode()
        if any(len(part) > BESIDE_BYTES_MAX or mask in part for part in parts):
            return None
        return Posting(path, {**headers, **own}, self._within, beside)
