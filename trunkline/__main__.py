"""The command `trunkline`."""

from __future__ import annotations

import logging
import os
import sys

import cyclopts

from trunkline.cli import build
from trunkline.cli._frame import CommandError
from trunkline.telemetry.log import configure


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; return its exit code."""
    configure("command", level=logging.WARNING)
    try:
        given = sys.argv[1:] if arguments is None else arguments
        asks_for_all = not given or given[0] in ("--help", "-h")
        result = build(is_whole=asks_for_all)(given, exit_on_error=False, print_error=True)
    except cyclopts.CycloptsError:
        return 2
    except CommandError as error:
        print(f"trunkline: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left (`| head`); say nothing at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
