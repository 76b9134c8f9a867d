"""Every public kit that can send becomes a destination that can be built, and back to nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.kits import KITS, kit_names, kit_params, read_kit
from tests.support.shaped_workspaces import KINDS_AND_KIT
from tests.support.workspaces import APP_ID, apply, new_home
from trunkline.catalog.current import load_snapshot
from trunkline.catalog.export import export_workspace
from trunkline.catalog.kits import save_kits
from trunkline.destinations.http_kit import HttpKit, HttpKitSettings
from trunkline.kit.clock import FakeClock
from trunkline.kits.kit import parse_kit
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.filling import fill_playbook


@pytest.mark.slow
def test_every_public_kit_that_can_send_is_applied_built_and_exported(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    kits = [parse_kit(read_kit(name), name) for name in kit_names()]
    assert len(save_kits(home, kits, FakeClock()).added) == KITS
    names = [kit.name for kit in kits if not kit.cannot_send]
    assert len(names) > 100
    key = private_key()
    destinations = [
        {"id": name, "kind": "http_kit", "settings": {"kit": name, "params": values(name, key)}}
        for name in names
    ]
    app = {"id": APP_ID, "name": "Wallet", "destinations": destinations}
    apply(home, json.dumps({"apps": [app]}), kinds=KINDS_AND_KIT)
    found = load_snapshot(home).apps_by_id[APP_ID].destinations
    assert [destination.id for destination in found] == names
    for destination in found:
        settings = msgspec.json.decode(destination.settings, type=HttpKitSettings)
        HttpKit(settings)
        playbook = parse_playbook(msgspec.json.decode(destination.playbook))
        fill_playbook(playbook, settings.params)  # nothing is left without a value
    text = export_workspace(home, FakeClock(), reveal=True).text
    assert apply(home, text, kinds=KINDS_AND_KIT).lines == ()


def values(name: str, key: str) -> dict[str, str]:
    """Return a value for each param that fits its name."""
    given: dict[str, Any] = kit_params(read_kit(name))
    return {param: value_for(param, value, key) for param, value in given.items() if value}


def value_for(param: str, value: str, key: str) -> str:
    if param.endswith("PRIVATE_KEY"):
        return key
    is_address = param == "ENDPOINT" or "URL" in param
    return "https://vendor.example" if is_address and not value.startswith("http") else value


def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
