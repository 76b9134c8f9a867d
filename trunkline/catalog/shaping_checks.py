"""Whether a destination's playbook and kit can work with what the destination is given.

Params are held against their values, and the playbook is compiled once.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from trunkline.catalog.conform import suggest
from trunkline.catalog.shaping_params import Shaping
from trunkline.catalog.workspace import reveal
from trunkline.kit.destination import Channel, Destination
from trunkline.kits.params import Param, param_problems
from trunkline.playbook.check import needs_code, parse_playbook, playbook_json
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.program import Moment, PlaybookError, Problem

LoadCode = Callable[[bytes, Mapping[str, str]], Sequence[Problem]]
"""Load a playbook that holds code, with its params, where such code runs; say what is wrong."""

Kind = type[Destination[Any]] | type[Channel[Any]]

SHOWN_PARAMS_MAX = 20
SHOWN_KITS_MAX = 20
HIDDEN_CHARACTERS_MIN = 4  # a shorter value stands in half of all words


ParamProblem = tuple[str, str]  # the param's name, and the sentence


def check_shaping(
    shaping: Shaping, load_code: LoadCode
) -> tuple[list[ParamProblem], list[Problem]]:
    """Return what is wrong with the params, and with the playbook.

    A playbook is compiled only where every param has a value that it may have. Code of an operator
    is never loaded here: `load_code` has that done in a jail.
    """
    wrong = [*_missing_params(shaping), *param_problems(shaping.params, shaping.given)]
    tree = shaping.whole_playbook
    if wrong or tree is None:
        return wrong, []
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


def unused_params(shaping: Shaping) -> list[ParamProblem]:
    """Return a name and a sentence for each value that is given to nobody."""
    if shaping.playbook is None and shaping.connection is None:
        return []
    names = [param.name for param in shaping.params]
    what = "playbook" if shaping.connection is None else "kit"
    return [
        (name, f"is the name of no param of its {what}{_near(name, names)}")
        for name in shaping.given
        if name not in names
    ]


def unknown_kit(name: str, names: Sequence[str]) -> str:
    """Return the end of a line that tells of a kit which nobody has."""
    advice = suggest(name, names, "import it with `trunkline kits import`")
    expected = f"one of {', '.join(names[:SHOWN_KITS_MAX])}" if names else "a kit"
    return (
        f"is {json.dumps(name)}, which is neither shipped nor imported; expected "
        f"{expected}; {advice}"
    )


def connection_problems(
    settings: Mapping[str, Any], shaping: Shaping, kind: Kind
) -> list[tuple[tuple[str, ...], str]]:
    """Let a kind itself judge settings with the kit's connection in them.

    Each problem is the keys below `settings` and a sentence. Where another value of one param mends
    it, that param is named, else the kit.
    """
    told = _connection_fault(settings, shaping, kind)
    if not told:
        return []
    for param in shaping.params:
        value = param.default or param.example
        if not value or param.name not in shaping.given:
            continue
        other = msgspec.structs.replace(shaping, given={**shaping.given, param.name: value})
        if not _connection_fault(settings, other, kind):
            return [(("params", param.name), f"cannot be used: {told}")]
    kit = json.dumps(settings["kit"])
    return [(("kit",), f"is {kit}, which cannot be sent to: {told}")]


def _connection_fault(settings: Mapping[str, Any], shaping: Shaping, kind: Kind) -> str:
    plain = {**reveal(settings), "connection": shaping.connection or {}, "params": shaping.values}
    try:
        kind(msgspec.convert(plain, kind.settings_type))
    except (msgspec.ValidationError, ValueError) as error:
        return without_values(str(error), shaping.given)
    return ""


def _missing_params(shaping: Shaping) -> list[ParamProblem]:
    names = [param.name for param in shaping.params]
    extra = [name for name in shaping.given if name not in names]
    return [
        (
            param.name,
            f"is missing; expected {_wanted(param)}{_example(param)}; "
            + _advice(param.name, extra),
        )
        for param in shaping.params
        if param.is_required and param.name not in shaping.given
    ]


def _wanted(param: Param) -> str:
    """Say what a value is to be, in the kit's words where it has some."""
    return param.expected or f"a value for $${param.name}$$"


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
