"""Writing into an output, as the compiled code does it.

Objects merge into objects, whatever wrote them; everything else replaces what stands there. What
stands in an output may be a part of the event, which is never changed: so an object into which
something may be written later is copied first (`own`), but not by the last part (`lay`). Lists are
never written into.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, cast

from trunkline.playbook.program import Moment
from trunkline.playbook.spec import OUTPUT_BYTES_MAX

Output = dict[str, Any]


class CannotShape(Exception):
    """An event cannot be shaped: which part could not, at which line of its code, and why.

    `given` is what the part was given.
    """

    def __init__(self, path: str, line: int, message: str, given: Any = None) -> None:
        super().__init__(message)
        self.path = path
        self.line = line
        self.given = given


def at(value: Any, key: str, index: int) -> Any:
    """Return what stands under a numeric part of a path, in a list or an object."""
    if type(value) is list:
        items = cast("list[Any]", value)
        return items[index] if index < len(items) else None
    return cast("Output", value).get(key) if type(value) is dict else None


def own(value: Output) -> Output:
    """Copy an object and the objects in it, but no list."""
    made = value.copy()  # a third faster than building it key by key
    for key, child in value.items():
        if type(child) is dict:
            made[key] = own(cast("Output", child))
    return made


def put(out: Output, keys: tuple[str, ...], value: Any) -> None:
    """Write a value under a path of at least one key."""
    place = out
    for key in keys[:-1]:
        below = place.get(key)
        if type(below) is not dict:
            below = place[key] = {}
        place = cast("Output", below)
    if type(value) is not dict:
        place[keys[-1]] = value
        return
    held = place.get(keys[-1])
    if type(held) is dict:
        merge(cast("Output", held), cast("Output", value))
    else:
        place[keys[-1]] = own(cast("Output", value))


def merge(out: Output, value: Output) -> None:
    """Merge an object into another. Null is nothing: it replaces no value."""
    for key, child in value.items():
        if type(child) is dict:
            held = out.get(key)
            if type(held) is dict:
                merge(cast("Output", held), cast("Output", child))
            else:
                out[key] = own(cast("Output", child))
        elif child is not None:
            out[key] = child


def lay(out: Output, value: Output) -> None:
    """Merge as the last part of all may do it: nobody writes later into what it leaves shared."""
    for key, child in value.items():
        if child is None:
            continue
        held = out.get(key) if type(child) is dict else None
        if type(held) is dict:
            merge(cast("Output", held), cast("Output", child))
        else:
            out[key] = child


def pour(out: Output, value: Any, path: str) -> None:
    """Merge what code made into the output; nothing for nil. Raises `CannotShape`."""
    if type(value) is dict:
        merge(out, cast("Output", value))
    elif value:
        kind = "a list" if isinstance(value, list) else "a number, text or boolean"
        raise CannotShape(path, 0, f"made {kind}; what is merged into the output is an object")


def flatten(value: Any, prefix: str, separator: str, depth: int, path: str) -> Output:
    """Return the values inside an object under joined keys; lists count from 0.

    `depth` is how many levels are joined (0: all); what is deeper stays whole, as do empty objects
    and lists. Raises `CannotShape` where the keys alone outgrow an output.
    """
    found: Output = {}
    size = 0
    stack: list[tuple[str, Any, int]] = [(prefix, value, 0)] if type(value) is dict else []
    while stack:
        name, child, level = stack.pop()
        items = _children(child) if not depth or level < depth else None
        if not items:
            if child is not None and level:
                found[name] = child
            continue
        for key, grandchild in reversed(items):
            joined = f"{name}{separator}{key}" if name else key
            size += len(joined)
            stack.append((joined, grandchild, level + 1))
        if size > OUTPUT_BYTES_MAX:
            raise CannotShape(path, 0, f"makes more than {OUTPUT_BYTES_MAX:,} characters of keys")
    return found


def _children(value: Any) -> list[tuple[str, Any]] | None:
    if type(value) is dict:
        return list(cast("Output", value).items())
    if type(value) is list:
        return [(str(n), child) for n, child in enumerate(cast("list[Any]", value))]
    return None


def seconds(moment: Moment) -> int:
    """Return the attempt's time in seconds since 1970 UTC."""
    return moment.now_ms // 1000


def make_uuid(moment: Moment, key: str) -> str:
    """Return an id shaped as UUID v4: the same for the same delivery and output key."""
    digest = hashlib.sha256(f"{moment.seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
