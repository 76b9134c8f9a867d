"""Golden cases that read like documentation: what was sent, what was answered, what it became.

A case is a text file. Lines that start with `# ` at its beginning say which truth it shows. Then
the request (method and path, headers, an empty line, the body), a line of ten dashes, the answer
(status, its own headers, an empty line, the body), and, where events were accepted, ten dashes
and the canonical events, one a line.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from msgspec import Struct

from trunkline.kit.protocol import Answer, Normalised, Protocol, Request, Route
from trunkline.model.event import encode_event
from trunkline.model.refusal import ErrorRow

RULER = "----------"


class Case(Struct, frozen=True):
    """One golden case. A header `X-Test-Address` says where the request came from."""

    name: str
    truth: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    expected: str

    def __str__(self) -> str:
        return self.name


def load_cases(folder: Path) -> list[Case]:
    """Read every case of a folder, by name."""
    return [read_case(path.stem, path.read_text("utf-8")) for path in sorted(folder.glob("*.txt"))]


def read_case(name: str, text: str) -> Case:
    """Read a case; its expected text is everything behind the first ruler."""
    asked, _, expected = text.partition(f"\n{RULER}\n")
    lines = asked.split("\n")
    truth = [line[2:] for line in lines if line.startswith("# ")]
    lines = lines[len(truth) :]
    method, _, target = lines[0].partition(" ")
    path, _, query = target.partition("?")
    end = lines.index("") if "" in lines else len(lines)
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:end])}
    body = "\n".join(lines[end + 1 :]).encode()
    return Case(name, " ".join(truth), method, path, query, headers, body, expected.rstrip("\n"))


def find_route(protocol: Protocol, method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the route of a path and its parameters, as the gateway would; a slash ends alike."""
    asked = path.rstrip("/").split("/")
    for route in protocol.routes:
        parts = route.path.rstrip("/").split("/")
        if route.method == method and len(parts) == len(asked) and _fits(parts, asked):
            pairs = zip(parts, asked, strict=True)
            return route, {part[1:-1]: text for part, text in pairs if part.startswith("{")}
    raise AssertionError(f"no route takes {method} {path}")


def _fits(parts: list[str], asked: list[str]) -> bool:
    pairs = zip(parts, asked, strict=True)
    return all(part == text or (part.startswith("{") and text) for part, text in pairs)


def request_of(case: Case, protocol: Protocol, received_ms: int, address: str) -> Request:
    """Return the request of a case, as the gateway would hand it to the protocol."""
    route, params = find_route(protocol, case.method, case.path)
    return Request(
        route=route,
        path=case.path,
        params=params,
        query=case.query,
        headers=case.headers,
        body=case.body,
        address=case.headers.get("x-test-address", address),
        received_ms=received_ms,
        request_id="golden",
    )


def check_case(folder: Path, case: Case, shown: str) -> None:
    """Hold what came of a case against its file; with `GOLDEN_WRITE=1` write it there, to be read.

    A case's name begins with the status of its answer.
    """
    assert shown.startswith(case.name[:3])
    if os.environ.get("GOLDEN_WRITE"):
        file = folder / f"{case.name}.txt"
        asked = file.read_text("utf-8").split(f"\n{RULER}\n")[0].rstrip("\n")
        file.write_text(f"{asked}\n{RULER}\n{shown}\n", "utf-8")
    else:
        assert shown == case.expected


def shows_row(case: Case, row: ErrorRow) -> bool:
    """Whether a case answers with this row: its code, and its sentence around the `{words}`."""
    pattern = ".+".join(re.escape(piece) for piece in re.split(r"\{\w+\}", row.sentence))
    answer = case.expected.split(RULER)[0].replace('\\"', '"')
    head = f'"code":"{row.code}","message":"'
    return re.search(re.escape(head) + pattern, answer) is not None


def render(answer: Answer, events: list[Normalised]) -> str:
    """Write what came of a case, in the form that its file expects."""
    parts = [render_answer(answer)]
    if events:
        parts += [RULER, *(render_event(event) for event in events)]
    return "\n".join(parts)


def render_answer(answer: Answer) -> str:
    """Write an answer: status, headers of its own, an empty line, the body."""
    is_text = answer.content_type.startswith(("application/json", "text/"))
    body = answer.body.decode() if is_text else f"({answer.content_type}, {len(answer.body)} bytes)"
    headers = [f"{name}: {value}" for name, value in answer.headers]
    return "\n".join([str(answer.status), *headers, "", body])


def render_event(normalised: Normalised) -> str:
    """Write a canonical event, and under it what its trace says."""
    line = encode_event(normalised.event, normalised.extra).decode()
    return "\n".join([line, *(f"note: {note}" for note in normalised.notes)])
