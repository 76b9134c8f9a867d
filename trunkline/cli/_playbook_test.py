"""`trunkline playbook test`: fixtures, or any event, through a playbook; nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from trunkline.catalog.playbook_text import PlaybookFileError, load_file
from trunkline.cli._frame import HOME_DEFAULT, CommandError, HomeOption, JsonOption, say, say_json
from trunkline.cli._playbook_bench import Bench
from trunkline.cli._playbook_source import (
    Source,
    event_of,
    from_file,
    from_revision,
    parse_params,
    read_event,
)
from trunkline.kit.destination import Attempt, Mapped, delivery_id
from trunkline.kit.protection import protect_all
from trunkline.kit.times import parse_time_ms
from trunkline.model.snapshot import Destination
from trunkline.playbook.fixtures import Fixture, FixtureError, Verdict, judge, read_fixtures
from trunkline.playbook.program import Shaped
from trunkline.reports.rendering import RequestLine, mapped_outputs

NOW_MS = 1_795_170_000_000  # of a fixture without times of its own: the same at every run


def test(
    file: Path | None = None,
    /,
    *,
    fixtures: Annotated[
        Path | None, cyclopts.Parameter(help="Left out: FILE's name with .fixtures.yaml.")
    ] = None,
    event: Annotated[
        tuple[Path, ...], cyclopts.Parameter(help="A canonical event, as JSON or YAML.")
    ] = (),
    message_id: Annotated[
        tuple[str, ...], cyclopts.Parameter(help="An event that was accepted here.")
    ] = (),
    last: Annotated[int, cyclopts.Parameter(help="The last N events accepted here.")] = 0,
    destination: Annotated[
        str | None, cyclopts.Parameter(help="Whose playbook, params and request: ID or APP/ID.")
    ] = None,
    revision: Annotated[
        int | None, cyclopts.Parameter(help="Of the destination. Left out: the deployed one.")
    ] = None,
    param: Annotated[
        tuple[str, ...], cyclopts.Parameter(help="NAME=VALUE for $$NAME$$ in the playbook.")
    ] = (),
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Run a playbook on fixtures or on events, and show exactly what would be sent. Sends nothing.

    Without events, the fixtures beside FILE run: each says what must become of its event. With
    events, each is shown with which part made what, and with --destination as the very request.

    Example: `trunkline playbook test orders.yaml`

    Example: `trunkline playbook test orders.yaml --destination crm --last 5`

    Parameters
    ----------
    file
        A playbook, or a kit. Left out: the playbook of --destination.
    """
    with Bench(home) as bench:
        found = bench.find_destination(destination) if destination else None
        source = _source(bench, file, found, revision, parse_params(param))
        if event or message_id or last:
            events = [read_event(path) for path in event]
            events += bench.read_events(message_id, last, found.app if found else None)
            events = protect_all(found, events) if found else events
            return _show_events(bench, source, found, events, json)
        return _run_fixtures(bench, source, _fixtures_of(file, fixtures), json)


def _source(
    bench: Bench,
    file: Path | None,
    found: Destination | None,
    revision: int | None,
    params: dict[str, str],
) -> Source:
    if found is None and (file is None or revision is not None):
        raise CommandError("name a playbook's file, or --destination with or without --revision")
    known = {**(bench.params_of(found) if found else {}), **params}
    name = f"{found.app}/{found.id}" if found else "test"
    if file is not None:
        if revision is not None:
            raise CommandError("--revision and a file are two playbooks; name one")
        return from_file(file, name, known)
    assert found is not None
    number = found.revision if revision is None else revision
    return from_revision(bench.find_playbook, found, number, known)


# Fixtures


def _fixtures_of(file: Path | None, given: Path | None) -> list[Fixture]:
    if given is None and file is not None:
        given = file.with_name(f"{file.stem}.fixtures.yaml")
    if given is None or not given.exists():
        looked = f"{given} is not there" if given else "no file of a playbook is named"
        raise CommandError(
            f"nothing to test with: {looked}; write fixtures, or name events with --event, "
            "--message-id or --last"
        )
    try:
        return read_fixtures(load_file(given))
    except (PlaybookFileError, FixtureError) as error:
        raise CommandError(f"{given}: {error}") from error


