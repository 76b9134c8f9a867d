"""Apache Kafka, PostgreSQL and RabbitMQ for the tests: found, or installed where that is allowed.

Kafka's jars come by Maven into `.cache/servers`, as `kafka.xml` pins them. PostgreSQL and RabbitMQ
are the system's own, and are installed where this runs as root on a Debian. Nothing is started.
`python -m tests.support.servers.install` installs what is missing, as `make test` does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
CACHE = ROOT / ".cache/servers"
KAFKA_POM = Path(__file__).parent / "kafka.xml"
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
INSTALL_SECONDS_MAX = 300
JAVA_MAJOR_MIN = 17
RABBITMQ_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
POSTGRES_FOLDERS = Path("/usr/lib/postgresql")


class Unavailable(Exception):
    """A server cannot be installed here; the message says why."""


def kafka_jars() -> Path:
    """Return the folder of the broker's jars, installed once. Raises `Unavailable`."""
    java()
    digest = hashlib.sha256(KAFKA_POM.read_bytes()).hexdigest()[:8]
    folder = CACHE / f"kafka-{digest}"
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    fresh = CACHE / f"kafka-{digest}.{os.getpid()}"
    maven = [find_program("mvn", "Maven"), "-q", "-B", "-f", str(KAFKA_POM)]
    try:
        run([*maven, COPY_JARS, "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"])
        # Renamed when it is whole: of two test processes that both installed it, one wins.
        if not folder.exists():
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def java() -> str:
    """Return the program `java`, where it is new enough. Raises `Unavailable`."""
    program = find_program("java", f"Java {JAVA_MAJOR_MIN} or later")
    version = run([program, "--version"]).split()[1].partition(".")[0]
    if int(version) < JAVA_MAJOR_MIN:
        raise Unavailable(f"Java {JAVA_MAJOR_MIN} or later is needed; {program} is {version}")
    return program


def postgres_programs() -> Path:
    """Return the folder that holds `initdb` and `postgres`. Raises `Unavailable`."""
    if _postgres_folder() is None:
        install_packages("postgresql")
    folder = _postgres_folder()
    if folder is None:
        raise Unavailable(f"PostgreSQL is installed but not below {POSTGRES_FOLDERS}")
    return folder


def rabbitmq_script() -> Path:
    """Return the script that starts RabbitMQ in the foreground. Raises `Unavailable`."""
    if not RABBITMQ_SCRIPT.exists():
        install_packages("rabbitmq-server")
    if not RABBITMQ_SCRIPT.exists():
        raise Unavailable(f"RabbitMQ is installed but not as {RABBITMQ_SCRIPT}")
    find_program("epmd", "Erlang")
    return RABBITMQ_SCRIPT


INSTALLERS: dict[str, Callable[[], object]] = {
    "kafka": kafka_jars,
    "postgres": postgres_programs,
    "rabbitmq": rabbitmq_script,
}


def require(name: str, installers: dict[str, Callable[[], object]] = INSTALLERS) -> None:
    """Skip the test that asks where a server cannot be had; under CI that is a failure."""
    try:
        installers[name]()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{name} cannot be run here: {error}")


def install_packages(*names: str) -> None:
    """Install packages of the system, without what they recommend. Raises `Unavailable`."""
    if os.geteuid() != 0:
        raise Unavailable(f"install {' '.join(names)}, or run this as root")
    apt = find_program("apt-get", "a Debian system")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run([apt, "-qq", "update"], quiet)
    run([apt, "-qq", "install", "-y", "--no-install-recommends", *names], quiet)


def find_program(name: str, what: str) -> str:
    """Return the path of a program. Raises `Unavailable`."""
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"{name} is missing; install {what}")
    return path


def run(
    command: list[str],
    environment: dict[str, str] | None = None,
    seconds_max: int = INSTALL_SECONDS_MAX,
) -> str:
    """Run a command and return what it said. Raises `Unavailable`."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds_max, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{' '.join(command[:4])}: {error}") from error
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:4])} failed: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout.strip()


def _postgres_folder() -> Path | None:
    found = [path.parent for path in POSTGRES_FOLDERS.glob("*/bin/postgres")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def main(installers: dict[str, Callable[[], object]] = INSTALLERS) -> int:
    """Install everything; say what could not be. Only under CI is that a failure."""
    missing = 0
    for name, install in installers.items():
        try:
            install()
        except Unavailable as error:
            missing += 1
            print(f"{name} cannot be tested here: {error}", file=sys.stderr)
    return 1 if missing and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
