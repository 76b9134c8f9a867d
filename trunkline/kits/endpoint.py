"""An endpoint that names values of the event: `…/users/{{userId}}`.

A value stands in its place percent-encoded, whatever it holds: it can neither add a step to the
path nor lead to another host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from msgspec import Struct

from trunkline.kits.answers import find
from trunkline.kits.request import clean_url, text_of
from trunkline.kits.request_spec import VALUE_MARK

_DOTS = (".", "..")  # steps that a client would take itself
VALUE_MAX = 1000  # characters of one value


class EndpointNeeds(ValueError):
    """The event has no value for a path that the endpoint names."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"endpoint_needs_{path}: the request's URL names the event's {path}, and it has none "
            "that a URL can hold"
        )


class Endpoint(Struct, frozen=True):
    """A URL in pieces: `texts` around the values at `paths`, one text more than paths."""

    texts: tuple[str, ...]
    paths: tuple[str, ...]

    def url_for(self, event: Mapping[str, Any]) -> str:
        """Return the URL of an event. Raises `EndpointNeeds`."""
        url = self.texts[0]
        for path, text in zip(self.paths, self.texts[1:], strict=True):
            value = find(event, path)
            told = "" if value is None or isinstance(value, dict | list) else text_of(value)
            if not told or told in _DOTS or len(told) > VALUE_MAX:
                raise EndpointNeeds(path)
            url += quote(told, safe="", errors="replace") + text
        return url


def split_endpoint(text: str) -> Endpoint | None:
    """Return the pieces of an endpoint whose params are filled in; None where it names no values.

    Raises `ValueError` where it is no URL, or a value would decide the host.
    """
    parts = VALUE_MARK.split(text)
    if len(parts) == 1:
        return None
    paths = tuple(parts[1::2])
    whole = clean_url(("x" * 8).join(parts[0::2]))
    other = clean_url(("y" * 8).join(parts[0::2]))
    if urlsplit(whole).netloc != urlsplit(other).netloc:
        raise ValueError("a value of the event would decide the host; name it in path or query")
    return Endpoint(tuple(whole.split("x" * 8)), paths)


def without_values(text: str) -> str:
    """Return an endpoint with its places left empty."""
    return VALUE_MARK.sub("", text)