def _run_fixtures(bench: Bench, source: Source, fixtures: list[Fixture], json: bool) -> int:
    verdicts = [_run_fixture(bench, source, fixture) for fixture in fixtures]
    failed = [verdict for verdict in verdicts if verdict.problem]
    if json:
        say_json(
            {"passed": len(verdicts) - len(failed), "failed": len(failed), "fixtures": verdicts}
        )
        return 1 if failed else 0
    for verdict in verdicts:
        say(f"{'FAILED' if verdict.problem else 'passed'}  {verdict.name}")
        if verdict.problem:
            say(f"        {verdict.problem}")
            for change in verdict.changes:
                say(f"          {change}")
    say(f"{len(verdicts) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _run_fixture(bench: Bench, source: Source, fixture: Fixture) -> Verdict:
    mapped = event_of({"messageId": fixture.name, **fixture.event}, fixture.name)
    output = bench.shape(source, [mapped], _now_of(fixture))
    return judge(fixture, output[0])


def _now_of(fixture: Fixture) -> int:
    given = fixture.now
    if given is not None:
        now_ms = parse_time_ms(given if isinstance(given, str | int | float) else str(given))
        if now_ms is None:
            raise CommandError(f"{fixture.name}: now is {given!r}; expected 2026-11-20T10:15:30Z")
        return now_ms
    for key in ("receivedAt", "timestamp"):
        now_ms = parse_time_ms(fixture.event.get(key))
        if now_ms is not None:
            return now_ms
    return NOW_MS


# Events


def _show_events(
    bench: Bench, source: Source, found: Destination | None, events: list[Mapped], json: bool
) -> int:
    shaped = bench.shape(source, events, bench.clock.now_ms(), explain=True)
    told = [_tell(bench, found, event, each) for event, each in zip(events, shaped, strict=True)]
    if json:
        say_json(told)
    else:
        for each in told:
            _print(each)
    return 1 if any(each.failure is not None for each in shaped) else 0


def _tell(bench: Bench, found: Destination | None, event: Mapped, shaped: Shaped) -> dict[str, Any]:
    told: dict[str, Any] = {"messageId": event.message_id, "type": event.type, "event": event.name}
    if shaped.failure is not None:
        told["failure"] = shaped.failure
    elif shaped.filtered:
        told["filtered"] = shaped.filtered
    else:
        told["outputs"] = shaped.outputs
        if found is not None:
            told["requests"] = _requests(bench, found, event, shaped)
    told["steps"] = shaped.steps
    return told


def _requests(
    bench: Bench, found: Destination, event: Mapped, shaped: Shaped
) -> Sequence[dict[str, Any]]:
    """Return the request of each output, as it would be sent by itself."""
    name = f"{found.app}/{found.id}"
    key = delivery_id(name, [event.message_id])
    attempt = Attempt(bench.clock.now_ms(), 1, name, key)
    rendered = [
        bench.renderer.request(found, [mapped], attempt)
        for mapped in mapped_outputs([event], [shaped])
    ]
    return [{"request": each.request, "note": each.note} for each in rendered]


def _print(told: dict[str, Any]) -> None:
    say(f"{told['messageId']}  {told['type']}  {told['event'] or '-'}")
    for step in told["steps"]:
        value = msgspec.json.encode(step.value).decode() if step.output_key else step.value
        say(f"  {step.path:<40} {step.output_key or '(all)'} = {value}")
    if "failure" in told:
        say(f"  cannot be shaped: {told['failure'].sentence}")
    elif "filtered" in told:
        say(f"  dropped by {told['filtered']}")
    for output in told.get("outputs", ()):
        say(msgspec.json.format(msgspec.json.encode(output), indent=2).decode())
    for each in told.get("requests", ()):
        _print_request(each["request"], each["note"])


def _print_request(request: RequestLine | None, note: str) -> None:
    if note:
        say(f"  {note}")
    if request is not None:
        say(f"  {request.method} {request.url}")
        for name, value in request.headers.items():
            say(f"  {name}: {value}")
        say(f"  {request.body}")
