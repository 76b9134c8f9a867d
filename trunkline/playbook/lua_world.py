"""The world in which the Lua of playbooks runs: Lua 5.1, the kits' functions, a tame nil.

There is no way out of it: no files, no system, no loading of code, no Python. What one body writes
is gone before the next call; given the same values and the same moment it returns the same. What it
cannot do is stop an endless loop: that is the jail's part, and outside of one only tests run it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

from lupa.lua51 import LuaError, LuaMemoryError, LuaRuntime

from trunkline.playbook.functions import FUNCTIONS
from trunkline.playbook.lua_names import check_calls
from trunkline.playbook.lua_prelude import PRELUDE
from trunkline.playbook.lua_values import DEPTH_MAX, ROW_MAX, LuaValues
from trunkline.playbook.program import Code, CodeError, Moment
from trunkline.playbook.scalars import ARRAY_MAX

MEMORY_BYTES_MAX = 64 * 1024 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACE = re.compile(r"^body:([0-9]+): ")
_TRACED = re.compile(r"^\tbody:([0-9]+): ", re.MULTILINE)
_OURS = re.compile(r"^(?:prelude|\[string [^\]]*\]):[0-9]+: ")
_TRACE = "\nstack traceback:"
_MESSAGE_MAX = 500  # characters
_DICE_SIDES = 2_147_483_646


class LuaWorld:
    """One Lua runtime, with a limit of memory, that loads bodies and runs them one at a time."""

    def __init__(self, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        make: Any = LuaRuntime
        self._runtime = make(
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_refuse_attribute,
            max_memory=memory_bytes_max,
        )
        self._megabytes = memory_bytes_max // (1024 * 1024)
        self._moment = Moment(0, "")
        self._body = ""
        build: Any = self._runtime.eval("function(text) return loadstring(text, '=prelude') end")
        table_from: Any = self._runtime.table_from
        limits = table_from({"depth": DEPTH_MAX, "items": ARRAY_MAX, "row": ROW_MAX})
        self._values = values = LuaValues(table_from)
        calls = {name: self._calls_of(helper.call) for name, helper in FUNCTIONS.items()}
        plain, told = (table_from({name: c[n] for name, c in calls.items()}) for n in (0, 1))
        sides = plain, told, values.look, values.opened, self._roll, self._now, limits
        prelude = dict(build(PRELUDE)(*sides).items())
        values.connect(prelude["mark_of"])
        self._compile, self._collect = prelude["compile"], prelude["collect"]
        self._run, self._run_and_mend = prelude["run"], prelude["run_and_mend"]
        self._known = frozenset(prelude["known"].values())

    def expression(self, body: str, reads: Sequence[str] = ("input",)) -> Callable[..., Any]:
        """Load a body; return a function of the values that it reads, in order, and a `Moment`.

        What it returns is JSON. Loading and running raise `CodeError` with the line in the body.
        """
        chunk = self._load(body, reads)

        def run(*given: Any) -> Any:
            *values, moment = given
            self._moment, self._body = moment, body
            try:
                return self._ask(chunk, values)
            except (LuaError, UnicodeError) as error:
                self._fail(error)

        return run

    def _load(self, body: str, reads: Sequence[str]) -> Any:
        check_calls(body, self._known | set(reads))
        if not reads or not all(_NAME.fullmatch(name) for name in reads):
            raise ValueError(f"reads {reads!r}; expected names of Lua variables")
        try:
            # On the body's own first line, so that lines are counted as its writer counts them.
            loaded = self._compile(f"local {', '.join(reads)} = ...; {body}")
        except (LuaError, UnicodeError) as error:
            self._fail(error)
        if isinstance(loaded, tuple):
            raise _code_error(str(cast("tuple[Any, Any]", loaded)[1]))
        return loaded, "#" in body

    def _ask(self, chunk: Any, values: Sequence[Any]) -> Any:
        try:
            return self._values.take(self._run(*chunk, *self._given(values)))
        except UnicodeDecodeError:
            # Some text was cut in the middle of a character: once more, with such texts mended.
            return self._values.take(self._run_and_mend(*chunk, *self._given(values)))

    def _given(self, values: Sequence[Any]) -> list[Any]:
        """Begin a run; return what it is given, each value with its kind (nil for a scalar)."""
        self._values.begin()
        given: list[Any] = []
        for value in values:
            one = self._values.give(value)
            given += one if isinstance(one, tuple) else (one, None)
        return given

    def _fail(self, error: Exception) -> NoReturn:
        """Raise the `CodeError` that an error of the runtime amounts to."""
        if isinstance(error, LuaMemoryError):
            self._collect()
            raise CodeError(f"it needs more than {self._megabytes} MB of memory") from None
        if isinstance(error, UnicodeError):
            raise CodeError("its error message is no text") from None
        raise _code_error(str(error)) from None

    def _calls_of(self, helper: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
        """Return how Lua calls a function: with scalars, and with a row in which tables are told.

        What is raised Lua sees as a failed call, never as an object.
        """
        give, take, take_all = self._values.give, self._values.take, self._values.take_all
        call = _first_arguments(helper)
        return lambda *given: give(call(*map(take, given))), lambda *row: give(call(*take_all(row)))

    def _roll(self) -> int:
        """Return what the dice of this run start with, from 1 on."""
        digest = hashlib.sha256(f"{self._moment.seed}\0{self._body}".encode("utf-8", "replace"))
        return int.from_bytes(digest.digest()[:8], "big") % (_DICE_SIDES - 1) + 1

    def _now(self) -> int:
        return self._moment.now_ms // 1000


class LuaLoader:
    """The part of a `CodeLoader` that loads Lua."""

    def __init__(self, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self.world = LuaWorld(memory_bytes_max)

    def expression(self, lang: str, body: str) -> Code:
        """Load an expression that reads `input`. Raises `CodeError`."""
        if lang != "lua":
            raise CodeError(f"expressions are written in lua, not in {lang[:40]!r}")
        return self.world.expression(body)

    def function(
        self,
        lang: str,
        body: str,  # noqa: ARG002
    ) -> Callable[[Any, dict[str, Any], Moment], Any]:
        """Refuse: functions are Python or JavaScript. Raises `CodeError`."""
        raise CodeError(f"functions are written in python or javascript; {lang[:40]!r} cannot run")


def _refuse_attribute(_: Any, name: Any, __: bool) -> NoReturn:
    raise AttributeError(f"{name!r:.40} cannot be reached")


def _first_arguments(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that drops arguments too many: `TRIM(name:gsub(…))` gives it two."""
    kinds = [parameter.kind for parameter in inspect.signature(call).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return call
    most = len(kinds)
    return lambda *given: call(*given[:most])


def _code_error(text: str) -> CodeError:
    message, _, trace = text.partition(_TRACE)
    place = _PLACE.match(message) or _TRACED.search(trace)
    message = _PLACE.sub("", _OURS.sub("", message), count=1).replace(" to 'real'", "")
    if "attempt to compare" in message and "nil" in message:
        message += "; write `(x or 0)` for what may be absent"
    said = message.strip() or "it stopped with an error that is no text"
    return CodeError(said[:_MESSAGE_MAX], int(place[1]) if place else 0)
