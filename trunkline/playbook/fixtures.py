"""Fixtures: events beside a playbook, with what must become of them.

- name: an order
  event: {type: track, event: Order Completed, messageId: m-1, properties: {total: 5}}
  now: 2026-11-20T10:15:30Z          # the clock; left out: the event's receivedAt, or timestamp
  expect: {value: 5}                 # what is sent; a list where several events come of one
- name: no page
  event: {type: page, messageId: m-2}
  filtered: global.filters[0]        # or true: by whichever filter
- name: a bad price
  event: {type: track, event: Order Completed, messageId: m-3, properties: {total: x}}
  fails: "attempt to perform arithmetic"   # a part of the failure's message
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from trunkline.playbook.comparing import Change, changes
from trunkline.playbook.program import Moment, Problem, Shaped

FIXTURES_MAX = 1000
SEED = "fixture"


class FixtureError(ValueError):
    """A file of fixtures that is none: where, and what was expected."""


class Fixture(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One case. Exactly one of `expect`, `filtered` and `fails` says what must become of it."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    event: dict[str, Any]
    now: Any = None
    expect: dict[str, Any] | list[dict[str, Any]] | UnsetType = UNSET
    filtered: str | bool | UnsetType = UNSET
    fails: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        said = [each for each in (self.expect, self.filtered, self.fails) if each is not UNSET]
        if len(said) != 1:
            raise ValueError(
                f"{self.name!r} says {len(said)} of expect, filtered and fails; expected one"
            )


class Verdict(Struct, frozen=True):
    """What a fixture came to: passed where `problem` is empty; `changes` from expected to found."""

    name: str
    problem: str
    changes: tuple[Change, ...] = ()


def read_fixtures(tree: Any) -> list[Fixture]:
    """Return the fixtures of a decoded file. Raises `FixtureError` with every problem."""
    if not isinstance(tree, list) or len(tree) > FIXTURES_MAX:  # pyright: ignore[reportUnknownArgumentType]
        raise FixtureError(f"expected a list of at most {FIXTURES_MAX} fixtures")
    fixtures: list[Fixture] = []
    problems: list[Problem] = []
    for at, each in enumerate(tree):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        try:
            fixtures.append(msgspec.convert(each, Fixture))
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(Problem(f"[{at}]", str(error)))
    if problems:
        raise FixtureError("; ".join(str(problem) for problem in problems))
    return fixtures


def moment_of(fixture: Fixture, now_ms: int) -> Moment:
    """Return the moment a fixture runs at: the same each time, so that it can be compared."""
    return Moment(now_ms, f"{SEED}\0{fixture.event.get('messageId', fixture.name)}")


def judge(fixture: Fixture, shaped: Shaped) -> Verdict:
    """Compare what became of the event with what the fixture says."""
    if fixture.expect is not UNSET:
        return _judge_output(fixture, shaped)
    if fixture.filtered is not UNSET:
        wanted = fixture.filtered
        if shaped.filtered and wanted in (True, shaped.filtered):
            return Verdict(fixture.name, "")
        expected = "by a filter" if wanted is True else f"by {wanted}"
        return Verdict(fixture.name, f"expected to be dropped {expected}; {_told(shaped)}")
    failure = shaped.failure
    if failure is not None and fixture.fails is not UNSET and fixture.fails in failure.sentence:
        return Verdict(fixture.name, "")
    return Verdict(fixture.name, f"expected to fail with {fixture.fails!r}; {_told(shaped)}")


def _judge_output(fixture: Fixture, shaped: Shaped) -> Verdict:
    expected = fixture.expect if isinstance(fixture.expect, list) else [fixture.expect]
    if not shaped.outputs:
        return Verdict(fixture.name, f"expected an output; {_told(shaped)}")
    found = list(shaped.outputs)
    differing = changes(expected, found)
    if not differing:
        return Verdict(fixture.name, "")
    if len(expected) == len(found) == 1:
        differing = changes(expected[0], found[0])
    return Verdict(fixture.name, "the output differs (expected → found)", tuple(differing))


def _told(shaped: Shaped) -> str:
    if shaped.filtered:
        return f"dropped by {shaped.filtered}"
    if shaped.failure is not None:
        return shaped.failure.sentence
    return f"it gave {len(shaped.outputs)} outputs"
