"""What installing a client library needs, whatever its language: programs, a place, a reason."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".cache/clients"
INSTALL_SECONDS_MAX = 300


class Unavailable(Exception):
    """A library cannot be installed here; the message says why."""


def find_program(name: str, needed: str) -> str:
    """Return the path of a program; `needed` is what has to be installed to have it.

    Raises `Unavailable`.
    """
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"{name} is missing; install {needed}")
    return path


def run(command: list[str], folder: Path = ROOT) -> str:
    """Run a command and return what it said. Raises `Unavailable`."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{' '.join(command[:4])}: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise Unavailable(f"{' '.join(command[:4])} failed: {said}")
    return done.stdout.strip()
