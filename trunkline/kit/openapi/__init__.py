"""The ingest port described as OpenAPI 3.1: one module for each protocol, put together here.

`document` is what `GET /openapi.json` answers and what the reference page is. The modules describe,
and decide nothing: tests hold every route of the shelf against them, and send every example to a
real node. Pure data, made when it is first asked for.
"""

from __future__ import annotations

from trunkline.kit.openapi.document import document_json, documented

__all__ = ["document_json", "documented"]
