"""What `playbook shadow` tells of the shadows that ran: counts, and some events that differ."""

from __future__ import annotations

from trunkline.cli._frame import say, say_json
from trunkline.model.snapshot import Destination
from trunkline.reports.shadow import ShadowCounts, read_shadow
from trunkline.state.home import Home


def say_counts(home: Home, destination: Destination, json: bool) -> int:
    """Print what the shadows of a destination came to, the newest revision first."""
    found = read_shadow(home, destination.uid)
    running = destination.shadow_revision or None
    if json:
        say_json({"running": running, "revisions": found})
        return 0
    say(f"revision {running} runs in the shadow" if running else "no shadow runs")
    for counts in found:
        _say(counts)
    return 0


def _say(counts: ShadowCounts) -> None:
    say(
        f"revision {counts.revision}: {counts.same} same, {counts.different} different, "
        f"{counts.filtered_differently} filtered differently, {counts.failed} failed, "
        f"{counts.skipped} skipped"
    )
    for sample in counts.samples:
        say(f"  {sample.message_id}  {sample.kind.replace('_', ' ')}  {sample.detail}".rstrip())
