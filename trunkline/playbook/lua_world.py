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
from trunkline.playbook.lua_values import LuaValues
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
        self._calls = {name: _first_arguments(h.call) for name, h in FUNCTIONS.items()}
        build: Any = self._runtime.eval("function(text) return loadstring(text, '=prelude') end")
        names = self._runtime.table_from(dict.fromkeys(FUNCTIONS, True))
        prelude = dict(build(PRELUDE)(self._call, names, self._roll, self._now, ARRAY_MAX).items())
        self._values = LuaValues(self._runtime, prelude)
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
        return loaded

    def _ask(self, chunk: Any, values: Sequence[Any]) -> Any:
        to_lua, from_lua = self._values.to_lua, self._values.from_lua
        try:
            return from_lua(self._run(chunk, *[to_lua(value) for value in values]))
        except UnicodeDecodeError:
            # Some text was cut in the middle of a character: once more, with such texts mended.
            return from_lua(self._run_and_mend(chunk, *[to_lua(value) for value in values]))

    def _fail(self, error: Exception) -> NoReturn:
        """Raise the `CodeError` that an error of the runtime amounts to."""
        if isinstance(error, LuaMemoryError):
            self._collect()
            raise CodeError(f"it needs more than {self._megabytes} MB of memory") from None
        if isinstance(error, UnicodeError):
            raise CodeError("its error message is no text") from None
        raise _code_error(str(error)) from None

    def _call(self, name: str, *given: Any) -> Any:
        """Call a function for Lua. What it raises Lua sees as a failed call, never as an object."""
        values = self._values
        return values.to_lua(self._calls[name](*[values.from_lua(value) for value in given]))

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
