"""Functions in Python: CPython as it is. The jail is the boundary; nothing here pretends to be.

A function finds the modules of `MODULES` by name, every helper of `playbook`, and `log`. The
modules cannot be assigned to, so that one event's accident is not the next one's.
"""

from __future__ import annotations

import builtins
import difflib
import importlib
import inspect
import random
import sys
import uuid
from collections.abc import Callable, Mapping
from types import CodeType, ModuleType, TracebackType
from typing import Any, cast

import msgspec

from trunkline.jail.notes import Notes
from trunkline.playbook.program import CodeError, Moment

Function = Callable[[Any, dict[str, Any], Moment], Any]

ENTRY = "transform_event"
MODULES = (
    "base64", "bisect", "collections", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "hashlib", "heapq", "hmac", "html", "itertools", "json", "math", "operator",
    "random", "re", "statistics", "string", "textwrap", "time", "typing", "unicodedata", "uuid",
    "zlib",
)  # fmt: skip
# Imported by the others when they are first used; in the jail nothing can be imported.
_HIDDEN = (
    "_strptime", "calendar", "encodings.ascii", "encodings.base64_codec", "encodings.cp1252",
    "encodings.hex_codec", "encodings.idna", "encodings.latin_1", "encodings.punycode",
    "encodings.utf_16", "encodings.utf_32", "json.decoder", "json.encoder", "locale", "stringprep",
    "traceback", "urllib.parse",
)  # fmt: skip
_FILE = "<function>"
_MESSAGE_CHARACTERS_MAX = 500
_PLAIN = msgspec.to_builtins  # bound here: code may tamper with modules
_SEED = random.seed


class _Fixed(ModuleType):
    """A module that nobody assigns to."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self.__name__}.{name} cannot be changed by a function")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self.__name__}.{name} cannot be removed by a function")


class _NoMore:
    """An importer that has nothing."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Refuse to find a module."""
        raise ModuleNotFoundError(
            f"{name} cannot be imported by a function; there are {', '.join(MODULES)}, "
            "urllib.parse",
            name=name,
        )


def prepare_modules() -> None:
    """Import all that functions may use, once, before processes are forked."""
    for name in (*MODULES, *_HIDDEN):
        importlib.import_module(name)
    for name in ("sha256", "md5", "sha1", "sha512"):
        sys.modules["hashlib"].new(name, b"", usedforsecurity=False)  # OpenSSL loads parts lazily
    sys.modules["datetime"].datetime.strptime("2026", "%Y")
    uuid.uuid4 = _repeatable_uuid4


def _repeatable_uuid4() -> uuid.UUID:
    """Make a UUID from the event's own dice: an event that is sent again has the same one."""
    return uuid.UUID(int=random.getrandbits(128), version=4)


def close_modules() -> None:
    """Let nothing be imported or changed from now on."""
    for name in (*MODULES, "urllib.parse", "urllib", "builtins"):
        sys.modules[name].__class__ = _Fixed
    sys.meta_path[:] = [_NoMore]


class PythonCode:
    """Loads functions in Python."""

    def __init__(self, helpers: Mapping[str, Any], notes: Notes) -> None:
        self._names = {name: sys.modules[name] for name in MODULES}
        self._names |= {"urllib": sys.modules["urllib"], "log": notes.add, **helpers}

    def function(self, body: str) -> Function:
        """Load a body that defines `transform_event(event, meta)`. Raises `CodeError`."""
        namespace = {**self._names, "__builtins__": builtins, "__name__": "function"}
        ours = set(namespace)
        code = _compile(body)
        try:
            exec(code, namespace)
        except BaseException as error:
            raise _explain(error) from None
        return _Guarded(_find_entry(namespace, ours), _needs_dice(body))


def _compile(body: str) -> CodeType:
    try:
        return compile(body, _FILE, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise CodeError(f"no Python: {error.msg}", error.lineno or 0) from None
    except (ValueError, MemoryError, RecursionError, OverflowError) as error:
        raise CodeError(f"no Python: {error or type(error).__name__}") from None


def _find_entry(namespace: dict[str, Any], ours: set[str]) -> Callable[..., Any]:
    entry = namespace.get(ENTRY)
    if entry is None:
        raise CodeError(_missing_entry([name for name in namespace if name not in ours]))
    if not callable(entry):
        raise CodeError(
            f"{ENTRY} is of type {type(entry).__name__}; expected a function (event, meta)"
        )
    if inspect.iscoroutinefunction(entry) or inspect.isgeneratorfunction(entry):
        raise CodeError(f"{ENTRY} must be a plain function: no `async`, no `yield`")
    try:
        inspect.signature(entry).bind({}, {})
    except (TypeError, ValueError) as error:
        raise CodeError(f"{ENTRY} must take (event, meta): {error}") from None
    return entry


def _missing_entry(defined: list[str]) -> str:
    close = difflib.get_close_matches(ENTRY, [str(name) for name in defined], 1, 0.6)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"the code defines no {ENTRY}(event, meta){hint}"


def _needs_dice(body: str) -> bool:
    return "random" in body or "uuid" in body  # seeding costs 12 µs: only where it is used


class _Guarded:
    """A function that is given copies, and whose result is JSON."""

    def __init__(self, entry: Callable[..., Any], needs_dice: bool) -> None:
        self._entry = entry
        self._needs_dice = needs_dice

    def __call__(self, event: Any, meta: dict[str, Any], moment: Moment) -> Any:
        return self.take(copy_json(event), copy_json(meta), moment)

    def take(self, event: Any, meta: dict[str, Any], moment: Moment) -> Any:
        """Do the same with values of its own: the code may change them. Raises `CodeError`."""
        if self._needs_dice:
            _SEED(moment.seed)
        try:
            result = self._entry(event, meta)
        except BaseException as error:
            raise _explain(error) from None
        if result is None:
            return None
        _check_result(result)
        try:
            return _PLAIN(result, str_keys=True)  # nothing but JSON from here on, nothing shared
        except (TypeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            raise CodeError(f"{ENTRY} returned what is no JSON: {_say(error)}") from None


def copy_json(value: Any) -> Any:
    """Copy objects and lists all the way down."""
    try:
        return msgspec.to_builtins(value)  # four times as fast as the way below
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return _copy_slowly(value)  # code before it made what is no JSON; its own check tells it


def _copy_slowly(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return {key: _copy_slowly(child) for key, child in pairs}
    if isinstance(value, list):
        return [_copy_slowly(child) for child in cast("list[Any]", value)]
    return value


def _check_result(result: Any) -> None:
    if isinstance(result, dict):
        return
    if not isinstance(result, list):
        raise CodeError(
            f"{ENTRY} returned a value of type {type(result).__name__}; return the event (a dict), "
            "a list of events, or None to drop it"
        )
    for item in cast("list[Any]", result):
        if not isinstance(item, dict):
            raise CodeError(
                f"{ENTRY} returned a list that holds a value of type {type(item).__name__}; it "
                "holds events: dicts"
            )


def _explain(error: BaseException) -> CodeError:
    if isinstance(error, CodeError):
        return error
    return CodeError(_say(error), _line_of(error.__traceback__))


def _say(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "MemoryError: it used more memory than a jailed process may have"
    try:
        text = str(error)
    except BaseException:  # an exception's text is the operator's code too
        text = "(its text cannot be read)"
    name = type(error).__name__
    return f"{name}: {text}"[:_MESSAGE_CHARACTERS_MAX] if text else name


def _line_of(trace: TracebackType | None) -> int:
    """Return the line of the operator's code where it failed: the deepest one."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
