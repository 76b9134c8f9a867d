"""What the supervisor and the processes tell."""

from __future__ import annotations

from trunkline.telemetry.log import get_logger


def node_started(home: str, ingest: str, console: str, workers: int) -> None:
    """A node runs."""
    get_logger().info("node_started", home=home, ingest=ingest, console=console, gateways=workers)


def node_stopped() -> None:
    """A node has stopped, cleanly."""
    get_logger().info("node_stopped")


def process_ready(process: str) -> None:
    """A process of the node does its work."""
    get_logger().info("process_ready", name=process)


def process_died(process: str, code: int | None) -> None:
    """A process ended by itself; it is started again."""
    get_logger().error("process_died", name=process, exit_code=code)


def process_killed(process: str) -> None:
    """A process did not stop in time and was killed. Nothing acknowledged is lost by that."""
    get_logger().warning("process_killed", name=process)


def metrics_space_missing(process: str, error: OSError) -> None:
    """The disk has no room for a process's metrics: the process may die until there is."""
    get_logger().error("metrics_space_missing", name=process, error=str(error))
