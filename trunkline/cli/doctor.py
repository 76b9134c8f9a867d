"""`trunkline doctor`: what is wrong with this home and machine, and what to do."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import apsw
from msgspec import Struct

from trunkline.catalog.key_list import list_keys, tell_leak
from trunkline.cli._ending_params import ending_params
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
from trunkline.cli._import_state import examine_imports
from trunkline.cli._node import read_snapshot
from trunkline.cli.check import catalog_errors
from trunkline.jail.workshop import why_no_jail
from trunkline.kit.addresses import is_listening, split_address
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import Boot
from trunkline.kit.times import format_ms
from trunkline.model.record import ACCEPTED, EVENTS
from trunkline.node import open_log
from trunkline.proof.disk import measure_fsync
from trunkline.reports.erasures import STUCK_MS
from trunkline.reports.letters import list_destinations
from trunkline.state.erasures import read_erasures
from trunkline.state.home import Home, HomeLock
from trunkline.state.profiles import count_missed, read_position, read_profiles

Verdict = Literal["ok", "warning", "problem"]
MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}
FREE_BYTES_MIN = 1_073_741_824
PROFILE_LAG_MAX = 100_000  # events: twenty seconds of the most that one machine takes
YEAR_2024_MS = 1_704_067_200_000


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    about: str
    verdict: Verdict
    text: str


def command(*, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Look at disk, fsync, clock, ports, database, log and destinations; exit 1 on a problem.

    Example: trunkline doctor
    """
    place = open_home(home)
    boot = read_boot(place)
    findings = list(_examine(place, boot))
    if json:
        say_json(findings)
    else:
        for finding in findings:
            say(f"{MARKS[finding.verdict]} {finding.about:<12} {finding.text}")
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0


def _examine(home: Home, boot: Boot) -> Iterator[Finding]:
    lock = HomeLock(home)
    is_running = not lock.try_take("trunkline doctor")
    if not is_running:
        lock.release()
    yield Finding("node", "ok", f"runs: {lock.holder()}" if is_running else "does not run")
    yield _disk(home, boot)
    yield _fsync(home)
    yield _clock()
    yield _jail(boot)
    yield from _ports(boot, is_running)
    yield _key_file(home)
    yield _catalog(home)
    yield from _leaks(home)
    yield from _erasures(home)
    yield from _params(home)
    yield from _log(home, boot)
    yield _profiles(home, boot)
    yield from _destinations(home, boot)
    for verdict, text in examine_imports(home, is_running=is_running):
        yield Finding("imports", verdict, text)


def _disk(home: Home, boot: Boot) -> Finding:
    usage = shutil.disk_usage(home.folder)
    free = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB"
    has_run = any(home.log_folder.glob(f"{ACCEPTED}/*/*.db"))
    if has_run and boot.log.reserve_bytes and not home.reserve_file.exists():
        return Finding(
            "disk", "problem",
            f"{free}; the disk was full and the reserve was let go: events are answered 503 until "
            "there is room. Free some; the node goes on by itself",
        )  # fmt: skip
    if usage.free < FREE_BYTES_MIN:
        return Finding("disk", "warning", f"{free}; make room before events are answered 503")
    return Finding("disk", "ok", free)


def _fsync(home: Home) -> Finding:
    try:
        took = measure_fsync(home.folder, SystemClock())
    except OSError as error:
        return Finding("fsync", "problem", f"cannot write to {home.folder}: {error.strerror}")
    text = (
        f"median {took.median_seconds * 1000:.2f} ms, slowest {took.slowest_seconds * 1000:.1f} ms"
    )
    if took.is_too_fast:
        return Finding(
            "fsync", "warning",
            f"{text}: too fast to be true. A cache or a RAM disk says yes before it is safe; "
            "a power cut may lose acknowledged events",
        )  # fmt: skip
    return Finding("fsync", "ok", text)


def _clock() -> Finding:
    if SystemClock().now_ms() < YEAR_2024_MS:
        return Finding("clock", "problem", "the clock stands before 2024; set it, or run NTP")
    return Finding("clock", "ok", "plausible")


def _jail(boot: Boot) -> Finding:
    why = asyncio.run(why_no_jail(boot.jail, SystemClock()))
    if why:
        return Finding("jail", "warning", f"code in playbooks cannot run here: {why}")
    return Finding("jail", "ok", "code in playbooks runs in jailed processes")


