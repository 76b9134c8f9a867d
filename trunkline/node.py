"""The whole path, wired in one function. Read this first.

`wire` builds what a process runs: a gateway process has the first line of the path, the worker the
other two, the background process what goes on beside it; a test or the simulator all in one
process. Nothing else in Trunkline knows both an engine and a component: here a kind is looked up on
its shelf and handed to the engine that uses it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

from msgspec import Struct

import trunkline.destinations
import trunkline.eventlogs
import trunkline.protocols
from trunkline.bulk.worker import ImportWorker
from trunkline.catalog.follow import SnapshotFollower
from trunkline.desk.erasures import ErasureDesk
from trunkline.desk.events import EventDesk
from trunkline.desk.front import FrontDesk
from trunkline.desk.imports import ImportDesk
from trunkline.desk.users import Users
from trunkline.erasure.engine import Eraser
from trunkline.forwarder.engine import Forwarder
from trunkline.forwarder.http import HttpSender
from trunkline.gateway.engine import Gateway
from trunkline.jail.workshop import JailWorkshop
from trunkline.kit.clock import Clock, SystemClock
from trunkline.kit.desk import (
    ErasureAsked,
    ErasureOrdered,
    EventAsked,
    ImportAsked,
    ImportOrdered,
    UserAsked,
)
from trunkline.kit.destination import Channel, Destination
from trunkline.kit.eventlog import EventLog
from trunkline.kit.protocol import Protocol
from trunkline.kit.settings import Boot
from trunkline.kit.shaping import Workshop
from trunkline.model.record import ACCEPTED, EVENTS
from trunkline.naming.engine import EventNaming
from trunkline.pipeline.engine import Pipeline
from trunkline.profiles.engine import Profiles
from trunkline.state.home import Home

T = TypeVar("T")
Stamp = Callable[[], int]


class Path(Struct, frozen=True):
    """The parts of a node that one process runs; what it does not run is None."""

    log: EventLog
    catalog: SnapshotFollower
    gateway: Gateway | None
    pipeline: Pipeline | None
    forwarder: Forwarder | None
    eraser: Eraser | None
    profiles: Profiles | None
    importer: ImportWorker | None
    naming: EventNaming | None


def wire(
    home: Home,
    boot: Boot,
    clock: Clock,
    stamp: Stamp,
    *,
    gateway: int | None = None,
    worker: bool = False,
    background: bool = False,
) -> Path:
    """Wire what a process runs: gateway number `gateway`, the worker, the background, or all."""
    log = open_log(home, boot, clock, stamp)
    catalog = SnapshotFollower(home, clock)
    protocols = protocol_shelf()
    path_gateway = path_pipeline = path_forwarder = path_eraser = None
    beside = (None, None, None)
    if gateway is not None:
        # senders ──► gateway ──► ACCEPTED: a yes leaves when the append returned.
        path_gateway = Gateway(
            protocols=tuple(protocols.values()),
            appender=log.appender(ACCEPTED, gateway),
            snapshot=catalog.current,
            settings=boot.gateway,
            clock=clock,
            stamp=stamp,
            key_uses_file=home.key_uses_folder / f"gateway-{gateway}.json",
            desk=_front_desk(home, log, catalog, clock),
            spool_folder=home.imports_folder,
        )
    if worker:
        # ACCEPTED ──► pipeline ──► EVENTS: each event once, in its canonical form.
        path_pipeline = Pipeline(
            log=log,
            protocols=protocols,
            snapshot=catalog.current,
            home=home,
            settings=boot.pipeline,
            keep_days=boot.log.keep_days,
            clock=clock,
        )
        # EVENTS ──► forwarder ──► the world: every destination at its own pace.
        path_forwarder = Forwarder(
            log=log,
            kinds=destination_kinds(),
            sender=HttpSender(
                clock, allow_private_addresses=boot.forwarder.allow_private_addresses
            ),
            snapshot=catalog.current,
            home=home,
            settings=boot.forwarder,
            keep_days=boot.log.keep_days,
            log_bytes_max=boot.log.bytes_max,
            clock=clock,
            random=random.Random(),
            workshop=JailWorkshop(boot.jail, clock),
        )
        path_eraser = _wire_eraser(home, log, catalog, clock, path_pipeline, path_forwarder)
    if background:
        beside = _wire_background(home, log, catalog, clock, stamp)
    return Path(log, catalog, path_gateway, path_pipeline, path_forwarder, path_eraser, *beside)


def _wire_eraser(
    home: Home,
    log: EventLog,
    catalog: SnapshotFollower,
    clock: Clock,
    pipeline: Pipeline,
    forwarder: Forwarder,
) -> Eraser:
    """Wire who is to be forgotten, everywhere: asked of those who keep something."""
    return Eraser(
        home=home,
        log=log,
        clock=clock,
        snapshot=catalog.current,
        forget_deliveries=forwarder.erase,
        forget_refused=pipeline.erase,
        wipes=(forwarder.wipe, pipeline.wipe),
    )


def _wire_background(
    home: Home, log: EventLog, catalog: SnapshotFollower, clock: Clock, stamp: Stamp
) -> tuple[Profiles, ImportWorker, EventNaming]:
    """Wire what may wait, beside the path."""
    snapshot = catalog.current
    # EVENTS ──► profiles: who is who.
    profiles = Profiles(log=log, snapshot=snapshot, home=home, clock=clock)
    # Files that came over HTTP ──► ACCEPTED, in a partition that imports have for themselves.
    importer = ImportWorker(
        home=home, log=log, protocols=protocol_shelf(), snapshot=snapshot, clock=clock, stamp=stamp
    )
    # EVENTS ──► the catalog: what senders name before anybody defined it.
    naming = EventNaming(home=home, log=log, snapshot=snapshot, clock=clock)
    return profiles, importer, naming


def _front_desk(home: Home, log: EventLog, catalog: SnapshotFollower, clock: Clock) -> FrontDesk:
    """Return who answers what senders ask beside storing."""
    imports = ImportDesk(home, clock)
    erasures = ErasureDesk(home, clock, catalog.current)
    return FrontDesk(
        {
            ImportOrdered: imports.order,
            ImportAsked: imports.tell,
            UserAsked: Users(home).answer,
            EventAsked: EventDesk(home, log, catalog.current, destination_kinds()).answer,
            ErasureOrdered: erasures.order,
            ErasureAsked: erasures.tell,
        }
    )


def open_log(home: Home, boot: Boot, clock: Clock, stamp: Stamp | None = None) -> EventLog:
    """Open the event log of a home; without `stamp` for reading only."""
    # The constructors of a shelf's classes are alike by convention, which types cannot say.
    kinds: dict[str, Callable[..., EventLog]] = {**_shelf(trunkline.eventlogs, EventLog)}
    if boot.log.kind not in kinds:
        raise ValueError(f"[log] kind is {boot.log.kind!r}; expected one of {sorted(kinds)}")
    settings = boot.log
    return kinds[settings.kind](
        home.log_folder,
        clock,
        segment_bytes=settings.segment_bytes,
        segment_seconds=settings.segment_seconds,
        reserve_bytes=settings.reserve_bytes,
        stamp_now=stamp,
    )


@cache
def protocol_shelf() -> dict[str, Protocol]:
    """Return one of each protocol, by name."""
    makers: dict[str, Callable[[], Protocol]] = {**_shelf(trunkline.protocols, Protocol, "name")}
    return {name: make() for name, make in makers.items()}


@cache
def destination_kinds() -> dict[str, type[Destination[Any]] | type[Channel[Any]]]:
    """Return every kind of destination, by its name."""
    http = _shelf(trunkline.destinations, Destination)
    return {**http, **_shelf(trunkline.destinations, Channel)}


def workshop_maker(boot: Boot) -> Callable[[], Workshop]:
    """Return what makes a jail for commands, on the event loop that it is used on."""
    return lambda: JailWorkshop(boot.jail, SystemClock())


def stamp_from(base: int, clock: Clock) -> Stamp:
    """Return the stamp function of a node: nanoseconds that all its processes share."""
    return lambda: base + int(clock.monotonic() * 1e9)


def stamp_base(log: EventLog, clock: Clock) -> int:
    """Return a base from which stamps go on where the log's last ones ended, whatever the clock."""
    last = clock.now_ms() * 1_000_000
    for topic in (ACCEPTED, EVENTS):
        for partition, end in log.ends(topic).items():
            fetched = log.fetch(topic, partition, end - 1)
            last = max(last, fetched.record.stamp + 1 if fetched else 0)
    return last - int(clock.monotonic() * 1e9)


def _shelf(package: ModuleType, contract: type[T], attribute: str = "kind") -> dict[str, type[T]]:
    """Find the components of a shelf: the folder is the list."""
    found: dict[str, type[T]] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, contract) and cls.__module__ == module.__name__:
                name = getattr(cls, attribute, None)
                if isinstance(name, str) and not inspect.isabstract(cls):
                    found[name] = cls
    return found
