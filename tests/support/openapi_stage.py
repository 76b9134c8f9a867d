"""A node on which the document of its ingest port is tried: examples, and what nobody thought of.

The document is the node's own. Where it cannot know a value (an app's id, a key) it has a mark in
braces, which is filled in here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.whole_node import APP, DEV_KEY, KEY, WholeNode, basic, workspace

CLIENT_KEY = "tls_page_0123456789abcdef0123456789abcdef"
EVENTS = [
    {"slug": "taqsq", "name": "Purchase Completed"},
    {"slug": "ordrc", "name": "Order Completed"},
]
MARKS = {"{appId}": APP, "{writeKey}": CLIENT_KEY}
CREDENTIALS = {
    "writeKey": {"Authorization": basic(KEY)},
    "writeKeyHeader": {"X-Write-Key": KEY},
    "applicationId": {"X-Application-Id": APP},
    "apiKey": {"X-API-Key": KEY},
    "devKey": {"Authorization": DEV_KEY},
}
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
UNWRITABLE = ("application/x-ndjson", "text/csv")  # of bodies: schemathesis writes none of these
RUN_SECONDS_MAX = 600


class Sent(NamedTuple):
    """An example as it is sent, and the status that it is to get."""

    name: str
    method: str
    path: str
    body: bytes | None
    headers: dict[str, str]
    status: int


class OpenApiStage(WholeNode):
    """A running node with an app, its keys and its events."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "home")
        self.folder = folder
        keys = [
            {"name": "backend", "type": "server", "secret": KEY},
            {"name": "page", "type": "client", "secret": CLIENT_KEY},
        ]
        self.apply(workspace(keys=keys, events=EVENTS))
        self.node.start()
        self.document = fill_marks(self.request("GET", "/openapi.json").json)

    def fuzz(self, tag: str, *, seconds: int, examples: int, document: Any = None) -> str:
        """Run schemathesis over the operations of a tag; return what it complains of, or ""."""
        file = self.folder / "openapi.json"
        text = json.dumps(document or self.document)
        for unwritable in UNWRITABLE:
            text = text.replace(json.dumps(unwritable) + ': {"schema"', '"text/plain": {"schema"')
        file.write_text(text, "utf-8")
        own = {**CREDENTIALS["applicationId"], **CREDENTIALS["apiKey"]}
        own |= CREDENTIALS["devKey" if tag == "s2s" else "writeKey"]
        headers = [part for name, value in own.items() for part in ("-H", f"{name}: {value}")]
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", self.node.url,
            "--include-tag", tag, "--checks", ",".join(CHECKS), "--max-time", str(seconds),
            "--max-examples", str(examples), "--phases", "examples,coverage,fuzzing",
            "--generation-deterministic", "--warnings", "off", "--no-color", *headers,
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=RUN_SECONDS_MAX,
            check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr + done.stdout
        return "" if done.returncode == 0 else done.stdout

    def examples(self) -> Iterator[Sent]:
        """Yield every example of the document."""
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield from _examples_of(path, method, operation)


def _examples_of(path: str, method: str, operation: Any) -> Iterator[Sent]:
    ways = operation["security"] or [{}]
    headers = {n: v for scheme in ways[0] for n, v in CREDENTIALS[scheme].items()}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        elif parameter["required"]:
            path += f"?{parameter['name']}={parameter['example']}"
    name, method = operation["operationId"], method.upper()
    content = operation.get("requestBody", {}).get("content", {})
    for content_type, body in content.items():
        for each, example in body["examples"].items():
            value = example["value"]
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            told = {**headers, "Content-Type": content_type}
            yield Sent(f"{name}.{each}", method, path, data, told, example["x-status"])
    if not content:
        yield Sent(name, method, path, None, headers, operation["x-status"])


def fill_marks(document: Any) -> Any:
    """Put this node's values where the document has marks, and let nothing else be tried there."""
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                mark = parameter.get("example")
                if mark in MARKS:
                    parameter["example"] = MARKS[mark]
                    parameter["schema"] = {"enum": [MARKS[mark], "nobody-knows-this"]}
    return document
