"""Names made from events, and the order of a user within a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.kit.destination import Mapped
from trunkline.kit.routing_names import check_name, fill_name, is_fixed, keep_user_order
from trunkline.kit.sql_states import is_of_a_row, outcome_of_connecting, outcome_of_state
from trunkline.model.outcome import Blocked, Delivered, Rejected, Retry

OUTCOMES = st.sampled_from([Delivered(), Retry("later"), Rejected("never"), Blocked("mend it")])


def event(user: str = "u:1", name: str = "Order Completed") -> Mapped:
    return Mapped("m", "app", user, "track", name, b"{}")


def test_a_name_is_filled_from_the_event() -> None:
    assert fill_name("a.{app}.{type}.{event}", event()) == "a.app.track.Order_Completed"
    assert fill_name("{event}", event(name="")) == "track"
    assert fill_name("{event}", event(name="…")) == "_"
    assert fill_name("plain", event()) == "plain"
    assert is_fixed("plain")
    assert not is_fixed("{app}")


@given(st.text())
def test_no_event_adds_a_level_to_a_name(name: str) -> None:
    filled = fill_name("x.{event}", event(name=name))
    assert filled.count(".") == 1
    assert not set("#*/> \n{}") & set(filled)


def test_a_placeholder_that_nobody_knows_is_named() -> None:
    assert check_name("topic", "a{app}b", ("app",)) == "ab"
    with pytest.raises(ValueError, match=r"topic holds \{user\}; expected one of \{app\}, or none"):
        check_name("topic", "{user}", ("app",))
    with pytest.raises(ValueError, match="a brace that is not closed"):
        check_name("topic", "{", ("app",))


@given(st.lists(st.tuples(st.sampled_from(["u:1", "u:2", ""]), OUTCOMES), max_size=12))
def test_nothing_of_a_user_is_delivered_behind_what_is_sent_again(
    pairs: list[tuple[str, object]],
) -> None:
    events = [event(user) for user, _ in pairs]
    given_outcomes = [outcome for _, outcome in pairs]
    kept = keep_user_order(events, given_outcomes)  # type: ignore[arg-type]
    for number, (user, outcome) in enumerate(pairs):
        before = [k for e, k in zip(events[:number], kept[:number], strict=True) if e.user == user]
        is_behind = bool(user) and any(isinstance(one, Retry | Blocked) for one in before)
        if is_behind:
            assert not isinstance(kept[number], Delivered)
        if not isinstance(outcome, Delivered) or not is_behind:
            assert kept[number] is outcome


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (None, Retry),
        ("40P01", Retry),
        ("53100", Retry),
        ("57P01", Retry),
        ("42P01", Retry),
        ("42703", Retry),
        ("42501", Blocked),
        ("3F000", Blocked),
        ("28000", Blocked),
        ("42P10", Blocked),
    ],
)
def test_a_state_of_postgres_is_judged(state: str | None, kind: type) -> None:
    assert type(outcome_of_state(state, "why")) is kind
    assert not is_of_a_row(state)


@pytest.mark.parametrize("state", ["22P02", "22003", "23514", "54000", "42804"])
def test_a_row_is_told_from_a_table(state: str) -> None:
    assert is_of_a_row(state)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("connection refused", Retry),
        ("FATAL:  the database system is starting up", Retry),
        ("FATAL:  sorry, too many clients already", Retry),
        ("session is read-only", Retry),
        ("FATAL:  password authentication failed for user", Blocked),
        ("failed to resolve host 'x'", Blocked),
        ("SSL error: certificate verify failed", Blocked),
    ],
)
def test_words_before_a_sign_in_are_judged(text: str, kind: type) -> None:
    assert type(outcome_of_connecting(text)) is kind
