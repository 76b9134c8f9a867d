"""The command `trunkline`."""

from __future__ import annotations

import logging
import os
import sys

import apsw
import cyclopts

from trunkline.cli import build, list_verbs
from trunkline.cli._frame import CommandError
from trunkline.state.db import StateVersionError
from trunkline.telemetry.log import configure


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; return its exit code."""
    configure("command", level=logging.WARNING)
    given = sys.argv[1:] if arguments is None else arguments
    try:
        asks_for_all = not given or given[0] in ("--help", "-h")
        result = build(is_whole=asks_for_all)(given, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        verb = f" {given[0]}" if given[0] in list_verbs() else ""
        return fail(f"{error} See `trunkline{verb} --help`.", 2)
    except CommandError as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left (`| head`); say nothing at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except apsw.Error as error:
        return fail(
            f"a file of the home cannot be used ({error}); see `trunkline doctor`, or bring the "
            "home back from the backup"
        )
    except StateVersionError as error:
        return fail(error)
    return result if isinstance(result, int) else 0


def fail(why: object, code: int = 1) -> int:
    """Say on standard error, in one line, why a command failed; return its exit code.

    Problems that it names one by one stand below that, each on its own line.
    """
    lines = (line.strip() for line in str(why).splitlines())
    print(f"trunkline: {'; '.join(line for line in lines if line)}", file=sys.stderr)
    for problem in why.problems if isinstance(why, CommandError) else ():
        print(f"  {problem}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
