"""`trunkline playbook diff`: what would change between two revisions, over real events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cyclopts

from trunkline.cli._frame import HOME_DEFAULT, CommandError, HomeOption, JsonOption, say, say_json
from trunkline.cli._playbook_bench import Bench
from trunkline.cli._playbook_source import Source, from_file, from_revision, parse_params
from trunkline.kit.destination import Mapped
from trunkline.kit.protection import protect_all
from trunkline.model.snapshot import Destination
from trunkline.playbook.program import Shaped
from trunkline.reports.revision_diff import SAME, RevisionDiff, compare_revisions

AT_ONCE = 500  # events shaped at a time


def diff(
    *,
    destination: Annotated[str, cyclopts.Parameter(help="ID or APP/ID.")],
    after: Annotated[
        str, cyclopts.Parameter(name="--to", help="A revision's number, or a playbook's file.")
    ],
    before: Annotated[
        str | None, cyclopts.Parameter(name="--from", help="Left out: the deployed revision.")
    ] = None,
    last: Annotated[int, cyclopts.Parameter(help="Over the last N events of the app.")] = 1000,
    examples: Annotated[int, cyclopts.Parameter(help="Events shown of those that change.")] = 5,
    param: Annotated[
        tuple[str, ...], cyclopts.Parameter(help="NAME=VALUE for $$NAME$$ in a file.")
    ] = (),
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Count and show what would change for the last events of the app. Sends nothing.

    Example: `trunkline playbook diff --destination crm --to orders.yaml --last 5000`
    """
    with Bench(home) as bench:
        found = bench.find_destination(destination)
        params = {**bench.params_of(found), **parse_params(param)}
        given = str(found.revision) if before is None else before
        sources = [_source(bench, found, each, params) for each in (given, after)]
        events = protect_all(found, bench.read_events((), last, found.app))
        told = compare_revisions(_pairs(bench, sources, events), examples)
    if json:
        say_json({"from": sources[0].told, "to": sources[1].told, **_tree(told)})
    else:
        _print(told, sources)
    return 0


def _source(bench: Bench, found: Destination, given: str, params: dict[str, str]) -> Source:
    if given.isdigit():
        return from_revision(bench.find_playbook, found, int(given), params)
    if not Path(given).exists():
        raise CommandError(f"{given!r}: expected a revision's number, or a file that is there")
    return from_file(Path(given), f"{found.app}/{found.id}", params)


def _pairs(
    bench: Bench, sources: list[Source], events: list[Mapped]
) -> Iterator[tuple[str, str, Shaped, Shaped]]:
    now_ms = bench.clock.now_ms()
    for first in range(0, len(events), AT_ONCE):
        part = events[first : first + AT_ONCE]
        both = [bench.shape(source, part, now_ms) for source in sources]
        for event, *shaped in zip(part, *both, strict=True):
            yield event.message_id, event.name or event.type, shaped[0], shaped[1]


def _tree(told: RevisionDiff) -> dict[str, object]:
    return {
        "events": told.events,
        "counts": told.counts,
        "paths": told.paths,
        "examples": told.examples,
    }


def _print(told: RevisionDiff, sources: list[Source]) -> None:
    say(f"{told.events} events, {sources[0].told} → {sources[1].told}")
    for kind, count in told.counts.items():
        if count or kind == SAME:
            say(f"  {count:>7}  {kind.replace('_', ' ')}")
    if told.paths:
        say("changed, by path of the output:")
        for path, count in told.paths.items():
            say(f"  {count:>7}  {path}")
    for example in told.examples:
        say(f"{example.message_id}  {example.event}: {example.before} → {example.after}")
        for change in example.changes:
            say(f"    {change}")
