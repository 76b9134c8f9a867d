"""`trunkline prove`: kill a node under load and count what was lost."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Annotated

import cyclopts
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trunkline.cli._frame import HOME_DEFAULT, CommandError, HomeOption, JsonOption, say, say_json
from trunkline.kit.clock import SystemClock
from trunkline.proof.nodes import NodeError
from trunkline.proof.prove import Proof, prove


def command(
    *,
    kills: Annotated[int, cyclopts.Parameter(help="How often to kill it.")] = 20,
    seconds: Annotated[float, cyclopts.Parameter(help="About how long to load it.")] = 40.0,
    seed: Annotated[int | None, cyclopts.Parameter(help="Repeat the same moments.")] = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Start a real node on this disk, load it, kill all its processes at once, again and again.

    Prints kills, acknowledged, delivered, lost, duplicates and the latency of the commit. It proves
    crashes of processes, not power loss. Exit 1 when anything was lost.

    Example: trunkline prove --kills 100 --seconds 200
    """
    if kills < 1 or seconds <= 0:
        raise CommandError("--kills and --seconds must be above 0")
    folder = home.absolute() / f"prove-{os.getpid()}"
    bar = Progress(
        TextColumn("killing a node under load"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), console=Console(stderr=True),
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=kills)
        try:
            proof = asyncio.run(
                prove(
                    folder, SystemClock(), random.Random(seed), kills, seconds,
                    lambda done: bar.update(task, completed=done),
                )
            )  # fmt: skip
        except NodeError as error:
            raise CommandError(f"{error}; what it kept is in {folder}") from error
    if json:
        say_json(proof)
    else:
        _print(proof)
    if proof.lost and not json:
        say(f"What was lost can be looked for in {folder}")
    return 1 if proof.lost else 0


def _print(proof: Proof) -> None:
    say(f"kills          {proof.kills}")
    say(f"acknowledged   {proof.acknowledged}")
    say(f"delivered      {proof.delivered}")
    say(f"lost           {proof.lost}")
    say(f"duplicates     {proof.duplicates} (at least once is the promise)")
    say(f"commit         median {proof.commit_ms_median} ms, p99 {proof.commit_ms_p99} ms")
    say(f"restart        median {proof.restart_ms_median:.0f} ms until ready")
    say(f"This proves {proof.proves}.")
