"""A contract at work: what the playbook made in, what may be sent of it out, or why nothing is.

Compiled once for a destination. An event that keeps every rule costs one test each; only one that
breaks a rule by a value is copied, so that what others hold of it stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.kit.destination import Mapped
from trunkline.kit.times import format_ms, parse_time_ms
from trunkline.kits.answers import is_same
from trunkline.kits.contract import RULES_MAX, Clamp, ContractRule
from trunkline.kits.paths import EVERY, Site, getter, getter_below, keys_of, members, sites
from trunkline.kits.patterns import full_match
from trunkline.model.outcome import Filtered, Rejected
from trunkline.playbook.conditions import GROUPS, OPERATORS, number_at
from trunkline.playbook.paths import path_parts

NOTES_MAX = 50  # of one event
NAMES_KEPT = 4096  # names of keys, of one rule

Holds = Callable[[Any], bool]
_encode = msgspec.json.Encoder().encode


class _Stamp(Struct):
    timestamp: Any = None


_read_stamp = msgspec.json.Decoder(_Stamp).decode


class _Look:
    """One event on its way through the rules. `value` becomes a copy with the first change."""

    __slots__ = ("_event_ms", "event", "is_changed", "notes", "now_ms", "value")

    def __init__(self, event: Mapped, now_ms: int) -> None:
        self.event = event
        self.now_ms = now_ms
        self.value = event.value
        self.is_changed = False
        self.notes: list[str] = []
        self._event_ms: int | None = None

    def age_ms(self) -> int:
        """Return how long ago the event was by its own timestamp; 0 where it tells none."""
        if self._event_ms is None:
            told = _read_stamp(self.event.origin or self.event.body).timestamp
            ms = parse_time_ms(told)
            self._event_ms = self.now_ms if ms is None else ms
        return self.now_ms - self._event_ms

    def size(self) -> int:
        """Return the bytes of the output's JSON."""
        return len(_encode(self.value)) if self.is_changed else len(self.event.body)

    def note(self, text: str) -> None:
        if len(self.notes) < NOTES_MAX:
            self.notes.append(text)

    def change(self) -> dict[str, Any]:
        """Return the value to be changed."""
        if not self.is_changed:
            self.value = msgspec.json.decode(self.event.body, type=dict[str, Any])
            self.is_changed = True
        return self.value

    def made(self) -> Mapped:
        """Return the event as it is sent."""
        if not self.is_changed:
            return self.event
        made = msgspec.structs.replace(
            self.event, body=_encode(self.value), origin=self.event.origin or self.event.body
        )
        vars(made)["value"] = self.value  # it is at hand; else it would be decoded again
        return made


Breaks = Callable[[_Look], bool]
Step = tuple[Breaks, ContractRule, "Holds | None"]


class Contract:
    """The rules of one vendor, compiled."""

    def __init__(self, rules: Sequence[ContractRule]) -> None:
        self._steps: list[Step] = [(_breaks(rule), rule, _fault(rule)) for rule in rules]

    def judge(self, event: Mapped, now_ms: int) -> Mapped | Filtered | Rejected:
        """Return what may be sent of an event at that time, or why nothing is."""
        look = _Look(event, now_ms)
        return self._run(look) or look.made()

    def notes(self, event: Mapped, now_ms: int) -> list[str]:
        """Return a line for each thing that rules changed, `RULE: what`."""
        look = _Look(event, now_ms)
        self._run(look)
        return look.notes

    def _run(self, look: _Look) -> Filtered | Rejected | None:
        for breaks, rule, fault in self._steps:
            if not breaks(look):
                continue
            if rule.then == "reject":
                return Rejected(rule.reason, is_sure=True, was_sent=False)
            if rule.then == "drop":
                return Filtered(f"vendor: {rule.name}")
            if rule.clamp is not None:
                _clamp(look, rule, rule.clamp)
            elif rule.one_of:
                _keep_first(look, rule)
            else:
                _mend(look, rule, fault)
        return None


def _breaks(rule: ContractRule) -> Breaks:
    """Return what says whether an event breaks a rule."""
    gates = [*([condition_test(rule.when)] if rule.when else [])]
    if rule.unless:
        holds = condition_test(rule.unless)
        gates.append(lambda value: not holds(value))
    test = _test(rule)
    if not gates:
        return test or (lambda _look: False)
    gate = gates[0] if len(gates) == 1 else _group(gates, is_all=True)
    if test is None:
        return lambda look: gate(look.value)
    return lambda look: gate(look.value) and test(look)


