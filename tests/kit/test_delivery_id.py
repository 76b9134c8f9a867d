"""The idempotency key of a delivery, by the delivery contract."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from trunkline.kit.destination import delivery_id

NAMESPACE = uuid.UUID("5c1f5f3e-3f56-5e0e-9a3c-6d4f7b1a2e90")


@given(st.text(st.characters(codec="utf-8")))
def test_the_key_of_one_event_is_its_uuid5(message_id: str) -> None:
    expected = uuid.uuid5(NAMESPACE, f"app/crm\0{message_id}")
    assert delivery_id("app/crm", [message_id]) == str(expected)


def test_the_key_of_a_batch_is_of_its_composition_and_order() -> None:
    key = delivery_id("app/crm", ["a", "b"])
    assert key == delivery_id("app/crm", ["a", "b"])
    others = [("app/crm", ["b", "a"]), ("app/crm", ["a", "b", "c"]), ("app/other", ["a", "b"])]
    assert key not in {delivery_id(name, ids) for name, ids in others}
    assert len(key) == 40
