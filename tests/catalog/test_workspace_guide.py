"""Every workspace in the guide passes `check`, and the one with everything names every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec.inspect as mi
import pytest

from tests.support.workspaces import KINDS, apply, new_home
from trunkline.catalog.check import read_workspace
from trunkline.catalog.workspace import SecretText, Workspace
from trunkline.kit.yaml_text import read_yaml

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "workspace.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"<!-- test: (\w+) -->\n```yaml\n(.*?)```", GUIDE, re.DOTALL))
ENVIRON = {
    "WALLET_DEV_KEY": "dev-key-1",
    "WALLET_OLD_DEV_KEY": "dev-key-0",
    "HOOK_SECRET": "hush-hush-hush",
    "SHOP_DEV_KEY": "dev-key-2",
    "CRM_ACCOUNT": "account-1",
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "backend.key").write_text("tls_backend_0123456789\n")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "ads.yaml").write_text("default: {mappings: []}\n")
    return tmp_path


def test_every_yaml_of_the_guide_is_tested() -> None:
    assert GUIDE.count("```yaml") == len(EXAMPLES) == 4


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_the_guide_has_nothing_wrong_and_applies(name: str, base: Path) -> None:
    assert read_workspace(EXAMPLES[name], KINDS, ENVIRON, base).problems == ()
    home = new_home(base / "home")
    assert apply(home, EXAMPLES[name], environ=ENVIRON, base=base).is_changed
    assert not apply(home, EXAMPLES[name], environ=ENVIRON, base=base).is_changed


def test_the_example_with_everything_names_every_key() -> None:
    expected = set(paths_of(mi.type_info(Workspace)))
    assert set(keys_of(read_yaml(EXAMPLES["everything"]))) >= expected


def paths_of(info: mi.Type, path: str = "") -> Iterator[str]:
    """Yield the path of every key that a type takes."""
    if isinstance(info, mi.Metadata):
        yield from paths_of(info.type, path)
    elif isinstance(info, mi.UnionType):
        for part in info.types:
            yield from paths_of(part, path)
    elif isinstance(info, mi.VarTupleType):
        yield from paths_of(info.item_type, path)
    elif isinstance(info, mi.StructType) and info.cls is not SecretText:
        for field in info.fields:
            name = f"{path}.{field.encode_name}".lstrip(".")
            yield name
            yield from paths_of(field.type, name)


def keys_of(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of every key that a tree has."""
    if isinstance(value, dict):
        for key, inner in value.items():
            name = f"{path}.{key}".lstrip(".")
            yield name
            yield from keys_of(inner, name)
    elif isinstance(value, list):
        for item in value:
            yield from keys_of(item, path)
