"""`trunkline serve`: everything in one node."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Annotated, Any

import cyclopts

from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    read_boot,
    say,
    say_json,
)
from trunkline.kit.addresses import ListenError, check_listen, free_port, split_address
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import Boot
from trunkline.state.home import Home, HomeError, HomeLock


def command(
    *,
    home: HomeOption = HOME_DEFAULT,
    listen: Annotated[str | None, cyclopts.Parameter(help="HOST:PORT of the ingest API.")] = None,
    console: Annotated[
        str | None, cyclopts.Parameter(help="HOST:PORT of console, admin API and metrics.")
    ] = None,
    workers: Annotated[int | None, cyclopts.Parameter(help="Gateway processes.")] = None,
    json: JsonOption = False,
) -> int:
    """Run a node: gateways, worker and console, until Ctrl-C or SIGTERM.

    Example: trunkline serve --home /var/lib/trunkline --listen 0.0.0.0:8080
    """
    place = open_home(home)
    boot = read_boot(place, _flags(listen, console, workers))
    lock = HomeLock(place)
    try:
        _check_free(place, boot, lock)
    except (HomeError, ListenError, ValueError) as error:
        raise CommandError(str(error)) from error
    ingest, operators = f"http://{boot.gateway.listen}", f"http://{boot.console.listen}"
    if json:
        say_json({"ingest": ingest, "console": operators, "home": str(place.folder)})
    else:
        say(f"Trunkline takes events at {ingest}")
        say(f"and shows itself to operators at {operators}")
    return _become_supervisor(place, boot, lock)


def _flags(listen: str | None, console: str | None, workers: int | None) -> dict[Any, Any]:
    given = {
        ("gateway", "listen"): listen and _settle_port(listen),
        ("console", "listen"): console and _settle_port(console),
        ("gateway", "workers"): workers,
    }
    return {name: value for name, value in given.items() if value is not None}


def _settle_port(address: str) -> str:
    """Replace port 0 by one that is free, so that every process gets the same."""
    try:
        host, port = split_address(address)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return address if port else f"{address.rpartition(':')[0]}:{free_port(host)}"


def _check_free(home: Home, boot: Boot, lock: HomeLock) -> None:
    listen, console = boot.gateway.listen, boot.console.listen
    addresses = [split_address(listen), split_address(console)]
    holder = f"pid {os.getpid()} ingest http://{listen} console http://{console}"
    lock.take(holder, SystemClock())
    for address in addresses:
        check_listen(*address)
    # Bells and metrics of a node that is gone; nothing in there outlives a start.
    shutil.rmtree(home.run_folder, ignore_errors=True)
    home.metrics_folder.mkdir(parents=True)


def _become_supervisor(home: Home, boot: Boot, lock: HomeLock) -> int:
    """Go on as the supervisor, in this very process.

    A fresh interpreter, because the metrics library wants its folder in the environment before it
    is imported; and this command has imported little, so that costs little.
    """
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(home.metrics_folder),
        # Flags win over the settings file, so the node is told what they came to.
        "TRUNKLINE_GATEWAY__LISTEN": boot.gateway.listen,
        "TRUNKLINE_GATEWAY__WORKERS": str(boot.gateway.workers),
        "TRUNKLINE_CONSOLE__LISTEN": boot.console.listen,
    }
    os.set_inheritable(lock.fileno(), True)
    arguments = [sys.executable, "-m", "trunkline.supervisor", str(home.folder)]
    os.execve(sys.executable, arguments, environment)