def _test(rule: ContractRule) -> Breaks | None:
    if (older := rule.older_ms) is not None:
        return lambda look: look.age_ms() > older
    if (ahead := rule.ahead_ms) is not None:
        return lambda look: -look.age_ms() > ahead
    if rule.any_of or rule.one_of:
        return _ways_test(rule)
    if not rule.has_test:
        return None
    if not rule.key:
        most = rule.bytes_max or 0
        return lambda look: look.size() > most
    fault = _fault(rule)
    assert fault is not None
    if EVERY in rule.key.split("."):
        return _every_test(rule.key, fault)
    get = getter(rule.key)

    def is_broken(look: _Look) -> bool:
        value = get(look.value)
        return value is not None and fault(value)

    return is_broken


def _ways_test(rule: ContractRule) -> Breaks:
    """Return what counts the ways that are there: none of `anyOf`, or not one of `oneOf`."""
    if rule.any_of:
        there = _group([_way(paths) for paths in rule.any_of], is_all=False)
        return lambda look: not there(look.value)
    ways = [_way(paths) for paths in rule.one_of]
    most = 1 if rule.then == "leave_out" else 0  # of none there is nothing to leave out

    def is_broken(look: _Look) -> bool:
        count = sum([holds(look.value) for holds in ways])
        return count > 1 or count < 1 - most

    return is_broken


def _way(paths: Sequence[str]) -> Holds:
    """Return what says whether all of the paths are there."""
    gets = [getter(path) for path in paths]
    if len(gets) == 1:
        get = gets[0]
        return lambda value: get(value) is not None
    return lambda value: all(get(value) is not None for get in gets)


def _every_test(path: str, fault: Holds) -> Breaks:
    """Return what looks at each member, and at each member of these where another `*` stands."""
    test = _members_test(path.split("."), fault)
    return lambda look: test(look.value)


def _members_test(parts: Sequence[str], fault: Holds) -> Holds:
    """Return what says whether anything at a path below a value is at fault."""
    if not parts:
        return fault
    if parts[0] == EVERY:
        return _any_member(_members_test(parts[1:], fault))
    end = parts.index(EVERY) if EVERY in parts else len(parts)
    get, test = getter_below(parts[:end]), _members_test(parts[end:], fault)

    def is_broken(value: Any) -> bool:
        found = get(value)
        return found is not None and test(found)

    return is_broken


def _any_member(test: Holds) -> Holds:
    def is_broken(value: Any) -> bool:
        for member in members(value):  # noqa: SIM110  a generator costs 1 µs
            if member is not None and test(member):
                return True
        return False

    return is_broken


def condition_test(tree: Any) -> Holds:
    """Return the predicate of a condition as playbooks write it, checked and without params."""
    ((name, argument),) = tree.items()
    if name in GROUPS:
        return _group(
            [condition_test(each) for each in argument["conditions"]], name == "matchesAll"
        )
    holds = OPERATORS[name].prepare(argument)
    parts = path_parts(argument["inputPath"])
    if not parts:
        return holds
    get = getter(".".join(parts))
    if name == "inputPathExists":
        return lambda value: get(value) is not None
    return lambda value: holds(get(value))


def _group(every: Sequence[Holds], is_all: bool) -> Holds:
    """Return what asks several conditions; a loop, for a generator costs 1 µs."""

    def holds(value: Any) -> bool:
        for one in every:
            if one(value) is not is_all:
                return not is_all
        return is_all

    return holds


def _fault(rule: ContractRule) -> Holds | None:
    """Return what finds fault with a value; None where every value is at fault."""
    tests: list[Holds] = []
    if (characters := rule.characters_max) is not None:
        tests.append(lambda value: isinstance(value, str) and len(value) > characters)
    if (items := rule.items_max) is not None:
        tests.append(lambda value: isinstance(value, list | dict) and _count(value) > items)
    if (most := rule.bytes_max) is not None:
        tests.append(_bytes_test(most, of_text=rule.then == "cut"))
    if (among := rule.among) is not None:
        tests.append(_among_test(among))
    if rule.pattern:
        tests.append(_pattern_test(rule.pattern))
    if rule.low is not None or rule.high is not None:
        tests.append(_range_test(rule.low, rule.high))
    return _any_of([*tests, *_tests_of_keys(rule)])


def _tests_of_keys(rule: ContractRule) -> list[Holds]:
    """Return what finds fault with the keys of an object."""
    tests: list[Holds] = []
    if rule.is_of_names:
        tests.append(_names_test(_bad_names(rule.names, rule.names_not)))
    if rule.has_any:
        tests.append(_lacks_test(rule.has_any))
    return tests


def _bytes_test(most: int, *, of_text: bool) -> Holds:
    """Return what finds a value whose JSON is too long; of what is cut, the text alone."""
    if of_text:
        return lambda value: isinstance(value, str) and len(value.encode()) > most
    return lambda value: len(_encode(value)) > most


def _any_of(tests: Sequence[Holds]) -> Holds | None:
    if len(tests) == 1:
        return tests[0]
    return (lambda value: any(test(value) for test in tests)) if tests else None


