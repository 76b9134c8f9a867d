"""The code of an operator that a playbook holds, loaded once and called with care."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trunkline.playbook.program import Code, CodeError, CodeLoader, Moment, PlaybookError, Problem
from trunkline.playbook.writing import CannotShape

Run = Callable[[Any, Moment], Any]
RunFunction = Callable[[Any, dict[str, Any], Moment], Any]


class CodeShelf:
    """Loads code, and gathers what is wrong with it. The same text is loaded once."""

    def __init__(self, loader: CodeLoader | None) -> None:
        self._loader = loader
        self._loaded: dict[tuple[str, str], Code] = {}
        self._problems: list[Problem] = []

    def expression(self, path: str, lang: str, body: str) -> Run:
        """Load an expression. What it returns raises only `CannotShape`."""
        code = self._loaded.get((lang, body))
        if code is None:
            code = self._load(path, lambda loader: loader.expression(lang, body))
            if code is None:
                return _nothing
            self._loaded[lang, body] = code

        def run(event: Any, moment: Moment) -> Any:
            try:
                return code(event, moment)
            except CodeError as error:
                raise CannotShape(path, error.line, str(error), event) from error

        return run

    def function(self, path: str, lang: str, body: str) -> tuple[RunFunction, RunFunction]:
        """Load a function. What it returns raises only `CannotShape`.

        The second is for who gives the value away: it may be changed.
        """
        code = self._load(path, lambda loader: loader.function(lang, body)) or _nothing
        return _careful(path, code), _careful(path, getattr(code, "take", code))

    def check(self) -> None:
        """Raise `PlaybookError` with everything that did not load."""
        if self._problems:
            raise PlaybookError(tuple(self._problems))

    def _load(self, path: str, load: Callable[[CodeLoader], Any]) -> Any:
        if self._loader is None:
            message = "is code, which runs only in a jailed worker; there is none here"
            self._problems.append(Problem(path, message))
            return None
        try:
            return load(self._loader)
        except CodeError as error:
            at = f"line {error.line}: " if error.line else ""
            self._problems.append(Problem(path, f"{at}{error}"))
            return None


def _careful(path: str, code: RunFunction) -> RunFunction:
    def run(value: Any, meta: dict[str, Any], moment: Moment) -> Any:
        try:
            return code(value, meta, moment)
        except CodeError as error:
            raise CannotShape(path, error.line, str(error), value) from error

    return run


def _nothing(*values: Any) -> None:
    """Stand in for code that did not load, until `check` says so."""
    del values
