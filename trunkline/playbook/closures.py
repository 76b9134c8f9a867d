"""The playbook as plain closures: the second back end, against which the first is held.

Written from the rules of the language and not from `compile.py`: nothing here is fast, shared or
clever. Every value that goes into an output is copied whole, every write goes the same way, every
part reads the event by itself. Only the filled-in spec and the transforms are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast
from uuid import UUID

import msgspec

from trunkline.playbook.check import needs_code, playbook_tree
from trunkline.playbook.conditions import OPERATORS
from trunkline.playbook.filling import fill_playbook
from trunkline.playbook.program import (
    CodeError,
    CodeLoader,
    Failure,
    Moment,
    PlaybookError,
    Problem,
    Program,
    Shaped,
    Step,
)
from trunkline.playbook.spec import Playbook
from trunkline.playbook.transforms import TRANSFORMS

Tree = dict[str, Any]


def closures_of(
    playbook: Playbook, params: Mapping[str, str], loader: CodeLoader | None = None
) -> Program:
    """Return the program. Raises `PlaybookError` for what `compile_playbook` refuses."""
    filled = fill_playbook(playbook, params)
    builder = _Builder(loader)
    program = _Closures(playbook_tree(filled), builder, needs_code(filled))
    if builder.problems:
        raise PlaybookError(tuple(builder.problems))
    return program


class _Run:
    """One event on its way: what there is of the output, and what was written."""

    def __init__(self, event: Tree, moment: Moment) -> None:
        self.event = event
        self.moment = moment
        self.out: Tree = {}
        self.steps: list[Step] = []

    def write(self, path: str, key: str, value: Any) -> None:
        if value is None:
            return
        place = self.out
        *way, last = key.split(".")
        for name in way:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
        place[last] = _joined(place.get(last), value)
        self.steps.append(Step(path, key, value))

    def spill(self, path: str, value: Tree) -> None:
        self.out = _joined(self.out, value)
        self.steps += [Step(path, key, child) for key, child in value.items()]


class _Stopped(Exception):
    def __init__(self, path: str, message: str, given: Any = None, line: int = 0) -> None:
        super().__init__(message)
        self.path = path
        self.given = given
        self.line = line


Part = Callable[[_Run], None]
Predicate = Callable[[Tree], bool]


def _joined(held: Any, value: Any) -> Any:
    """Return two values as one: objects merge, else the later is all there is."""
    if not (isinstance(held, dict) and isinstance(value, dict)):
        return _copied(value)
    both = dict(cast(Tree, held))
    for key, child in cast(Tree, value).items():
        if child is not None:
            both[key] = _joined(both.get(key), child)
    return both


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in cast(Tree, value).items()}
    if isinstance(value, list):
        return [_copied(child) for child in cast("list[Any]", value)]
    return value


def _look(event: Any, path: str) -> Any:
    value = event
    for part in [] if path == "input" else path.split("."):
        if isinstance(value, dict):
            value = cast(Tree, value).get(part)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) <= 9:
            value = dict(enumerate(cast("list[Any]", value))).get(int(part))
        else:
            return None
    return value


def _folded(name: str) -> str:
    text = name.casefold()
    for ignored in (" ", "_", "-", "\t"):
        text = text.replace(ignored, "")
    return text.replace("cancelled", "canceled")


def _name_of(event: Tree) -> str:
    name = event.get("event") if event.get("type") == "track" else event.get("type")
    return _folded(name) if isinstance(name, str) else ""


class _Builder:
    """Makes closures of the parts of a section."""

    def __init__(self, loader: CodeLoader | None) -> None:
        self.problems: list[Problem] = []
        self._loader = loader

    def load(self, path: str, ask: Callable[[CodeLoader], Any]) -> Any:
        if self._loader is None:
            self.problems.append(Problem(path, "is code, and there is nothing to load it"))
            return None
        try:
            return ask(self._loader)
        except CodeError as error:
            self.problems.append(Problem(path, f"line {error.line}: {error}"))
            return None

    def expression(self, path: str, tree: Tree) -> Callable[[_Run], Any]:
        code = self.load(path, lambda loader: loader.expression(tree["lang"], tree["body"]))

        def call(run: _Run) -> Any:
            try:
                return code(run.event, run.moment)
            except CodeError as error:
                raise _Stopped(path, str(error), run.event, error.line) from error

        return call

    def filters(self, path: str, section: Tree) -> list[tuple[str, Predicate]]:
        """Return path and "is dropped" of each filter."""
        return [
            (f"{path}.filters[{n}]", self._filter(each))
            for n, each in enumerate(section.get("filters", ()))
        ]

    def _filter(self, tree: Tree) -> Predicate:
        ((kind, body),) = tree.items()
        if kind == "byConditions":
            test = self._condition(body["when"])
        else:
            names = {_folded(name) for name in body["events"]} - {""}
            test: Predicate = lambda event: _name_of(event) in names  # noqa: E731
        if body["action"] == "deny":
            return test
        return lambda event: not test(event)

    def _condition(self, tree: Tree) -> Predicate:
        ((name, argument),) = tree.items()
        if name in ("matchesAll", "matchesAny"):
            parts = [self._condition(each) for each in argument["conditions"]]
            every: Callable[[Iterable[bool]], bool] = all if name == "matchesAll" else any
            return lambda event: every(part(event) for part in parts)
        holds = OPERATORS[name].prepare(argument)
        return lambda event: holds(_look(event, argument["inputPath"]))

    def parts(self, path: str, section: Tree) -> list[Part]:
        """Return what writes, in order."""
        made: list[Part] = []
        for name, build in (
            ("enrichments", self._enrichment),
            ("mappings", self._mapping),
            ("expressions", self._expression),
            ("spreadings", self._spreading),
        ):
            entries: list[Tree] = section.get(name, [])
            made += [build(f"{path}.{name}[{n}]", each) for n, each in enumerate(entries)]
        return made

    def _enrichment(self, path: str, tree: Tree) -> Part:
        key: str = tree["outputKey"]

        def value(moment: Moment) -> Any:
            if "timestamp" in tree:
                return moment.now_ms // (1000 if tree["timestamp"] == "seconds" else 1)
            if "uuid" in tree:
                seed = f"{moment.seed}\0{key}".encode("utf-8", "surrogatepass")
                return str(UUID(bytes=hashlib.sha256(seed).digest()[:16], version=4))
            return next(tree[name] for name in tree if name.startswith("static"))

        return lambda run: run.write(path, key, value(run.moment))

    def _mapping(self, path: str, tree: Tree) -> Part:
        links = [
            self._link(f"{path}.transforms[{n}]", each)
            for n, each in enumerate(tree.get("transforms", ()))
        ]
        default = next((tree[name] for name in tree if name.startswith("default")), None)

        def part(run: _Run) -> None:
            value = _look(run.event, tree["inputKey"])
            for link in links:
                value = None if value is None else link(value, run)
            value = default if value is None else value
            if tree["outputKey"]:
                run.write(path, tree["outputKey"], value)
            elif isinstance(value, dict):
                run.spill(path, cast(Tree, value))

        return part

    def _link(self, path: str, tree: Tree) -> Callable[[Any, _Run], Any]:
        ((name, argument),) = tree.items()
        if name == "expression":
            call = self.expression(path, argument)
            return lambda _value, run: call(run)
        change = TRANSFORMS[name].prepare(argument)
        return lambda value, _run: change(value)

    def _expression(self, path: str, tree: Tree) -> Part:
        call = self.expression(path, tree)

        def part(run: _Run) -> None:
            value = call(run)
            if isinstance(value, dict):
                run.spill(path, cast(Tree, value))
            elif value:
                kind = "a list" if isinstance(value, list) else "a number, text or boolean"
                message = f"made {kind}; what is merged into the output is an object"
                raise _Stopped(path, message)

        return part

    def _spreading(self, path: str, tree: Tree) -> Part:
        how: Tree = tree["flatten"]
        levels: int = how.get("depth", 0)
        separator: str = how["separator"]

        def walk(name: str, value: Any, level: int) -> list[tuple[str, Any]]:
            entries: Tree = {}
            if isinstance(value, list):
                entries = {str(n): child for n, child in enumerate(cast("list[Any]", value))}
            elif isinstance(value, dict):
                entries = cast(Tree, value)
            if not entries or (levels and level >= levels):
                return [] if value is None else [(name, value)]
            found: list[tuple[str, Any]] = []
            for key, child in entries.items():
                found += walk(f"{name}{separator}{key}" if name else key, child, level + 1)
            return found

        def part(run: _Run) -> None:
            value = _look(run.event, tree["inputKey"])
            if value and isinstance(value, dict):
                run.spill(path, dict(walk(how.get("prefix", ""), value, 0)))

        return part


class _Closures:
    def __init__(self, tree: Tree, builder: _Builder, has_code: bool) -> None:
        self._has_code = has_code
        sections: dict[str, Tree] = tree.get("eventSpecific", {})
        every: Tree = tree.get("global", {})
        self._every = builder.filters("global", every), builder.parts("global", every)
        self._sections = {
            _folded(name): (
                builder.filters(f"eventSpecific.{name}", section),
                builder.parts(f"eventSpecific.{name}", section),
            )
            for name, section in sections.items()
        }
        default: Tree = tree.get("default", {})
        self._default = builder.filters("default", default), builder.parts("default", default)
        self._functions = [
            (f"functions[{n}]", each["when"], _load_function(builder, n, each))
            for n, each in enumerate(tree.get("functions", ()))
        ]

    def shape(self, event: Tree, moment: Moment) -> Shaped:
        """Shape one canonical event."""
        return msgspec.structs.replace(self.explain(event, moment), steps=())

    def explain(self, event: Tree, moment: Moment) -> Shaped:
        """Shape one canonical event, with what each part made."""
        story = _Story(event, moment)
        try:
            outputs = self._outputs(story)
            _check_size(outputs, self._has_code)
        except _Stopped as stop:
            given = event if stop.given is None else stop.given
            failure = Failure(stop.path, stop.line, str(stop), _begin(given), _kept(story.partial))
            return Shaped(failure=failure, steps=tuple(story.steps))
        if not outputs:
            filtered = story.filtered or "_metarouter_batch"
            return Shaped(filtered=filtered, steps=tuple(story.steps))
        return Shaped(tuple(outputs), steps=tuple(story.steps))

    def _outputs(self, story: _Story) -> list[Tree]:
        values = [story.event]
        for path, _, call in (f for f in self._functions if f[1] == "before"):
            values = [made for value in values for made in story.call(path, call, value, {})]
            _count(values, path)
        outputs = [out for n, value in enumerate(values) for out in self._one(story, value, n)]
        for path, _, call in (f for f in self._functions if f[1] == "after"):
            more: list[Tree] = []
            for out in outputs:
                story.partial = out
                more += story.call(path, call, out, {"event": _copied(story.event)})
            outputs = more
            _count(outputs, path)
        return outputs

    def _one(self, story: _Story, event: Tree, index: int) -> list[Tree]:
        seed = story.moment.seed + (f"\0{index}" if index else "")
        run = _Run(event, Moment(story.moment.now_ms, seed))
        filters, parts = self._sections.get(_name_of(event), self._default)
        story.partial = run.out
        for path, is_dropped in self._every[0] + filters:
            if is_dropped(event):
                story.filtered = story.filtered or path
                return []
        try:
            for part in self._every[1] + parts:
                part(run)
        finally:
            story.partial = run.out
            story.steps += run.steps
        return _split(run.out)


def _load_function(builder: _Builder, n: int, tree: Tree) -> Any:
    return builder.load(f"functions[{n}]", lambda ld: ld.function(tree["lang"], tree["body"]))


class _Story:
    def __init__(self, event: Tree, moment: Moment) -> None:
        self.event = event
        self.moment = moment
        self.partial: Any = None
        self.filtered = ""  # the first part that dropped one
        self.steps: list[Step] = []

    def call(self, path: str, code: Any, value: Tree, meta: Tree) -> list[Tree]:
        try:
            made = code(_copied(value), {"nowMs": self.moment.now_ms, **meta}, self.moment)
        except CodeError as error:
            raise _Stopped(path, str(error), value, error.line) from error
        items: list[Any] = [item for item in _listed(made) if item is not None]
        if not all(isinstance(item, dict) for item in items):
            message = "returned neither an object, a list of objects, nor nothing"
            raise _Stopped(path, message, value)
        self.steps += [Step(path, "", item) for item in items]
        if not items:
            self.filtered = self.filtered or path
        return items


def _listed(made: Any) -> list[Any]:
    return cast("list[Any]", made) if isinstance(made, list) else [made]


def _count(values: list[Tree], path: str) -> None:
    if len(values) > 1000:
        raise _Stopped(path, f"made {len(values)} events of one; at most 1000 are made")


def _split(out: Tree) -> list[Tree]:
    if "_metarouter_batch" not in out:
        return [out]
    batch: Any = out["_metarouter_batch"] or []
    if not isinstance(batch, list) or not all(isinstance(e, dict) for e in _listed(batch)):
        message = "is no list of objects; each entry is one event to send"
        raise _Stopped("_metarouter_batch", message)
    rest = {key: value for key, value in out.items() if key != "_metarouter_batch"}
    made = [_joined(_copied(rest), each) for each in _listed(batch)]
    _count(made, "_metarouter_batch")
    return made


def _check_size(outputs: list[Tree], has_code: bool) -> None:
    size = 0
    for output in outputs:
        if has_code and _levels(output) > 80:
            message = "nests more than 80 levels deep; map a part of it, or flatten it"
            raise _Stopped("output", message)
        size += len(_encoded(output))
        if size > 1_048_576:
            message = "is larger than 1,048,576 bytes of JSON; map less of the event"
            raise _Stopped("output", message)


def _encoded(output: Tree) -> bytes:
    try:
        return msgspec.json.encode(output)
    except (TypeError, ValueError, OverflowError) as error:
        raise _Stopped("output", f"is no JSON: {error}") from None


def _levels(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_levels, cast(Tree, value).values()), default=0)
    return 1 + max(map(_levels, _listed(value)), default=0) if isinstance(value, list) else 0


def _begin(value: Any) -> str:
    try:
        return _encoded(value)[:2048].decode("utf-8", "ignore")
    except _Stopped:
        return ""


def _kept(value: Any) -> Any:
    try:
        return value if len(_encoded(value)) <= 65_536 else None
    except _Stopped:
        return None
