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

from trunkline.jail.javascript_frame import FRAME, KEPT, LINES_MAX, TOLD, UNCHANGED
from trunkline.jail.notes import Notes
from trunkline.jail.python_code import Function
from trunkline.jail.views import Views, is_odd
from trunkline.playbook.program import CodeError, Moment

_quickjs: Any = _untyped
_WHOLES_MAX = 16  # one after the other; then a function is not asked what it wants
_STACK_BYTES = 1_048_576
_PLACE = re.compile(r"<input>:(\d+):\d+")
_MESSAGE_CHARACTERS_MAX = 500

_ENTRY = (
    "\n" * LINES_MAX + "(() => typeof transform_event === 'function' ? transform_event : null)()"
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
        origin, views = _Origin(), Views()
        world.add_callable("__origin", origin.text)
        world.add_callable("__look", views.look)
        world.add_callable("__text", views.text)
        world.set("__names", msgspec.json.encode(sorted(self._helpers)).decode())
        bind: Any = world.eval(FRAME)
        _evaluate(world, body)
        entry: Any = world.eval(_ENTRY)
        if entry is None:
            raise CodeError("the code defines no function transform_event(event, meta)")
        return Called(world, lambda way: bind(entry, way), origin, views).run

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


class Called:
    """A function, and the ways to call it: see `javascript_frame.py`."""

    def __init__(
        self, world: Any, way: Callable[[str], Any], origin: _Origin, views: Views
    ) -> None:
        self._world = world  # lives as long as the function
        self._plain: Any = way("plain")
        self._viewed: Any = way("viewed")
        self._again: Any = way("again")
        self._origin = origin
        self.views = views
        self.is_plain = False  # it keeps events, or takes them whole

    def run(self, event: Any, meta: dict[str, Any], moment: Moment) -> Any:
        """Call it. Raises `CodeError`."""
        self._origin.event = meta.get("event")
        seed = zlib.crc32(moment.seed.encode("utf-8", "replace")) & 0x7FFFFFFF
        # as an int the time would be a BigInt
        about = float(meta["nowMs"]), self._origin.event is not None, seed
        try:
            return self._run(event, about)
        except _quickjs.JSException as error:
            raise _explain(error) from None
        except UnicodeDecodeError:
            raise CodeError("transform_event returned text that is no Unicode") from None

    def _run(self, event: Any, about: tuple[float, bool, int]) -> Any:
        if self.is_plain:
            return self._result(self._plain(_json_of(event), *about))
        told = None
        try:
            told = self._viewed(self.views.begin(event), *about)
        finally:
            if told != KEPT:
                self.views.forget()
        self.is_plain = told == KEPT or self.views.wholes >= _WHOLES_MAX
        return self._run(event, about) if told == KEPT else self._result(told)

    def _result(self, told: Any) -> Any:
        if told is None:
            return None
        if not isinstance(told, str) or told[0] == "!":
            raise _wrong_type(str(told).lstrip("!"))
        if told != UNCHANGED and not told.startswith(TOLD):
            return _read(told)
        try:
            result = self.views.changed(told)
        except (ValueError, RecursionError) as error:
            raise _no_json(error) from None
        return _read(self._again(_json_of(result))) if is_odd(result) else result


def _json_of(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _read(text: str) -> Any:
    try:
        result = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise _no_json(error) from None
    _check(result)
    return result


def _no_json(error: Exception) -> CodeError:
    return CodeError(f"transform_event returned what is no JSON: {error}")


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
    return next((line for line in lines if line <= LINES_MAX), 0)
