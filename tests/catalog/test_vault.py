"""The home's key: made once, private, missed loudly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.workspaces import FULL, SMALL, apply, new_home
from trunkline.catalog.vault import VaultError, open_vault


def test_what_was_sealed_opens_with_the_same_file_only(tmp_path: Path) -> None:
    vault = open_vault(tmp_path / "a.key", may_create=True)
    sealed = vault.seal(b"hush")
    assert b"hush" not in sealed
    assert open_vault(tmp_path / "a.key", may_create=False).open(sealed) == b"hush"
    other = open_vault(tmp_path / "b.key", may_create=True)
    with pytest.raises(VaultError, match=r"b\.key is not the key that sealed these secrets"):
        other.open(sealed)


def test_of_many_who_make_the_key_at_once_all_have_the_same(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    with ThreadPoolExecutor(8) as pool:
        vaults = list(pool.map(lambda _: open_vault(file, may_create=True), range(32)))
    sealed = vaults[0].seal(b"hush")
    assert {vault.open(sealed) for vault in vaults} == {b"hush"}
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_a_key_file_that_everybody_reads_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    open_vault(file, may_create=True)
    file.chmod(0o644)
    open_vault(file, may_create=False)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_holds_no_key_is_told(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    file.write_text("not a key")
    with pytest.raises(VaultError, match="holds no key"):
        open_vault(file, may_create=False)


def test_a_lost_key_is_told_and_not_replaced(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    home.key_file.unlink()
    with pytest.raises(VaultError, match="is missing, and without it"):
        apply(home, SMALL)
    assert not home.key_file.exists()
