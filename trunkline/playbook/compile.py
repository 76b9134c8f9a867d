"""A playbook as a program: each route becomes one Python function, when its first event comes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from trunkline.playbook.check import needs_code
from trunkline.playbook.code import CodeShelf
from trunkline.playbook.filling import fill_playbook
from trunkline.playbook.names import event_key, event_name
from trunkline.playbook.plan import Drop, Make, plan_filters, plan_parts
from trunkline.playbook.program import CodeLoader, Moment, WritingProgram
from trunkline.playbook.run import LoadedFunction, Note, Runner, load_functions
from trunkline.playbook.source import Route, compile_route, write_route
from trunkline.playbook.spec import Playbook, Section
from trunkline.playbook.writing import Output


def compile_playbook(
    playbook: Playbook, params: Mapping[str, str], loader: CodeLoader | None = None
) -> WritingProgram:
    """Return the program. `params` may hold the connection's as well.

    Raises `PlaybookError`: a param without a value, what only shows once params are filled in, code
    that does not load, code without a loader.
    """
    filled = fill_playbook(playbook, params)
    shelf = CodeShelf(loader)
    every = _plan("global", filled.every, shelf)
    routes = {
        event_key(name): _join(every, _plan(f"eventSpecific.{name}", section, shelf))
        for name, section in filled.event_specific.items()
    }
    default = _join(every, _plan("default", filled.default, shelf))
    before = load_functions(filled.functions, "before", shelf)
    after = load_functions(filled.functions, "after", shelf)
    shelf.check()
    return _Compiled(routes, default, before, after, needs_code(filled))


class _Planned(Struct):
    """What one route does, and the two functions that do it, once somebody asked for them."""

    drops: tuple[Drop, ...]
    makes: tuple[Make, ...]
    run: Route | None = None
    run_noting: Route | None = None


def _plan(path: str, section: Section, shelf: CodeShelf) -> _Planned:
    drops = tuple(plan_filters(path, section))
    return _Planned(drops, tuple(plan_parts(path, section, shelf)))


def _join(every: _Planned, own: _Planned) -> _Planned:
    return _Planned(every.drops + own.drops, every.makes + own.makes)


class _Compiled(Runner):
    def __init__(
        self,
        routes: Mapping[str, _Planned],
        default: _Planned,
        before: tuple[LoadedFunction, ...],
        after: tuple[LoadedFunction, ...],
        has_code: bool,
    ) -> None:
        super().__init__(before, after, has_code)
        self._routes = routes
        self._default = default

    def make(self, event: Output, moment: Moment, out: Output, note: Note | None) -> str:
        name = event_key(event_name(event))
        route = self._routes.get(name, self._default)
        if note is None:
            run = route.run or _compile(route)
            dropped = run(event, name, out, moment)
        else:
            run = route.run_noting or _compile_noting(route)
            dropped = run(event, name, out, moment, note)
        return route.drops[dropped - 1].path if dropped else ""


def _compile(route: _Planned) -> Route:
    route.run = compile_route(*write_route(route.drops, route.makes, is_noting=False))
    return route.run


def _compile_noting(route: _Planned) -> Route:
    route.run_noting = compile_route(*write_route(route.drops, route.makes, is_noting=True))
    return route.run_noting
