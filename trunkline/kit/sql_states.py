"""What an error of PostgreSQL means for events: by its state, and before a sign-in by its words."""

from __future__ import annotations

from trunkline.model.outcome import Blocked, Retry

# A table that cannot be changed: not ours, locked, too slow, used by a view, full of columns.
_UNCHANGEABLE = frozenset({"42501", "55P03", "57014", "0A000", "54011", "2BP01", "42804", "42P16"})
# One row is at fault: a value that its column does not take, a constraint, a size.
_ROW_CLASSES = frozenset({"22", "23", "54"})
_ROW_STATES = frozenset({"42804"})
# A person must act: no right, database or schema, no such constraint, not a table.
_BLOCKED_CLASSES = frozenset({"28", "3D", "3F", "42"})
_AGAIN_STATES = frozenset({"42P01", "42703", "42P07"})  # the tables changed under us
# Before a sign-in the client passes on words alone. What is FATAL then, and none of these, is a
# person's matter.
_AGAIN_WORDS = ("starting up", "shutting down", "recovery", "too many", "slots", "read-only")
_PERSON_WORDS = (
    "fatal:",
    "could not translate host name",
    "failed to resolve host",
    "certificate",
    "no password supplied",
    "does not support ssl",
)


def is_unchangeable(state: str | None) -> bool:
    """Say whether a table cannot be altered now, and will do as it is."""
    return state in _UNCHANGEABLE


def is_of_a_row(state: str | None) -> bool:
    """Say whether a row is at fault, and another form of it may pass."""
    return state is not None and (state[:2] in _ROW_CLASSES or state in _ROW_STATES)


def outcome_of_state(state: str | None, text: str) -> Blocked | Retry:
    """Return what an error means for all events of a batch."""
    if state is None:
        return Retry(text)
    if state[:2] in _BLOCKED_CLASSES and state not in _AGAIN_STATES:
        return Blocked(f"{text} ({state}); correct the settings, the rights or the table")
    return Retry(f"{text} ({state})")


def outcome_of_connecting(text: str) -> Blocked | Retry:
    """Return what a connection that did not come about means."""
    said = text.lower()
    is_passing = any(word in said for word in _AGAIN_WORDS)
    if not is_passing and any(word in said for word in _PERSON_WORDS):
        return Blocked(f"{text}; correct the settings, or what is missing there")
    return Retry(text)
