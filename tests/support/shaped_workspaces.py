"""Workspaces whose destinations have playbooks or kits, and short ways to ask what is deployed."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tests.support.workspaces import APP_ID, KINDS, apply
from trunkline.catalog.apply import ApplyResult
from trunkline.catalog.check import Kinds
from trunkline.catalog.current import load_snapshot
from trunkline.catalog.playbook_text import canonical_tree
from trunkline.destinations.http_kit import HttpKit
from trunkline.kits.kit import Kit, parse_kit
from trunkline.model.snapshot import Destination
from trunkline.state.home import Home

KINDS_AND_KIT: Kinds = {**KINDS, "http_kit": HttpKit}


def playbook(key: str = "id", **more: Any) -> dict[str, Any]:
    """Return a playbook, as the catalog keeps it, that is another one for each key."""
    section = {"enrichments": [{"outputKey": key, "staticString": "x"}]}
    return canonical_tree({"global": section, **more})


def wanting(*params: str) -> dict[str, Any]:
    """Return a playbook, as it is written, that needs params."""
    enrichments = [{"outputKey": name, "staticString": f"$${name}$$"} for name in params]
    return {
        "params": [{"name": name, "exampleValue": "123"} for name in params],
        "global": {"enrichments": enrichments},
    }


def workspace(kind: str = "webhook", settings: Any = None, **says: Any) -> str:
    """Return a workspace with one destination `crm` that says these things (JSON is YAML)."""
    given = {"url": "https://crm.example/hook"} if settings is None else settings
    destination = {"id": "crm", "kind": kind, "settings": given, **says}
    app = {"id": APP_ID, "name": "Wallet", "destinations": [destination]}
    return json.dumps({"apps": [app]})


def put(home: Home, **says: Any) -> ApplyResult:
    """Apply a workspace with the one destination."""
    return apply(home, workspace(**says), kinds=KINDS_AND_KIT)


def crm(home: Home) -> Destination:
    """Return the destination as a node sees it."""
    return load_snapshot(home).apps_by_id[APP_ID].destinations[0]


def deployed(home: Home) -> tuple[int, dict[str, Any] | None]:
    """Return the deployed revision's number and playbook."""
    found = crm(home)
    return found.revision, msgspec.json.decode(found.playbook) if found.playbook else None


def kit(name: str = "acme", key: str = "id", **connection: Any) -> Kit:
    """Return a kit whose playbook is another one for each key."""
    request = {"endpoint": "https://$$HOST$$/in", "method": "POST"}
    way = {
        "params": [{"name": "HOST", "exampleValue": "a.example"}],
        "default": request,
        **connection,
    }
    metadata = {"friendlyName": name.title()}
    tree = {"name": name, "metadata": metadata, "connection": way, "playbook": playbook(key)}
    return parse_kit(tree)
