"""Redis, NATS and an S3 server for the tests: found, or installed where that is allowed.

NATS and the Versity gateway (S3 over a folder) are built by Go at the versions below, into
`.cache/servers`; Redis is the system's own. Nothing is started.
`python -m tests.support.servers.install_go` installs what is missing, as `make test` does.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.servers.install import (
    CACHE,
    Unavailable,
    find_program,
    install_packages,
    main,
    run,
)

NATS = ("github.com/nats-io/nats-server/v2", "v2.15.2")
VERSITY = ("github.com/versity/versitygw/cmd/versitygw", "v1.8.0")
BUILD_SECONDS_MAX = 900


def nats_program() -> Path:
    """Return the program `nats-server`, built once. Raises `Unavailable`."""
    return build("nats-server", *NATS)


def versity_program() -> Path:
    """Return the program `versitygw`, built once. Raises `Unavailable`."""
    return build("versitygw", *VERSITY)


def redis_program() -> Path:
    """Return the program `redis-server`. Raises `Unavailable`."""
    if shutil.which("redis-server") is None:
        install_packages("redis-server")
    return Path(find_program("redis-server", "Redis"))


def build(name: str, package: str, version: str) -> Path:
    """Return a program of a Go package, built once. Raises `Unavailable`."""
    program = CACHE / f"{name}-{version}" / name
    if program.exists():
        return program
    fresh = CACHE / f"{name}-{version}.{os.getpid()}"
    environment = {**os.environ, "GOBIN": str(fresh), "CGO_ENABLED": "0"}
    try:
        command = [find_program("go", "Go"), "install", f"{package}@{version}"]
        run(command, environment, BUILD_SECONDS_MAX)
        # Renamed when it is whole: of two test processes that both built it, one wins.
        program.parent.mkdir(parents=True, exist_ok=True)
        (fresh / name).replace(program)
    except OSError as error:
        raise Unavailable(f"{name} was built and cannot be kept: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return program


INSTALLERS: dict[str, Callable[[], object]] = {
    "nats": nats_program,
    "s3": versity_program,
    "redis": redis_program,
}


if __name__ == "__main__":
    sys.exit(main(INSTALLERS))
