"""What imports over HTTP tell: begun, through, failed, and what was swept away."""

from __future__ import annotations

from trunkline.telemetry.log import get_logger
from trunkline.telemetry.metrics import counter

_LINES = counter(
    "trunkline_bulk_lines_total",
    "Lines of files sent over HTTP that were read, by what became of them.",
    ("result",),
)
_TAKEN = _LINES.labels("taken")
_REJECTED = _LINES.labels("rejected")
_IMPORTS = counter("trunkline_bulk_imports_total", "Files sent over HTTP, by end.", ("result",))
_DONE = _IMPORTS.labels("done")
_FAILED = _IMPORTS.labels("failed")
_TRIES = counter(
    "trunkline_bulk_failed_tries_total",
    "Tries of an import that ended early, and go on later where they were.",
)


def import_begun(name: str, app: str, kind: str, size_bytes: int, position: int) -> None:
    """Tell that the background took up an import, behind which line."""
    get_logger().info(
        "import_begun", name=name, app=app, kind=kind, size_bytes=size_bytes, position=position
    )


def lines_taken_up(lines: int, rejected: int) -> None:
    """Count lines that were judged and saved."""
    _REJECTED.inc(rejected)
    _TAKEN.inc(max(0, lines - rejected))


def import_done(name: str, app: str, lines: int, accepted: int, rejected: int) -> None:
    """Tell that an import is through; which of its events were known is judged behind it."""
    _DONE.inc()
    get_logger().info(
        "import_done", name=name, app=app, lines=lines, accepted=accepted, rejected=rejected
    )


def import_failed(name: str, app: str, problem: str) -> None:
    """Tell that an import cannot go on at all; whoever ordered it is told the same."""
    _FAILED.inc()
    get_logger().warning("import_failed", name=name, app=app, problem=problem[:500])


def import_put_off(name: str, reason: str, again_seconds: float, error: Exception | None) -> None:
    """Tell that a try ended early; the import goes on later, and loses nothing."""
    _TRIES.inc()
    get_logger().warning(
        "import_put_off",
        name=name,
        reason=reason[:500],
        again_seconds=again_seconds,
        exc_info=error,
    )


def files_swept(spools: int, rejects: int) -> None:
    """Tell of files that nobody needs any more, and that were removed."""
    get_logger().info("import_files_swept", spools=spools, rejects=rejects)


def worker_broke(error: Exception) -> None:
    """Tell of a turn that failed outside any import; the next one is tried."""
    get_logger().error("import_worker_broke", error=f"{type(error).__name__}: {error}"[:300])
