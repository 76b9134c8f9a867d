"""The files that keep when keys were used."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.model.snapshot import digest
from trunkline.state.key_uses import (
    KeyUse,
    add_uses,
    read_all_uses,
    read_uses,
    use_id,
    write_uses,
)

USES = st.builds(
    KeyUse,
    last_ms=st.integers(0, 2**45),
    leaks=st.integers(0, 1000),
    leaked_ms=st.integers(0, 2**45),
    leaked_from=st.sampled_from(["", "https://a.example", "https://b.example"]),
)


def test_what_was_written_is_read_and_only_its_owner_may(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "gateway-0.json"
    uses = {use_id("shop", digest("wk_backend")): KeyUse(60_000, 2, 61_000, "https://a.example")}
    write_uses(file, uses)
    assert read_uses(file) == uses
    assert file.stat().st_mode & 0o077 == 0
    assert b"wk_backend" not in file.read_bytes()
    assert [each.name for each in file.parent.iterdir()] == ["gateway-0.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"uses": 5}', b"\xff\xfe"])
def test_a_damaged_file_counts_for_nothing(tmp_path: Path, content: bytes) -> None:
    good, damaged = tmp_path / "gateway-0.json", tmp_path / "gateway-1.json"
    write_uses(good, {"shop/00": KeyUse(60_000)})
    damaged.write_bytes(content)
    assert read_all_uses(tmp_path) == {"shop/00": KeyUse(60_000)}


def test_where_no_gateway_wrote_nothing_is_known(tmp_path: Path) -> None:
    assert read_all_uses(tmp_path / "keys") == {}


def test_what_two_gateways_saw_is_added_up() -> None:
    one = {"shop/00": KeyUse(120_000, 2, 5_000, "https://a.example"), "shop/01": KeyUse(60_000)}
    other = {"shop/00": KeyUse(60_000, 1, 9_000, "https://b.example")}
    assert add_uses([one, other]) == {
        "shop/00": KeyUse(120_000, 3, 9_000, "https://b.example"),
        "shop/01": KeyUse(60_000),
    }


@given(st.lists(USES, min_size=1, max_size=5))
def test_adding_up_gives_the_last_times_and_all_leaks(seen: list[KeyUse]) -> None:
    total = add_uses({"x": use} for use in seen)["x"]
    assert total.last_ms == max(use.last_ms for use in seen)
    assert total.leaks == sum(use.leaks for use in seen)
    assert total.leaked_ms == max(use.leaked_ms for use in seen)
