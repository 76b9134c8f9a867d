"""Makes docs/reference from the code, so that it cannot be wrong about it. `make docs` runs it.

The tables of docs/guide that compare kits are made of what the tests know of the differences.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import trunkline.telemetry
from trunkline.cli import build
from trunkline.kit.describe import describe_kind
from trunkline.kit.openapi import document_json
from trunkline.kit.protocol import Route
from trunkline.kit.settings import list_settings
from trunkline.kits.catalogue_page import describe_index, describe_kit
from trunkline.kits.shipped import shipped_kits
from trunkline.model.refusal import ERRORS
from trunkline.model.refusal_bulk import BULK_ERRORS
from trunkline.model.refusal_push import PUSH_ERRORS
from trunkline.model.refusal_reads import READS_ERRORS
from trunkline.model.refusal_rest import REST_ERRORS
from trunkline.node import destination_kinds, protocol_shelf
from trunkline.playbook.describe import describe_playbook_library
from trunkline.telemetry.metrics import list_metrics

FOLDER = Path(__file__).parent / "reference"
GUIDE = Path(__file__).parent / "guide"


def pages() -> Iterator[tuple[str, str]]:
    """Yield every generated page: its path below docs/reference, and its text."""
    yield "settings.md", settings_page()
    yield "errors.md", errors_page()
    yield "ingest.md", ingest_page()
    yield "openapi.json", document_json().decode()
    yield "metrics.md", metrics_page()
    yield "cli.md", cli_page()
    yield "playbooks.md", describe_playbook_library()
    for kind, component in sorted(destination_kinds().items()):
        yield f"destinations/{kind}.md", describe_kind(component)
    yield "kits/index.md", describe_index([*shipped_kits().values()])
    for name, kit in shipped_kits().items():
        yield f"kits/{name}.md", describe_kit(kit)


def guide_pages() -> Iterator[tuple[str, str]]:
    """Yield the pages of docs/guide that hold generated tables: their names, and their texts."""
    root = str(Path(__file__).parent.parent)
    if root not in sys.path:
        sys.path.append(root)  # what is known of the public kits is the tests'
    fill_page = importlib.import_module("tests.support.starter_differences").fill_page
    for path in sorted(GUIDE.glob("*.md")):
        text = path.read_text("utf-8")
        if "<!-- differences:" in text:
            yield path.name, fill_page(text)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in r) + " |" for r in lines
    )


def settings_page() -> str:
    rows = [
        (f"`[{s.section}] {s.name}`", f"`{s.type}`", f"`{s.default}`", s.description)
        for s in list_settings()
    ]
    return (
        "# Boot settings\n\nGiven in `trunkline.toml` in the home, overridden by "
        "`TRUNKLINE_<SECTION>__<NAME>` in the environment, overridden by flags.\n\n"
        + table(("setting", "type", "default", "what it does"), rows)
        + "\n"
    )


def errors_page() -> str:
    rows = [
        (row.protocol, f"`{row.code}`", str(row.status), row.sentence, row.hint)
        for row in (*ERRORS, *REST_ERRORS, *BULK_ERRORS, *READS_ERRORS, *PUSH_ERRORS)
    ]
    return (
        "# Errors a caller can see\n\n"
        + table(("where", "code", "status", "what is wrong", "what to do"), rows)
        + "\n"
    )


def ingest_page() -> str:
    rows = sorted(
        (f"`{r.path}`", r.method, f"`{name}`", *route_sizes(r))
        for name, protocol in protocol_shelf().items()
        for r in protocol.routes
    )
    head = ("path", "method", "protocol", "bytes as sent", "bytes decompressed")
    return (
        "# Paths of the ingest port\n\nA slash at the end is the same path. `protocol` is what the "
        "metrics, a trace and `source.protocol` of an event call it; the numbers are the most that "
        "a body may have. Every path answers `OPTIONS`, for pages of other origins.\n\n"
        + table(head, rows)
        + "\n"
    )


def route_sizes(route: Route) -> tuple[str, str]:
    if route.is_spooled:
        return "`[gateway] import_bytes_max`", "no limit: it is never held in memory"
    return f"{route.wire_bytes_max:,}", f"{route.inflated_bytes_max:,}"


def metrics_page() -> str:
    for module in pkgutil.iter_modules(trunkline.telemetry.__path__):
        importlib.import_module(f"trunkline.telemetry.{module.name}")
    rows = [
        (f"`{m.name}`", m.type, ", ".join(f"`{label}`" for label in m.labels), m.description)
        for m in list_metrics()
    ]
    return "# Metrics\n\n" + table(("metric", "type", "labels", "what it counts"), rows) + "\n"


def cli_page() -> str:
    return build(is_whole=True).generate_docs() + "\n"


def main() -> int:
    for name, text in pages():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for name, text in guide_pages():
        (GUIDE / name).write_text(text, "utf-8")
    for path in (FOLDER / "kits").glob("*.md"):  # of kits that are shipped no more
        if path.stem not in (*shipped_kits(), "index"):
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
