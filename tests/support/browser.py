"""A real browser for the tests: the system's Chromium, found, or installed where that is allowed.

`python -m tests.support.browser` installs it where it is missing, as `make` does.
"""

from __future__ import annotations

import os
import shutil
import sys

from tests.support.installing import Unavailable
from tests.support.servers.install import Unavailable as NoPackage
from tests.support.servers.install import install_packages

PROGRAM = "chromium"


def find_browser() -> str:
    """Return the path of Chromium. Raises `Unavailable`."""
    if shutil.which(PROGRAM) is None:
        try:
            install_packages(PROGRAM)
        except NoPackage as error:
            raise Unavailable(f"{PROGRAM} is missing: {error}") from error
    path = shutil.which(PROGRAM)
    if path is None:
        raise Unavailable(f"{PROGRAM} is installed, but not where programs are looked for")
    return path


def main() -> int:
    """Install it; say why it could not be. Only under CI is that a failure."""
    try:
        find_browser()
    except Unavailable as error:
        print(f"pages cannot be tested here: {error}", file=sys.stderr)
        return 1 if os.environ.get("CI") == "true" else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
