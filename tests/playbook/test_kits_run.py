"""The public kits as they are: every body of Lua, and every playbook, over the semantic events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import pytest

from tests.support.kits import KITS, KitBody, kit_bodies, kit_names, kit_params, read_kit
from tests.support.kits import kits_folder as kits_folder
from tests.support.semantic_events import BARE, FULL, lacking
from trunkline.kits.params import fill_params
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.lua_world import LuaLoader
from trunkline.playbook.names import event_key, event_name
from trunkline.playbook.program import CodeError, Moment, Program

pytestmark = pytest.mark.usefixtures("kits_folder")

NOW = Moment(1_795_169_730_250, "app/destination\0message-1")
REQUEST = {
    "url": "https://vendor.example/path?a=1&b=%20",
    "headers": {"Content-Type": "application/json"},
    "body": {},
}
LOADER = LuaLoader()
BODIES = 1009
CONNECTION_BODIES = 74


@cache
def filled(body: KitBody) -> str:
    """Return the text of a body with the values that its kit shows as examples."""
    return fill_params(body.body, params_of(body.kit))


@cache
def params_of(name: str) -> dict[str, str]:
    return kit_params(read_kit(name))


@cache
def sections_of(name: str, part: str) -> tuple[str, ...]:
    return tuple(read_kit(name).get(part, {}).get("eventSpecific", {}))


def section_of(path: str) -> str:
    """Return which section of a playbook or connection a path is in; eventSpecific by its name."""
    parts = path.split(".")
    return parts[1] if parts[0] == "eventSpecific" else parts[0]


def events_for(section: str, sections: Iterable[str], events: list[Any]) -> Iterator[Any]:
    """Yield the events that a section is for: of `default` those without a section of their own."""
    named = {event_key(name) for name in sections}
    for event in events:
        key = event_key(event_name(event))
        if section == "global" or event_key(section) == key:
            yield event
        if section == "default" and key not in named:
            yield event


@cache
def program_of(name: str) -> Program:
    """Return a kit's playbook, compiled with the values that it shows as examples."""
    return compile_playbook(parse_playbook(read_kit(name)["playbook"]), params_of(name), LOADER)


def complaints_of(body: KitBody, values: list[Any], reads: tuple[str, ...]) -> list[str]:
    """Run a body over argument lists; return what went wrong, with where."""
    found: list[str] = []
    try:
        code = LOADER.world.expression(filled(body), reads)
    except CodeError as error:
        return [f"{body.kit} {body.path}:{error.line}: {error}"]
    for given in values:
        try:
            code(*given, NOW)
        except CodeError as error:
            found.append(f"{body.kit} {body.path}:{error.line}: {error}")
    return found


def test_all_kits_and_all_their_bodies_are_here() -> None:
    bodies = kit_bodies()
    connections = [body for body in bodies if body.part == "connection"]
    assert (len(kit_names()), len(bodies), len(connections)) == (KITS, BODIES, CONNECTION_BODIES)


def run_playbook_bodies(events: list[Any]) -> tuple[int, list[str]]:
    """Run each body on its events; of bodies that several kits share each event only once."""
    runs, complaints = 0, list[str]()
    done: set[tuple[str, int]] = set()
    for body in kit_bodies():
        if body.part == "playbook":
            sections = sections_of(body.kit, "playbook")
            wanted = events_for(section_of(body.path), sections, events)
            values = [[e] for e in wanted if (filled(body), id(e)) not in done]
            done.update((filled(body), id(event)) for (event,) in values)
            runs += len(values)
            complaints += complaints_of(body, values, ("input",))
    return runs, complaints


@pytest.mark.slow  # each whole playbook runs every day, which runs the same bodies
def test_every_body_of_a_playbook_runs_on_the_events_it_is_for() -> None:
    runs, complaints = run_playbook_bodies([*FULL, *BARE])
    assert not complaints
    assert runs > 10_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_body_runs_on_events_that_lack_any_one_part() -> None:
    runs, complaints = run_playbook_bodies(list(lacking()))
    assert not complaints
    assert runs > 300_000


def shape_all(events: list[Any], share: int = 1) -> tuple[list[str], dict[str, int]]:
    """Give every kit the events, or each the next one of several shares of them."""
    failures: list[str] = []
    made = dict.fromkeys(kit_names(), 0)
    for number, name in enumerate(kit_names()):
        for event in events[number % share :: share]:
            shaped = program_of(name).shape(event, NOW)
            made[name] += len(shaped.outputs)
            if shaped.failure:
                failures.append(f"{name} {event_name(event)}: {shaped.failure.sentence}")
    return failures, made


@pytest.mark.slow
def test_every_kit_shapes_every_event() -> None:
    failures, made = shape_all([*FULL, *BARE])
    assert not failures
    silent = [name for name, outputs in made.items() if not outputs]
    # It filters by a path, `XXXXXXXX.YYY`, that its operator is to write into it.
    assert silent == ["adobe-id"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_kit_shapes_events_that_lack_any_one_part() -> None:
    failures, made = shape_all(list(lacking()), share=5)
    assert not failures
    assert sum(made.values()) > 20_000


@pytest.mark.slow
def test_every_connection_makes_a_request_of_what_its_playbook_made() -> None:
    """Each transform is given what a full event of its own variant became, alone and in twos."""
    requests: list[Any] = []
    for body in kit_bodies():
        if body.part == "connection":
            sections = sections_of(body.kit, "connection")
            for event in events_for(section_of(body.path), sections, FULL):
                outputs = list(program_of(body.kit).shape(event, NOW).outputs)
                requests += request_from(body, outputs)
    assert len(requests) > 500
    assert all(set(r) == {"url", "headers", "body"} for r in requests)


def request_from(body: KitBody, outputs: list[Any]) -> list[Any]:
    code = LOADER.world.expression(filled(body), ("request", "batch"))
    batches = [outputs, outputs * 2] if outputs else []
    return [code(REQUEST, batch, NOW) for batch in batches]
