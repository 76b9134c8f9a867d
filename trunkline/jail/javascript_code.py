"""Functions in JavaScript, in QuickJS: no files, no network, no modules; one world a function.

The binding refuses Python callbacks while a time limit is set, and we want callbacks: the helpers
are the same Python functions in every language. So the deadline is the node's.
"""

from __future__ import annotations

import inspect
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import _quickjs as _untyped  # and not `quickjs`: that starts a thread, and this process is forked
import msgspec

from trunkline.jail.notes import Notes
from trunkline.jail.python_code import Function
from trunkline.playbook.program import CodeError, Moment

_quickjs: Any = _untyped
_CODE_LINES_MAX = 65_536  # code has at most 64 KB
_STACK_BYTES = 1_048_576
_PLACE = re.compile(r"<input>:(\d+):\d+")
_MESSAGE_CHARACTERS_MAX = 500

# QuickJS gives every text the same file name. Ours stands below all lines that an operator has.
_FRAME = (
    "\n" * _CODE_LINES_MAX
    + r"""
(() => {
  const {parse, stringify} = JSON, is_list = Array.isArray, text = String, world = globalThis;
  const call = world.__call, note = world.__note, origin = world.__origin;
  const names = parse(world.__names), define = Object.defineProperty;
  for (const name of ["__call", "__note", "__origin", "__names"]) delete world[name];
  for (const name of names)
    world[name] = (...values) => parse(call(name, stringify(values)));
  const apply = (list, change) => is_list(list) ? list.map((item) => change(item)) : null;
  if (names.includes("MAP")) world.MAP = apply;
  const show = (value) => typeof value === "string" ? value : stringify(value) ?? text(value);
  const log = (...values) => note(values.map(show).join(" "));
  world.log = log;
  world.console = {log, info: log, warn: log, error: log, debug: log};
  let dice = 0;
  Math.random = () => {
    dice = (dice + 0x6D2B79F5) | 0;
    let x = Math.imul(dice ^ (dice >>> 15), 1 | dice);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
  const whole = {get: () => parse(origin()), enumerable: true, configurable: true};
  return (entry) => (event, nowMs, is_after, seed) => {
    dice = seed | 0;
    const about = {nowMs};
    if (is_after) define(about, "event", whole);
    const result = entry(parse(event), about);
    if (result === undefined || result === null) return null;
    if (typeof result !== "object") return "!" + typeof result;
    if (typeof result.then === "function") return "!promise";
    return stringify(result) ?? "!object";
  };
})()
"""
)
_ENTRY = (
    "\n" * _CODE_LINES_MAX
    + "(() => typeof transform_event === 'function' ? transform_event : null)()"
)


class JavaScriptCode:
    """Loads functions in JavaScript."""

    def __init__(self, helpers: Mapping[str, Any], notes: Notes, heap_bytes: int) -> None:
        self._helpers = {name: (call, _most(call)) for name, call in helpers.items()}
        self._notes = notes
        self._heap_bytes = heap_bytes

    def function(self, body: str) -> Function:
        """Load a body that defines `transform_event(event, meta)`. Raises `CodeError`."""
        world: Any = _quickjs.Context()
        world.set_memory_limit(self._heap_bytes)
        world.set_max_stack_size(_STACK_BYTES)
        world.add_callable("__call", self._call)
        world.add_callable("__note", self._notes.add)
        origin = _Origin()
        world.add_callable("__origin", origin.text)
        world.set("__names", msgspec.json.encode(sorted(self._helpers)).decode())
        bind: Any = world.eval(_FRAME)
        _evaluate(world, body)
        entry: Any = world.eval(_ENTRY)
        if entry is None:
            raise CodeError("the code defines no function transform_event(event, meta)")
        return _guard(bind(entry), origin, world)

    def _call(self, name: str, values: str) -> str:
        """Run a helper. Never raises: helpers are total, and what is no JSON is null."""
        try:
            call, most = self._helpers[name]
            result = call(*msgspec.json.decode(values)[:most])
            return msgspec.json.encode(result).decode()
        except (TypeError, ValueError, RecursionError):
            return "null"


class _Origin:
    """The `event` of the `meta` of the call that runs: few functions look at it."""

    def __init__(self) -> None:
        self.event: Any = None

    def text(self) -> str:
        """Return it as JSON."""
        return msgspec.json.encode(self.event).decode()


def _most(call: Callable[..., Any]) -> int | None:
    """Return how many arguments a helper takes: `list.map(TRIM)` gives it three."""
    kinds = [parameter.kind for parameter in inspect.signature(call).parameters.values()]
    return None if inspect.Parameter.VAR_POSITIONAL in kinds else len(kinds)


def _evaluate(world: Any, body: str) -> None:
    try:
        world.eval(body)
    except _quickjs.JSException as error:
        raise _explain(error) from None
    except ValueError as error:
        raise CodeError(f"no JavaScript: {error}") from None


def _guard(entry: Callable[[str, float, bool, int], Any], origin: _Origin, world: Any) -> Function:
    encode, decode = msgspec.json.encode, msgspec.json.decode

    def run(event: Any, meta: dict[str, Any], moment: Moment) -> Any:
        assert world is not None  # the function lives as long as its world
        origin.event = meta.get("event")
        seed = zlib.crc32(moment.seed.encode("utf-8", "replace")) & 0x7FFFFFFF
        try:
            now_ms = float(meta["nowMs"])  # as an int it would be a BigInt
            text = entry(encode(event).decode(), now_ms, origin.event is not None, seed)
        except _quickjs.JSException as error:
            raise _explain(error) from None
        except UnicodeDecodeError:
            raise CodeError("transform_event returned text that is no Unicode") from None
        if text is None:
            return None
        if not isinstance(text, str) or text.startswith("!"):
            raise _wrong_type(str(text).lstrip("!"))
        try:
            result = decode(text)
        except (ValueError, RecursionError) as error:
            raise CodeError(f"transform_event returned what is no JSON: {error}") from None
        _check(result)
        return result

    return run


def _wrong_type(name: str) -> CodeError:
    if name == "promise":
        return CodeError("transform_event must be a plain function: no `async`")
    return CodeError(
        f"transform_event returned a {name}; return the event (an object), an array of events, or "
        "null to drop it"
    )


def _check(result: Any) -> None:
    if isinstance(result, list):
        for item in cast("list[Any]", result):
            if not isinstance(item, dict):
                raise _wrong_type("list of something else than objects")
    elif not isinstance(result, dict):
        raise _wrong_type("value that is no object")


def _explain(error: Exception) -> CodeError:
    if isinstance(error, _quickjs.StackOverflow):
        return CodeError("RangeError: it calls itself too deeply", _line_of(str(error)))
    text = str(error)
    message = text.split("\n", 1)[0][:_MESSAGE_CHARACTERS_MAX]
    if message.endswith("out of memory"):
        message += ": it used more memory than its world may have"
    return CodeError(message, _line_of(text))


def _line_of(text: str) -> int:
    """Return the first line of the stack that is the operator's."""
    lines = (int(found[1]) for found in _PLACE.finditer(text))
    return next((line for line in lines if line <= _CODE_LINES_MAX), 0)
