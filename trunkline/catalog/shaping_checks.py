"""Whether a destination's playbook and kit can work with what the destination is given.

Params are held against their values, and the playbook is compiled once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trunkline.catalog.shaping_params import Shaping
from trunkline.kits.params import Param
from trunkline.playbook.check import needs_code, parse_playbook, playbook_json
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.program import Moment, PlaybookError, Problem

LoadCode = Callable[[bytes, Mapping[str, str]], Sequence[Problem]]
"""Load a playbook that holds code, with its params, where such code runs; say what is wrong."""

SHOWN_PARAMS_MAX = 20
HIDDEN_CHARACTERS_MIN = 4  # a shorter value stands in half of all words


def check_shaping(shaping: Shaping, load_code: LoadCode) -> tuple[list[str], list[Problem]]:
    """Return what is wrong with the params, as sentences, and with the playbook.

    A playbook is compiled only where every param has a value. Code of an operator is never loaded
    here: `load_code` has that done in a jail.
    """
    missing = _missing_params(shaping)
    tree = shaping.whole_playbook
    if missing or tree is None:
        return missing, []
    try:
        playbook = parse_playbook(tree)
        compile_playbook(playbook, shaping.values, _Unread())
        problems: Sequence[Problem] = ()
        if needs_code(playbook):
            problems = load_code(playbook_json(playbook), shaping.values)
    except PlaybookError as error:
        problems = error.problems
    return [], [
        Problem(problem.path, without_values(problem.message, shaping.given))
        for problem in problems
    ]


def unused_params(shaping: Shaping) -> list[str]:
    """Return a sentence for each value that is given to nobody."""
    if shaping.playbook is None and shaping.connection is None:
        return []
    names = [param.name for param in shaping.params]
    return [
        f"{name} is the name of no param of its playbook{_near(name, names)}"
        for name in shaping.given
        if name not in names
    ]


def _missing_params(shaping: Shaping) -> list[str]:
    names = [param.name for param in shaping.params]
    extra = [name for name in shaping.given if name not in names]
    return [
        f"{param.name} is missing; expected a value for $${param.name}$${_example(param)}; "
        + _advice(param.name, extra)
        for param in shaping.params
        if param.is_required and param.name not in shaping.given
    ]


def _example(param: Param) -> str:
    return f", say {param.example[:60]}" if param.example and not param.is_sensitive else ""


def _advice(name: str, extra: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, extra, 1, 0.6)
    return f"is `{near[0]}` meant for it?" if near else "set it in settings.params"


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1, 0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    shown = ", ".join(names[:SHOWN_PARAMS_MAX]) or "none"
    return f"; it has: {shown}"


def without_values(message: str, given: Mapping[str, str]) -> str:
    """Take the values that an operator gave out of a message: they count as secrets."""
    for value in given.values():
        if len(value) >= HIDDEN_CHARACTERS_MIN:
            message = message.replace(value, "•••")
    return message


class _Unread:
    """Stands for the jail's loader where nothing runs."""

    def expression(self, lang: str, body: str) -> Callable[[Any, Moment], Any]:  # noqa: ARG002
        """Return code that is never called."""
        return lambda _value, _moment: None

    def function(
        self,
        lang: str,  # noqa: ARG002
        body: str,  # noqa: ARG002
    ) -> Callable[[Any, dict[str, Any], Moment], Any]:
        """Return code that is never called."""
        return lambda _event, _meta, _moment: None
