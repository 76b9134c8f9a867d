"""Loads what operators wrote, by language. Only a closed jail makes one of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trunkline.jail.javascript_code import JavaScriptCode
from trunkline.jail.notes import Notes
from trunkline.jail.python_code import Function, PythonCode
from trunkline.kit.shaping import CodeSource
from trunkline.playbook.functions import FUNCTIONS
from trunkline.playbook.lua_world import LuaWorld
from trunkline.playbook.program import Code, CodeError, Moment

Runner = Callable[[dict[str, Any], Moment], Any]


class JailLoader:
    """The `CodeLoader` of a jailed process."""

    def __init__(self, notes: Notes, heap_bytes: int) -> None:
        helpers = {name: helper.call for name, helper in FUNCTIONS.items()}
        self._lua = LuaWorld(heap_bytes)
        self._functions: dict[str, Callable[[str], Function]] = {
            "python": PythonCode(helpers, notes).function,
            "javascript": JavaScriptCode(helpers, notes, heap_bytes).function,
        }

    def expression(self, lang: str, body: str) -> Code:
        """Load an expression: a body that reads `input` and returns. Raises `CodeError`."""
        _want_lua(lang)
        return self._lua.expression(body)

    def function(self, lang: str, body: str) -> Function:
        """Load a body that defines `transform_event(event, meta)`. Raises `CodeError`."""
        load = self._functions.get(lang)
        if load is None:
            raise CodeError(f"no functions in {lang}; there are {' and '.join(self._functions)}")
        return load(body)

    def named(self, source: CodeSource) -> Runner:
        """Load named code: a body that reads values by name and returns. Raises `CodeError`."""
        _want_lua(source.lang)
        run = self._lua.expression(source.body, source.reads)
        return lambda values, moment: run(*(values.get(name) for name in source.reads), moment)


def _want_lua(lang: str) -> None:
    if lang != "lua":
        raise CodeError(f"no expressions in {lang}; they are Lua")