def _count(value: Any) -> int:
    return len(cast("list[Any]", value))


def _among_test(among: tuple[Any, ...]) -> Holds:
    texts = frozenset(one for one in among if isinstance(one, str))
    others = [one for one in among if not isinstance(one, str)]

    def is_other(value: Any) -> bool:
        if isinstance(value, str):
            return value not in texts
        return not any(is_same(value, one) for one in others)

    return is_other


def _pattern_test(pattern: str) -> Holds:
    matches = full_match(pattern)

    def is_other(value: Any) -> bool:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return not matches(_encode(value).decode())
        return not matches(value)

    return is_other


def _range_test(low: float | None, high: float | None) -> Holds:
    def is_outside(value: Any) -> bool:
        number = number_at(value)
        if number is None:
            return False
        return (low is not None and number < low) or (high is not None and number > high)

    return is_outside


@lru_cache(maxsize=RULES_MAX)
def _bad_names(names: str, names_not: str) -> Callable[[str], bool]:
    """Return what says whether a key may not be called so.

    Events repeat the names of their keys, so what was found is kept.
    """
    good = full_match(names) if names else None
    bad = full_match(names_not) if names_not else None

    @lru_cache(maxsize=NAMES_KEPT)
    def is_bad(name: str) -> bool:
        return (good is not None and not good(name)) or (bad is not None and bad(name))

    return is_bad


def _names_test(is_bad: Callable[[str], bool]) -> Holds:
    def is_other(value: Any) -> bool:
        return isinstance(value, dict) and any(map(is_bad, cast("dict[str, Any]", value)))

    return is_other


def _lacks_test(keys: Sequence[str]) -> Holds:
    def lacks_all(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        named = cast("dict[str, Any]", value)
        return all(named.get(key) in (None, "") for key in keys)

    return lacks_all


def _clamp(look: _Look, rule: ContractRule, clamp: Clamp) -> None:
    """Set a key to the attempt's time, where it stands there."""
    tree = look.change()
    for site in [*sites(tree, clamp.key)]:
        site.holder[site.key] = _now_in(clamp.unit, look.now_ms)
        look.note(f"{rule.name}: {site.path} was set to the attempt's time")


def _now_in(unit: str, now_ms: int) -> int | str:
    if unit == "rfc3339":
        return format_ms(now_ms)
    return {"seconds": now_ms // 1000, "millis": now_ms, "micros": now_ms * 1000}[unit]


def _mend(look: _Look, rule: ContractRule, fault: Holds | None) -> None:
    """Cut or leave out the values at fault. From the end, so that positions in lists stay true."""
    tree = look.change()
    found = [site for site in sites(tree, rule.key) if fault is None or fault(site.value)]
    if rule.is_of_names:
        is_bad = _bad_names(rule.names, rule.names_not)
        found = [key for site in found for key in keys_of(site) if is_bad(key.key)]
    for site in found:
        if rule.then == "cut":
            site.holder[site.key] = _cut(site, rule)
            look.note(f"{rule.name}: {site.path} was cut to {_limit(site, rule)}")
        else:
            look.note(f"{rule.name}: {site.path} was left out")
    if rule.then == "leave_out":
        for site in reversed(found):
            del site.holder[site.key]
        _leave_out_empty(tree, rule.key)


def _leave_out_empty(tree: dict[str, Any], key: str) -> None:
    """Leave out a list of which a rule has left no member."""
    holder, _, last = key.rpartition(".")
    if last == EVERY and holder:
        for site in [site for site in sites(tree, holder) if site.value == []][::-1]:
            del site.holder[site.key]


def _keep_first(look: _Look, rule: ContractRule) -> None:
    """Leave out every way but the first that is there."""
    tree = look.change()
    there = [paths for paths in rule.one_of if _way(paths)(tree)]
    for path in (path for paths in there[1:] for path in paths if path not in there[0]):
        for site in [*sites(tree, path)]:
            del site.holder[site.key]
            look.note(f"{rule.name}: {site.path} was left out")


def _cut(site: Site, rule: ContractRule) -> Any:
    if isinstance(site.value, str) and rule.bytes_max is not None:
        return site.value.encode()[: rule.bytes_max].decode(errors="ignore")
    if isinstance(site.value, str):
        return site.value[: rule.characters_max]
    if isinstance(site.value, dict):
        return dict(islice(cast("dict[str, Any]", site.value).items(), rule.items_max))
    return site.value[: rule.items_max]


def _limit(site: Site, rule: ContractRule) -> str:
    if rule.bytes_max is not None:
        return f"{rule.bytes_max} bytes"
    if isinstance(site.value, str):
        return f"{rule.characters_max} characters"
    return f"{rule.items_max} items"
