"""What of an event a destination is not to see, or only as a hash.

Where a consent is needed and none was given, what is personal is withheld (`withholding.py`).
`deny_fields` are removed and `hash_fields` hashed. All of it before playbook and kind see the
event, at every attempt anew and wherever one is rendered again. It is total, and doing it twice
changes nothing more. The event itself stays whole in the event log.

A path is names with dots between them. `*` in a name stands for any characters of one name. A name
that meets a list is looked for in each of its items; a number or `*` chooses items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any, NamedTuple, cast

import msgspec

from trunkline.kit.consent import lacks_consent
from trunkline.kit.destination import Mapped
from trunkline.kit.withholding import withhold
from trunkline.model.event import JsonObject, lane_of
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
NAME_END_MAX = 40  # characters of a name by which `default` knows it
STARS_MAX = 3  # in one name: more would take a matcher long on a hostile one

Protect = Callable[[Mapped], Mapped]
Names = re.Pattern[str] | str  # a pattern, or one name
Path = tuple[Names, ...]
Act = Callable[[Any], Any]

_GONE: Any = object()
# How names end, without case and punctuation, that `default` hashes at any depth.
_EMAIL_ENDS = ("email", "emailaddress")
_PHONE_ENDS = ("phone", "phonenumber", "mobile", "mobilenumber")
_EMAIL = re.compile("e_?mail", re.IGNORECASE)
_PHONE = re.compile("phone|mobile", re.IGNORECASE)
_FACTS = ("userId", "anonymousId", "event", "name")  # what `Mapped` says beside the body
_HOLDERS: tuple[Path, ...] = (("traits",), ("context", "traits"), ("properties",))


def protector(destination: Destination) -> Protect | None:
    """Return what makes an event as a destination may see it; None where it may see all of it."""
    changes = _changes_of(destination.deny_fields, destination.hash_fields)
    withheld = _withholding(destination)
    if not changes and withheld is None:
        return None

    def protect(mapped: Mapped) -> Mapped:
        whole: dict[str, Any] = mapped.value
        value = whole if withheld is None else withheld(whole)
        value = _all_changed(value, changes)
        if value is whole:
            return mapped
        # What makes an event one stays, whatever the paths say.
        value = {**{key: whole[key] for key in ESSENTIAL if key in whole}, **value}
        return _mapped(mapped, value)

    return protect


def _withholding(destination: Destination) -> Callable[[JsonObject], JsonObject] | None:
    """Return what withholds what is personal from who has no consent; None where all may be seen.

    Also where such an event is dropped: who shows one by hand sees no more of it than is sent.
    """
    lacks, config = lacks_consent(destination), destination.consent_regions
    if lacks is None or config is None:
        return None
    personal = _changes_of(config.personal_fields, ())

    def withheld(event: JsonObject) -> JsonObject:
        if not lacks(event):
            return event
        made = _all_changed(withhold(event), personal)
        return event if made == event else made

    return withheld


@lru_cache(maxsize=1024)
def _changes_of(deny: tuple[str, ...], hashed: tuple[str, ...]) -> Sequence[tuple[Path, Act]]:
    changes = [(compile_path(path), _remove) for path in deny]
    return [*changes, *(change for path in hashed for change in _hashes_of(path))]


def _all_changed(event: JsonObject, changes: Sequence[tuple[Path, Act]]) -> JsonObject:
    for path, act in changes:
        event = _changed(event, path, 0, act)
    return event


def protect_all(destination: Destination, events: Sequence[Mapped]) -> list[Mapped]:
    """Return events as a destination may see them."""
    protect = protector(destination)
    return list(events) if protect is None else [protect(event) for event in events]


def protection_notes(destination: Destination, mapped: Mapped) -> list[str]:
    """Return a line for each field of an event that is kept from a destination, or hashed for it.

    Of a list that loses items their number is told. Nothing where it may see all of the event.
    """
    protect, withheld = protector(destination), _withholding(destination)
    if protect is None:
        return []
    whole: JsonObject = mapped.value
    between = whole if withheld is None else withheld(whole)
    notes: Iterator[str] = iter(())
    if between != whole:
        said = "consent: needed where the event comes from, and not given; personal fields withheld"
        notes = chain([said], _differences(whole, between, "", _WITHHELD))
    shown = protect(mapped).value
    return [*islice(chain(notes, _differences(between, shown, "", _PROTECTED)), NOTES_MAX)]


class _Words(NamedTuple):
    """How the notes tell that a field was taken out, and that it was changed."""

    gone: str
    changed: str


_PROTECTED = _Words("denied: {} taken out", "hashed: {} (sha256, by hash_fields)")
_WITHHELD = _Words("withheld: {} taken out", "withheld: a part of {}")


def _differences(was: Any, now: Any, path: str, words: _Words) -> Iterator[str]:
    if was is now or was == now:
        return
    if isinstance(was, dict) and isinstance(now, dict):
        named = cast("dict[str, Any]", now)
        for key, value in cast("dict[str, Any]", was).items():
            below = f"{path}.{key}" if path else key
            if key in named:
                yield from _differences(value, named[key], below, words)
            else:
                yield words.gone.format(f"{below} was")
    elif isinstance(was, list) and isinstance(now, list):
        olds, news = cast("list[Any]", was), cast("list[Any]", now)
        if len(olds) != len(news):
            yield words.gone.format(f"{len(olds) - len(news)} items of {path} were")
            return
        for number, (old, new) in enumerate(zip(olds, news, strict=True)):
            yield from _differences(old, new, f"{path}.{number}", words)
    else:
        yield words.changed.format(path)


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
    return name == names


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
        yield holder, _hash_contacts


def _hash_contacts(value: Any) -> Any:
    """Hash addresses and numbers however deep; the same object where there are none."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        hashed = {name: _hash_contact(name, child) for name, child in fields.items()}
        is_same = all(hashed[name] is fields[name] for name in fields)
        return fields if is_same else hashed
    if isinstance(value, list):
        items = cast("list[Any]", value)
        made = [_hash_contacts(item) for item in items]
        is_same = all(new is old for new, old in zip(made, items, strict=True))
        return items if is_same else made
    return value


def _hash_contact(name: str, value: Any) -> Any:
    rule = _contact_of(name[-NAME_END_MAX:])
    if rule is None:
        return _hash_contacts(value)
    made = _hashed(value, rule)
    return value if made == value else made


@lru_cache(maxsize=8192)
def _contact_of(name: str) -> Callable[[str], str] | None:
    """Return how what a name ending so holds is hashed; None where it is no contact."""
    folded = "".join(character for character in name.casefold() if character.isalnum())
    if folded.endswith(_EMAIL_ENDS):
        return _email
    return _phone if folded.endswith(_PHONE_ENDS) else None


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
