"""`trunkline serve`: everything in one node."""

from __future__ import annotations

import os
from typing import Annotated, Any

import cyclopts

from trunkline.cli._frame import HOME_DEFAULT, CommandError, HomeOption, open_home, read_boot, say
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import Boot
from trunkline.node import open_log, stamp_base
from trunkline.state.home import HomeError, HomeLock
from trunkline.supervisor import Supervisor, free_port, is_listening, split_address
from trunkline.telemetry import log
from trunkline.telemetry import node as telemetry


def command(
    *,
    home: HomeOption = HOME_DEFAULT,
    listen: Annotated[str | None, cyclopts.Parameter(help="HOST:PORT of the ingest API.")] = None,
    console: Annotated[
        str | None, cyclopts.Parameter(help="HOST:PORT of console, admin API and metrics.")
    ] = None,
    workers: Annotated[int | None, cyclopts.Parameter(help="Gateway processes.")] = None,
) -> int:
    """Run a node: gateways, worker and console, until Ctrl-C or SIGTERM.

    Example: trunkline serve --home /var/lib/trunkline --listen 0.0.0.0:8080
    """
    place = open_home(home)
    boot = read_boot(place, _flags(listen, console, workers))
    log.configure("supervisor")
    clock = SystemClock()
    lock = HomeLock(place)
    try:
        addresses = _addresses(boot)
        lock.take(f"pid {os.getpid()} ingest {addresses[0]} console {addresses[1]}", clock)
        _check_free(boot)
    except (HomeError, ValueError) as error:
        raise CommandError(str(error)) from error
    event_log = open_log(place, boot, clock)
    base = stamp_base(event_log, clock)
    event_log.close()
    say(f"Trunkline takes events at {addresses[0]}; operators' port {addresses[1]}")
    telemetry.node_started(str(place.folder), *addresses, boot.gateway.workers)
    return Supervisor(place, boot, clock, base).run(lock)


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


def _addresses(boot: Boot) -> tuple[str, str]:
    return f"http://{boot.gateway.listen}", f"http://{boot.console.listen}"


def _check_free(boot: Boot) -> None:
    for section, address in (("gateway", boot.gateway.listen), ("console", boot.console.listen)):
        if is_listening(*split_address(address)):
            raise CommandError(
                f"{address} is taken by another program; stop it, or give another address "
                f"([{section}] listen, or the flag)"
            )
