"""Boot settings: what a node must know before it can read its catalog.

`trunkline.toml` in the home, overridden by `TRUNKLINE_<SECTION>__<NAME>` in the environment,
overridden by flags. Everything is checked at once, and every complaint names its place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct


class SettingsError(Exception):
    """The boot settings are wrong; the message lists everything that is, each with its place."""


class GatewaySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What takes events in."""

    listen: Annotated[str, Meta(description="Address and port of the ingest API.")] = (
        "127.0.0.1:8080"
    )
    workers: Annotated[
        int, Meta(ge=1, le=64, description="Gateway processes. One fills a core; add one a core.")
    ] = 1
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and CIDR ranges whose X-Forwarded-For is believed. Empty: "
            "the address of the connection is the caller's."
        ),
    ] = ()
    inflight_bytes_max: Annotated[
        int,
        Meta(
            ge=1_048_576,
            description="Bytes of request bodies that one gateway process holds at a time. "
            "Past it a request is answered 503 with Retry-After.",
        ),
    ] = 134_217_728
    inflight_requests_max: Annotated[
        int,
        Meta(
            ge=16,
            description="Requests that one gateway process works on at a time. Past it a request "
            "is answered 503 with Retry-After.",
        ),
    ] = 8192
    body_seconds_max: Annotated[
        float,
        Meta(gt=0, description="How long a client may take to send a body, in seconds."),
    ] = 30.0
    import_bytes_max: Annotated[
        int,
        Meta(
            ge=1_048_576,
            description="Bytes of one file that POST /v1/bulk takes, as sent. It waits on the "
            "home's disk until it is taken in.",
        ),
    ] = 10_737_418_240


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The event log."""

    kind: Annotated[str, Meta(description="Implementation: sqlite, or memory for tests.")] = (
        "sqlite"
    )
    keep_days: Annotated[
        float, Meta(gt=0, description="How long events and attempts are kept, in days.")
    ] = 7.0
    bytes_max: Annotated[
        int | None,
        Meta(
            description="Bytes that EVENTS may take on disk beside what destinations still need. "
            "Left out: no limit but time."
        ),
    ] = None
    segment_bytes: Annotated[
        int, Meta(ge=65_536, description="A segment file is closed at this size, in bytes.")
    ] = 268_435_456
    segment_seconds: Annotated[
        float, Meta(gt=0, description="A segment file is closed at this age, in seconds.")
    ] = 3600.0
    reserve_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Size of the file that is let go when the disk is full, so that positions "
            "can still be saved.",
        ),
    ] = 67_108_864


class PipelineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What checks and shapes events."""

    batch_events_max: Annotated[
        int, Meta(ge=1, le=10_000, description="Events that are taken through in one step.")
    ] = 1000
    dedupe_ids_max: Annotated[
        int,
        Meta(ge=1000, description="Ids the index of duplicates holds; more shorten its window."),
    ] = 100_000_000
    refused_max: Annotated[
        int, Meta(ge=1, description="Refused events kept for each app; more are counted only.")
    ] = 10_000


class ForwarderSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What delivers."""

    allow_private_addresses: Annotated[
        bool,
        Meta(
            description="Let every destination reach loopback and private addresses. Off: only "
            "those whose own setting allows it."
        ),
    ] = False
    waiting_seconds: Annotated[
        float,
        Meta(gt=0, description="Retried this long, in seconds, an event moves to a waiting lane."),
    ] = 60.0
    lane_events_max: Annotated[
        int, Meta(ge=1, description="Events that may wait behind one user.")
    ] = 1000
    waiting_bytes_max: Annotated[
        int, Meta(ge=1_048_576, description="Bytes that may wait for one destination.")
    ] = 1_073_741_824
    readers_max: Annotated[
        int, Meta(ge=1, description="Destinations that catch up by themselves at a time.")
    ] = 16
    fuse_rejections: Annotated[
        int,
        Meta(ge=2, description="Rejections with no delivery between that park a destination."),
    ] = 20


class JailSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What operators' code may use: each destination's runs in a jailed process of its own."""

    batch_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=4,
            description="How long code may work on a batch of up to 20 events, in seconds. Past it "
            "its process is killed, and the events are tried one by one.",
        ),
    ] = 0.25
    load_seconds: Annotated[
        float, Meta(gt=0, le=60, description="How long code may take to load, in seconds.")
    ] = 2.0
    heap_bytes: Annotated[
        int,
        Meta(
            ge=4_194_304,
            le=1_073_741_824,
            description="Memory of a Lua or JavaScript world, bytes.",
        ),
    ] = 67_108_864
    address_space_bytes: Annotated[
        int,
        Meta(
            ge=268_435_456,
            description="Address space of a jailed process, in bytes: what Python may use.",
        ),
    ] = 536_870_912
    reply_bytes_max: Annotated[
        int,
        Meta(
            ge=65_536,
            le=67_108_864,
            description="Bytes that a jailed process may answer at a time.",
        ),
    ] = 4_194_304
    idle_seconds: Annotated[
        float, Meta(gt=0, description="A jailed process without work ends after this, in seconds.")
    ] = 60.0
    kills_per_minute_max: Annotated[
        int,
        Meta(
            ge=1,
            description="Killed this often within a minute, code is paused for a minute; its "
            "events wait.",
        ),
    ] = 3
    workers_max: Annotated[
        int,
        Meta(
            ge=1,
            le=4096,
            description="Jailed processes that may live at a time. Past it the one that rested "
            "longest makes room.",
        ),
    ] = 64


class ConsoleSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The operator's port."""

    listen: Annotated[str, Meta(description="Address and port of console, admin API, metrics.")] = (
        "127.0.0.1:8081"
    )
    metrics_token: Annotated[
        str | None,
        Meta(description="Bearer token for /metrics. Needed when the port is not on loopback."),
    ] = None


class Boot(Struct, frozen=True, forbid_unknown_fields=True):
    """All boot settings."""

    gateway: GatewaySettings = GatewaySettings()
    log: LogSettings = LogSettings()
    pipeline: PipelineSettings = PipelineSettings()
    forwarder: ForwarderSettings = ForwarderSettings()
    jail: JailSettings = JailSettings()
    console: ConsoleSettings = ConsoleSettings()


class Setting(Struct, frozen=True):
    """One setting, for the reference page."""

    section: str
    name: str
    type: str
    default: str
    description: str


def load_boot(file: Path, environ: Mapping[str, str], flags: Mapping[tuple[str, str], Any]) -> Boot:
    """Read the settings of a home. Raises `SettingsError` with everything that is wrong."""
    values = _read_file(file)
    problems = _add_environment(values, environ)
    for (section, name), value in flags.items():
        values.setdefault(section, {})[name] = value
    try:
        boot = msgspec.convert(values, Boot, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError("\n".join([*problems, f"{file}: {error}"])) from error
    if problems:
        raise SettingsError("\n".join(problems))
    return boot


def _read_file(file: Path) -> dict[str, dict[str, Any]]:
    if not file.exists():
        return {}
    try:
        return {k: dict(v) for k, v in tomllib.loads(file.read_text("utf-8")).items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise SettingsError(f"{file}: not readable as TOML sections: {error}") from error


def _add_environment(values: dict[str, dict[str, Any]], environ: Mapping[str, str]) -> list[str]:
    known = {(s.section, s.name) for s in list_settings()}
    problems: list[str] = []
    for variable, text in sorted(environ.items()):
        section, name = _split_variable(variable)
        if not section:
            continue
        if (section, name) in known:
            values.setdefault(section, {})[name] = _parse(text)
        else:
            problems.append(f"{variable}: no such setting; see docs/reference/settings.md")
    return problems


def list_settings() -> Iterator[Setting]:
    """Yield every boot setting with its default and sentence."""
    for section in msgspec.structs.fields(Boot):
        hints = get_type_hints(section.type, include_extras=True)
        for field in msgspec.structs.fields(section.type):
            plain, meta = _unwrap(hints[field.name])
            yield Setting(
                section.name,
                field.name,
                str(plain).replace("<class '", "").replace("'>", ""),
                msgspec.json.encode(field.default).decode(),
                meta.description or "",
            )


def _unwrap(hint: Any) -> tuple[Any, Meta]:
    if get_origin(hint) is Annotated:
        plain, *extras = get_args(hint)
        return plain, next((e for e in extras if isinstance(e, Meta)), Meta())
    return hint, Meta()


def _split_variable(variable: str) -> tuple[str, str]:
    prefix, _, name = variable.partition("__")
    if not prefix.startswith("TRUNKLINE_") or not name:
        return "", ""
    return prefix.removeprefix("TRUNKLINE_").lower(), name.lower()


def _parse(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text.split(",") if "," in text else text
