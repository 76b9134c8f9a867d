"""A kit with a contract, a connection test and fixtures, for a vendor on loopback."""

from __future__ import annotations

from pathlib import Path

NAME = "judged"
TOKEN = "tk-of-the-vendor-0123"
KIT = Path(__file__).with_suffix(".yaml").read_text("utf-8")


def destination(url: str, **params: str) -> dict[str, object]:
    """Return a destination of the kit as a workspace file says it."""
    given = {"BASE_URL": url, "ACCOUNT": "54321", "TOKEN": TOKEN, **params}
    settings = {"kit": NAME, "params": given, "allow_private_addresses": True}
    return {"id": NAME, "kind": "http_kit", "settings": settings}
