"""What of an event a destination is not to see, or only as a hash.

`deny_fields` are removed and `hash_fields` hashed before playbook and kind see the event, at every
attempt anew and wherever one is rendered again. Both are total, and doing them twice changes
nothing more. The event itself stays whole in the event log.

A path is names with dots between them. `*` in a name stands for any characters of one name. A name
that meets a list is looked for in each of its items; a number or `*` chooses items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, cast

import msgspec

from trunkline.kit.destination import Mapped
from trunkline.model.event import lane_of
from trunkline.model.snapshot import Destination
from trunkline.playbook.emails import normalise_email
from trunkline.playbook.hashing import sha256_hex
from trunkline.playbook.people import latin_digits
from trunkline.playbook.phones import e164
from trunkline.playbook.scalars import text_of

HASH_DEFAULT = "default"
ESSENTIAL = ("messageId", "type", "app")  # without them an event is none
NOTES_MAX = 50  # of one event
PATHS_MAX = 100
PARTS_MAX = 12
PATH_LENGTH_MAX = 200
STARS_MAX = 3  # in one name: more would take a matcher long on a hostile one

Protect = Callable[[Mapped], Mapped]
Names = re.Pattern[str] | frozenset[str] | str  # a pattern, names in lower case, or one name
Path = tuple[Names, ...]
Act = Callable[[Any], Any]

_GONE: Any = object()
_EMAIL_NAMES = frozenset({"email", "e_mail", "emailaddress", "email_address"})
_PHONE_NAMES = frozenset(
    {"phone", "phonenumber", "phone_number", "mobile", "mobilenumber", "mobile_number"}
)
_EMAIL = re.compile("e_?mail", re.IGNORECASE)
_PHONE = re.compile("phone|mobile", re.IGNORECASE)
_FACTS = ("userId", "anonymousId", "event", "name")  # what `Mapped` says beside the body
_HOLDERS: tuple[Path, ...] = (("traits",), ("context", "traits"), ("properties",))


def protector(destination: Destination) -> Protect | None:
    """Return what makes an event as a destination may see it; None where it may see all of it."""
    return _protector(destination.deny_fields, destination.hash_fields)


@lru_cache(maxsize=1024)
def _protector(deny: tuple[str, ...], hashed: tuple[str, ...]) -> Protect | None:
    changes = [(compile_path(path), _remove) for path in deny]
    changes += [change for path in hashed for change in _hashes_of(path)]
    if not changes:
        return None

    def protect(mapped: Mapped) -> Mapped:
        value: dict[str, Any] = mapped.value
        for path, act in changes:
            value = _changed(value, path, 0, act)
        if value is mapped.value:
            return mapped
        # What makes an event one stays, whatever the paths say.
        value = {**{key: mapped.value[key] for key in ESSENTIAL if key in mapped.value}, **value}
        return _mapped(mapped, value)

    return protect


def protect_all(destination: Destination, events: Sequence[Mapped]) -> list[Mapped]:
    """Return events as a destination may see them."""
    protect = protector(destination)
    return list(events) if protect is None else [protect(event) for event in events]


def protection_notes(mapped: Mapped, shown: Mapped) -> list[str]:
    """Return a line for each field of an event that was taken out or hashed for a destination.

    `shown` is the event as the destination may see it. Of a list that lost items their number is
    told.
    """
    return [*islice(_differences(mapped.value, shown.value, ""), NOTES_MAX)]


def _differences(was: Any, now: Any, path: str) -> Iterator[str]:
    if was is now or was == now:
        return
    if isinstance(was, dict) and isinstance(now, dict):
        named = cast("dict[str, Any]", now)
        for key, value in cast("dict[str, Any]", was).items():
            below = f"{path}.{key}" if path else key
            if key in named:
                yield from _differences(value, named[key], below)
            else:
                yield f"denied: {below} was taken out"
    elif isinstance(was, list) and isinstance(now, list):
        olds, news = cast("list[Any]", was), cast("list[Any]", now)
        if len(olds) != len(news):
            yield f"denied: {len(olds) - len(news)} items of {path} were taken out"
            return
        for number, (old, new) in enumerate(zip(olds, news, strict=True)):
            yield from _differences(old, new, f"{path}.{number}")
    else:
        yield f"hashed: {path} (sha256, by hash_fields)"


def _mapped(mapped: Mapped, value: dict[str, Any]) -> Mapped:
    changed = {key for key in _FACTS if value.get(key) != mapped.value.get(key)}
    user, name = mapped.user, mapped.name
    if changed & {"userId", "anonymousId"}:
        user = lane_of(_text(value, "userId"), _text(value, "anonymousId"))
    if changed & {"event", "name"}:
        name = _text(value, "event") or _text(value, "name")
    return Mapped(
        mapped.message_id, mapped.app, user, mapped.type, name, msgspec.json.encode(value)
    )


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def path_problem(path: str) -> str:
    """Return what is wrong with a path, as the end of a sentence; "" where nothing is."""
    parts = path.split(".")
    if not all(parts) or not path.isprintable() or len(path) > PATH_LENGTH_MAX:
        return (
            f"names with one dot between two, at most {PATH_LENGTH_MAX} characters, say "
            "`context.ip` or `properties.*_token`"
        )
    if len(parts) > PARTS_MAX:
        return f"a path of at most {PARTS_MAX} names"
    if any(part.count("*") > STARS_MAX for part in parts):
        return f"at most {STARS_MAX} `*` in one name"
    if len(parts) == 1 and any(_is_named(name, compile_path(path)[0]) for name in ESSENTIAL):
        return "another field: an event is none without " + ", ".join(ESSENTIAL)
    return ""


def compile_path(path: str) -> Path:
    """Return a path in its parts; one with `*` as a pattern of names."""
    return tuple(_names(part) for part in path.split("."))


def _names(part: str) -> Names:
    if "*" not in part:
        return part
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", part))), re.DOTALL)


def _is_named(name: str, names: Names) -> bool:
    if isinstance(names, re.Pattern):
        return names.fullmatch(name) is not None
    return name == names if isinstance(names, str) else name.lower() in names


def _changed(value: Any, path: Path, at: int, act: Act) -> Any:
    """Return a value with a change made at a path; the same object where nothing changed."""
    if isinstance(value, dict):
        return _in_object(cast("dict[str, Any]", value), path, at, act)
    return _in_list(cast("list[Any]", value), path, at, act) if isinstance(value, list) else value


def _in_object(value: dict[str, Any], path: Path, at: int, act: Act) -> dict[str, Any]:
    names, made = path[at], value
    chosen = [names] if isinstance(names, str) else [k for k in value if _is_named(k, names)]
    for name in chosen:
        if name not in value:
            continue
        child = _below(value[name], path, at, act)
        if child is not value[name]:
            made = dict(made) if made is value else made
            if child is _GONE:
                del made[name]
            else:
                made[name] = child
    return made


def _in_list(value: list[Any], path: Path, at: int, act: Act) -> list[Any]:
    names = path[at]
    if isinstance(names, str) and not names.isdigit():
        made = [_changed(item, path, at, act) for item in value]
    else:
        made = [
            _below(item, path, at, act) if _is_named(str(number), names) else item
            for number, item in enumerate(value)
        ]
    if all(new is old for new, old in zip(made, value, strict=True)):
        return value
    return [item for item in made if item is not _GONE]


def _below(child: Any, path: Path, at: int, act: Act) -> Any:
    return act(child) if at + 1 == len(path) else _changed(child, path, at + 1, act)


def _remove(_: Any) -> Any:
    return _GONE


def _hashes_of(path: str) -> Iterator[tuple[Path, Act]]:
    if path != HASH_DEFAULT:
        yield compile_path(path), _hash_for(path.rpartition(".")[2])
        return
    for holder in _HOLDERS:
        yield (*holder, _EMAIL_NAMES), _hash_for("email")
        yield (*holder, _PHONE_NAMES), _hash_for("phone")


def _hash_for(name: str) -> Act:
    """Return how a field of this name is hashed: as an address, as a number, or as it stands."""
    rule = _plain
    if _EMAIL.search(name):
        rule = _email
    elif _PHONE.search(name):
        rule = _phone
    return lambda value: _hashed(value, rule)


def _hashed(value: Any, rule: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _hashed(child, rule) for key, child in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_hashed(child, rule) for child in cast("list[Any]", value)]
    text = text_of(value)
    digest = None if text is None or isinstance(value, bool) else sha256_hex(rule(text.strip()))
    # A hash that is one already is the same object, so that nothing counts as changed.
    return value if digest is None or digest == value else digest


def _plain(text: str) -> str:
    return text


def _email(text: str) -> str:
    return normalise_email(text, "trim_lower") or text.lower()


def _phone(text: str) -> str:
    return e164(text) or "".join(latin_digits(text).split())