def _ports(boot: Boot, is_running: bool) -> Iterator[Finding]:
    for section, address in (("gateway", boot.gateway.listen), ("console", boot.console.listen)):
        try:
            taken = is_listening(*split_address(address))
        except ValueError as error:
            yield Finding("ports", "problem", f"[{section}] listen: {error}")
            continue
        if taken and not is_running:
            yield Finding("ports", "problem", f"{address} is taken by another program")
        else:
            yield Finding("ports", "ok", f"{address} {'in use by the node' if taken else 'free'}")


def _key_file(home: Home) -> Finding:
    if not home.key_file.exists():
        return Finding("secrets", "ok", "no key file yet; the first apply makes it")
    mode = stat.S_IMODE(home.key_file.stat().st_mode)
    if mode & 0o077:
        return Finding("secrets", "problem", f"{home.key_file} can be read by others; chmod 600 it")
    if home.key_file.stat().st_uid != os.getuid():
        return Finding("secrets", "warning", f"{home.key_file} belongs to another user")
    return Finding("secrets", "ok", "key file readable by its owner only")


def _catalog(home: Home) -> Finding:
    try:
        snapshot = read_snapshot(home)
    except CommandError as error:
        return Finding("catalog", "problem", str(error))
    count = sum(len(app.destinations) for app in snapshot.apps)
    return Finding(
        "catalog", "ok",
        f"snapshot {snapshot.version}: {len(snapshot.apps)} apps, {count} destinations",
    )  # fmt: skip


def _leaks(home: Home) -> Iterator[Finding]:
    """Tell of Server keys that a browser sent."""
    try:
        with catalog_errors():
            lines = list_keys(home, SystemClock())
    except CommandError:
        return  # told of the catalog already
    for line in lines:
        if line.leak is not None:
            where = f"{line.app_name}/{line.name}"
            yield Finding("keys", "warning", f"{where} {tell_leak(line)}")


def _erasures(home: Home) -> Iterator[Finding]:
    """Tell of erasures that do not come to their end."""
    with read_erasures(home) as erasures:
        rows = [] if erasures is None else erasures.open_since(SystemClock().now_ms() - STUCK_MS)
    for row in rows:
        why = row.problem or "no node runs, or it has not come to it"
        yield Finding(
            "erasure", "problem",
            f"{row.id} was ordered at {format_ms(row.ordered_ms)} and is not done: {why}; see "
            f"`trunkline erase --show {row.id}`",
        )  # fmt: skip


def _params(home: Home) -> Iterator[Finding]:
    """Tell of what vendors are about to end."""
    try:
        snapshot = read_snapshot(home)
    except CommandError:
        return
    now_ms = SystemClock().now_ms()
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    for sentence in ending_params(snapshot, today):
        yield Finding("params", "warning", sentence)


def _log(home: Home, boot: Boot) -> Iterator[Finding]:
    log = open_log(home, boot, SystemClock())
    try:
        for topic in (ACCEPTED, EVENTS):
            size = log.size_bytes(topic) / 1e6
            records = sum(log.ends(topic).values()) - sum(log.begins(topic).values())
            yield Finding("log", "ok", f"{topic}: {records} records, {size:.1f} MB")
    finally:
        log.close()


def _profiles(home: Home, boot: Boot) -> Finding:
    log = open_log(home, boot, SystemClock())
    try:
        with read_profiles(home) as store:
            found = None if store is None else (read_position(store.db), count_missed(store.db))
        end = log.ends(EVENTS).get(0, 0)
    except apsw.Error as error:
        return Finding(
            "profiles", "problem",
            f"{home.profiles_file} cannot be read ({error}). Bring it back from a backup, or move "
            "it away: it is made again from the events that are kept; merges by hand are lost",
        )  # fmt: skip
    finally:
        log.close()
    if found is None:
        return Finding("profiles", "ok", "none yet; the node makes them from events")
    position, missed = found
    lag = max(0, end - (position or 0))
    gone = f"; {missed} events were removed unread" if missed else ""
    if lag > PROFILE_LAG_MAX:
        return Finding(
            "profiles", "warning",
            f"{lag} events behind{gone}; the node's log says why (profiles_batch_failed), or it "
            "has too much to do",
        )  # fmt: skip
    return Finding("profiles", "warning" if missed else "ok", f"{lag} events behind{gone}")


def _destinations(home: Home, boot: Boot) -> Iterator[Finding]:
    log = open_log(home, boot, SystemClock())
    try:
        states = list_destinations(home, log, read_snapshot(home))
    except CommandError:
        return
    finally:
        log.close()
    for state in states:
        if state.state == "parked":
            yield Finding(
                "destination", "warning",
                f"{state.app}/{state.id} is parked since {state.since}: {state.reason}; "
                f"{state.lag} events wait. Mend it and apply, or `trunkline destination probe`",
            )  # fmt: skip
